"""Adopts a PyTorch module: the CPU trainer trains it in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..._support import arguments
from ..._trainer.tensors import fixed_tensors
from ...errors import SpeeDiffTypeError, SpeeDiffValueError
from .._checkpoints.state_dicts import hook_state_dicts
from .._networks import architectures, probe
from .._networks.making import Options, check_fixed, fill, make, sampler_at
from .adoption import Adoption
from .averages import Average
from .module_checks import check_equal, check_module, check_parameters
from .optimizer_state import OptimizerState
from .optimizers import MOMENTS, AdamW
from .places import placed
from .shared_memory import Shared, SharedMemory
from .watch import Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..._samplers.sampler_base import SamplerBase
    from .._networks.architectures import Architecture
    from .._networks.shapes import Shape
    from .decays import Decay
    from .places import Part


def adopt(
    module: torch.nn.Module,
    ema: object = None,
    optimizer: torch.optim.Optimizer | None = None,
    sampler: SamplerBase[Any] | None = None,
    *,
    ema_decay: float | None = None,
    ema_warmup: bool = False,
    max_grad_norm: float | None = None,
    class_dropout_prob: float | None = None,
    seed: int = 0,
    threads: int | None = None,
    precision: str = "float32",
) -> Adoption:
    """Trains a module on the CPU with `speediff.Trainer`, from its current state and in shared memory.

    Args:
        module: `DiT` of facebookresearch/DiT, `MDT` or `MDTv2` of sail-sg/MDT, or `DiTTransformer2DModel`
            of diffusers; float32, on the CPU.
        ema: The module's average: a copy of the module, a `torch.optim.swa_utils.AveragedModel`, an
            `EMAModel` of diffusers, or a list of tensors in the order of `module.parameters()`. None: the
            trainer starts its own average.
        optimizer: `torch.optim.AdamW`, or `Adam` without weight decay, with one group that holds the module's
            parameters. Its moments and step count carry over; its learning rate is read at each step.
            None: AdamW as DiT's authors use it, with `trainer.learning_rate` 1e-4.
        sampler: Draws timesteps and weights: a `TimestepSampler` of `speediff.torch` or `speediff`. Its
            `step` must equal the optimizer's. None: uniform draws over DiT's linear schedule.
        ema_decay: The decay, in [0, 1]; None: 0.9999. `AveragedModel` and `EMAModel` have their own.
        ema_warmup: Limit the decay of update n = 1, 2, … to (1 + n)/(10 + n).
        max_grad_norm: Clip gradients to this global norm.
        class_dropout_prob: The probability that `step` drops a label; None: that of the module's label
            embedder. With 0, a null label counts as an ordinary class, and guidance is unavailable.
        seed: The seed of noise and label dropout, in [0, 2⁶⁴).
        threads: The trainer's threads; None: `torch.get_num_threads()`.
        precision: The trainer's, "float32", "bfloat16" or "auto".

    Raises:
        SpeeDiffTypeError: If an argument has an unsupported class or dtype.
        SpeeDiffValueError: If an argument uses a feature that the trainer lacks, such as hooks, frozen or
            tied parameters, or amsgrad.
        SpeeDiffMemoryError: If there is no memory for a second copy of the module, average and optimizer.

    After an error nothing has changed.
    """
    module = check_module("module", module)
    architecture = architectures.of_module(module)
    tensors: dict[str, torch.Tensor] = dict(module.named_parameters(remove_duplicate=False))
    tensors.update(module.named_buffers(remove_duplicate=False))
    sizes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    parts = architecture.parts("module", sizes)
    shape = _shape(module, architecture, sizes, class_dropout_prob)
    parameters = check_parameters(module, parts, architecture.fixed)
    average = None if ema is None else Average(ema, module, parameters, parts)
    decay = None if average is None else average.decay
    trained = {name: each for name, each in parameters.items() if not architecture.fixed(parts[name])}
    adam = None if optimizer is None else _adam(optimizer, module, trained, parameters, parts)
    sampler = sampler_at(sampler, seed, adam)
    options = Options(
        _first_decay(decay, ema_decay, ema_warmup), ema_warmup, max_grad_norm, seed, threads, precision
    )
    trainer = make(shape, sampler, adam, options)
    fixed = fixed_tensors(trainer)
    views = placed("module", parts, sizes, {**trainer.parameters, **fixed})
    constants = {name: each for name, each in tensors.items() if architecture.fixed(parts[name])}
    check_fixed("module.", constants, views)
    probe.check_output(module, architecture, {name: views[name] for name in parameters}, trainer)
    # From here on nothing can fail.
    averages = parameters if average is None else average.tensors
    moments = fill(trainer, trained, averages, adam, parts)
    shared = [
        Shared(f"module.{name}", tensor, torch.from_numpy(views[name])) for name, tensor in parameters.items()
    ]
    hooks = hook_state_dicts("module", module, {name: parts[name] for name in parameters})
    if average is not None:
        of_averages = trainer.ema_parameters
        shared += [
            Shared(f"ema.{name}", averages[name], torch.from_numpy(parts[name].of(of_averages)))
            for name in trained
        ]
        if average.module is not None:
            hooks += hook_state_dicts("ema", average.module, {name: parts[name] for name in parameters})
    return Adoption(
        trainer,
        sampler,
        SharedMemory(shared),
        Watch(module, architecture, parameters, average),
        decay,
        None if adam is None else OptimizerState(adam, moments, trainer.global_step),
        hooks,
    )


def _shape(
    module: torch.nn.Module,
    architecture: Architecture,
    sizes: Mapping[str, tuple[int, ...]],
    class_dropout_prob: float | None,
) -> Shape:
    try:
        hints = architecture.hints(module)
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        if isinstance(error, SpeeDiffValueError):
            raise
        raise SpeeDiffTypeError(
            f"module must be built like {architecture.origin} {architecture.class_name}, got one that lacks "
            f"an attribute: {error}"
        ) from error
    if class_dropout_prob is not None:
        probability = arguments.real("class_dropout_prob", class_dropout_prob)
        hints = hints._replace(class_dropout_prob=probability)
    return architecture.shape("module", sizes, hints)


def _first_decay(own: Decay | None, ema_decay: float | None, ema_warmup: bool) -> float:
    """The decay of the next update. An average with its own decay accepts no other."""
    if own is None:
        return 0.9999 if ema_decay is None else ema_decay
    if ema_decay is not None or ema_warmup:
        given = f"ema_decay = {ema_decay}" if ema_decay is not None else f"ema_warmup = {ema_warmup}"
        raise SpeeDiffValueError(
            f"ema_decay and ema_warmup must be omitted for an average with its own decay, got {given}"
        )
    return own.next()


def _adam(
    optimizer: object,
    module: torch.nn.Module,
    trained: Mapping[str, torch.Tensor],
    parameters: Mapping[str, torch.Tensor],
    parts: Mapping[str, Part],
) -> AdamW:
    own = {name: trained[name] for name, _ in module.named_parameters() if name in trained}
    adam = AdamW(optimizer, own, [each for name, each in parameters.items() if name not in trained])
    for which in MOMENTS:
        found = {name: adam.moments(name).get(which) for name in own}
        check_equal(
            f"the optimizer's {which} of ",
            {name: each for name, each in found.items() if each is not None},
            parts,
        )
    return adam
