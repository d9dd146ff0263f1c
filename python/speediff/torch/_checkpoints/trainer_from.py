"""Creates trainers from checkpoints of other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..._support import arguments
from ..._trainer.tensors import fixed_tensors
from ...errors import SpeeDiffError, SpeeDiffFileError, SpeeDiffValueError
from .._adoption.module_checks import check_equal, check_tensor
from .._adoption.optimizers import AdamW
from .._adoption.places import placed
from .._networks import architectures
from .._networks.making import Options, check_fixed, fill, make, sampler_at
from . import files

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from ..._samplers.sampler_base import SamplerBase
    from ...training import Trainer


def trainer_from(
    path: str | os.PathLike[str],
    sampler: SamplerBase[Any] | None = None,
    *,
    variant: str | None = None,
    num_heads: int | None = None,
    class_dropout_prob: float | None = None,
    decode_layer: int | None = None,
    mask_ratio: float | None = None,
    ema_decay: float = 0.9999,
    ema_warmup: bool = False,
    max_grad_norm: float | None = None,
    seed: int = 0,
    threads: int | None = None,
    precision: str = "float32",
) -> Trainer:
    """Creates a `speediff.Trainer` from a checkpoint's weights, and its average and AdamW if present.

    Args:
        path: A `.pt` file as saved by `train.py` of facebookresearch/DiT, with "model", "ema" and "opt", or
            only a state dict; a `.safetensors` state dict; or a folder of diffusers'
            `DiTTransformer2DModel` or of a pipeline with one. Names are those of DiT, MDT or MDTv2;
            prefixes of wrappers are removed. Values are float32; float16 and bfloat16 are widened.
        sampler: As for `adopt`.
        variant: Which weights of a folder to load, such as "fp16". None: the plain ones, or the only ones.
        num_heads: Required for a DiT of unofficial size, because tensors do not determine it.
        class_dropout_prob: The probability that `step` drops a label; 0 if the last label is an ordinary
            class. None: 0.1, as in the authors' code.
        decode_layer: The number of decoder blocks of a version 1 MDT; tensors do not determine it. None: 2.
        mask_ratio: The mask ratio of an MDT. None: 0.3.
        ema_decay: The average's decay, in [0, 1].
        ema_warmup: Limit the decay of update n = 1, 2, … to (1 + n)/(10 + n).
        max_grad_norm: Clip gradients to this global norm.
        seed: The seed of noise and label dropout, in [0, 2⁶⁴).
        threads: The trainer's threads; None: `torch.get_num_threads()`.
        precision: The trainer's, "float32", "bfloat16" or "auto".

    Raises:
        SpeeDiffFileError: If the file cannot be read or is not a supported checkpoint.
        SpeeDiffValueError: If its tensors belong to an unsupported network, or an argument is out of range.
    """
    contents = files.read(path, variant)
    what, state = contents.path, contents.model
    architecture = architectures.of_names(state)
    parts = architecture.parts(what, state)
    sizes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    hints = contents.hints._replace(mdt_version=architecture.version)
    if num_heads is not None:
        hints = hints._replace(num_heads=arguments.integer("num_heads", num_heads, least=1))
    if class_dropout_prob is not None:
        hints = hints._replace(class_dropout_prob=arguments.real("class_dropout_prob", class_dropout_prob))
    if decode_layer is not None:
        if architecture.version != 1:
            raise SpeeDiffValueError(
                f"decode_layer must be given only for an MDT of version 1, got {decode_layer}"
            )
        hints = hints._replace(decode_layer=arguments.integer("decode_layer", decode_layer, least=0))
    if mask_ratio is not None:
        if not architecture.version:
            raise SpeeDiffValueError(f"mask_ratio must be given only for an MDT, got {mask_ratio}")
        hints = hints._replace(mask_ratio=arguments.real("mask_ratio", mask_ratio))
    shape = architecture.shape(what, {**sizes, **contents.more_sizes}, hints)
    constants = {name: tensor for name, tensor in state.items() if architecture.fixed(parts[name])}
    trained = {name: tensor for name, tensor in state.items() if name not in constants}
    averages = trained if contents.ema is None else _averages(what, contents.ema, trained)
    for kind, tensors in (("", trained), ("the average of ", averages)):
        for name, tensor in tensors.items():
            check_tensor(f"{what}: {kind}{name}", tensor)
        check_equal(f"{what}: {kind}", tensors, parts)
    adam = None if contents.optimizer is None else _adam(what, contents.optimizer, state, trained)
    options = Options(ema_decay, ema_warmup, max_grad_norm, seed, threads, precision)
    trainer = make(shape, sampler_at(sampler, seed, adam), adam, options)
    fixed = fixed_tensors(trainer)
    # A state dict may omit constants; that of diffusers does.
    there = {name: fixed[name] for name in fixed if any(part.name == name for part in parts.values())}
    views = placed(what, parts, sizes, {**trainer.parameters, **there})
    check_fixed(f"{what}: ", constants, views)
    fill(trainer, trained, averages, adam, parts)
    return trainer


def _averages(
    what: str, ema: Mapping[str, torch.Tensor], trained: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    for name, tensor in trained.items():
        if name not in ema or ema[name].shape != tensor.shape:
            found = f"shape {tuple(ema[name].shape)}" if name in ema else "none"
            raise SpeeDiffValueError(
                f"{what} must have an average of {name} with shape {tuple(tensor.shape)}, got {found}"
            )
    return {name: ema[name] for name in trained}


def _adam(
    what: str, saved: object, state: Mapping[str, torch.Tensor], trained: Mapping[str, torch.Tensor]
) -> AdamW:
    """The saved optimizer. It numbers parameters in state-dict order, skipping integer tensors."""
    parameters = {
        name: torch.nn.Parameter(tensor, requires_grad=name in trained)
        for name, tensor in state.items()
        if tensor.is_floating_point()
    }
    own = {name: parameter for name, parameter in parameters.items() if name in trained}
    group = files.group(what, saved)
    fixed: list[torch.Tensor] = [each for name, each in parameters.items() if name not in own]
    try:
        given = parameters if len(group["params"]) == len(parameters) else own
        optimizer = torch.optim.AdamW(given.values())
        optimizer.load_state_dict(saved)  # type: ignore[arg-type]
        return AdamW(optimizer, own, fixed)
    except SpeeDiffError:
        raise
    except Exception as error:
        # The file may hold anything in place of numbers and tables.
        raise SpeeDiffFileError(
            f"{what} must hold the state of an AdamW, or no optimizer, got {error!r}"
        ) from error
