"""Creates a trainer for a PyTorch network and copies the values into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ..._samplers.sampler_base import SamplerBase
from ...errors import SpeeDiffTypeError, SpeeDiffValueError
from ...schedules import NoiseSchedule
from ...training import Trainer
from .._adoption.optimizers import Coefficients
from .._samplers import TimestepSampler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ..._native.native_trainer import Floats
    from .._adoption.optimizers import AdamW
    from .._adoption.places import Part
    from .shapes import Shape

FIXED_TOLERANCE = 2e-3
"""The authors' update_ema averages this constant in float32, which changes it by up to this much."""


class Options(NamedTuple):
    """Arguments of `adopt` that the module does not define."""

    ema_decay: float
    ema_warmup: bool
    max_grad_norm: float | None
    seed: int
    threads: int | None
    precision: str


def make(shape: Shape, sampler: SamplerBase[Any], adam: AdamW | None, options: Options) -> Trainer:
    """Creates a trainer of this shape, at its sampler's step."""
    coefficients = Coefficients() if adam is None else adam.coefficients
    trainer = Trainer(
        shape.model,
        sampler,
        **shape.data,
        learning_rate=1e-4 if adam is None else adam.learning_rate,
        betas=coefficients.betas,
        eps=coefficients.eps,
        weight_decay=coefficients.weight_decay,
        ema_decay=options.ema_decay,
        ema_warmup=options.ema_warmup,
        max_grad_norm=options.max_grad_norm,
        seed=options.seed,
        threads=torch.get_num_threads() if options.threads is None else options.threads,
        precision=options.precision,
    )
    trainer.global_step = sampler.step
    return trainer


def sampler_at(sampler: SamplerBase[Any] | None, seed: int, adam: AdamW | None) -> SamplerBase[Any]:
    """Checks that the sampler is at the optimizer's step."""
    if sampler is None:
        uniform = TimestepSampler(NoiseSchedule.linear(1000), seed=seed)
        uniform.step = 0 if adam is None else adam.steps
        return uniform
    if not isinstance(sampler, SamplerBase):
        raise SpeeDiffTypeError(f"sampler must be a TimestepSampler, got a {type(sampler).__name__}")
    if adam is not None and sampler.step != adam.steps:
        raise SpeeDiffValueError(
            f"sampler.step must be the optimizer's {adam.steps} steps, got {sampler.step}; load its state, "
            f"or set sampler.step = {adam.steps}"
        )
    if sampler.state_dict()["micro_batch"]:
        raise SpeeDiffValueError(
            "sampler must be between two training steps, got one in the middle of its "
            f"{sampler.recipe.drawing.accumulation} micro-batches"
        )
    return sampler


def check_fixed(what: str, tensors: Mapping[str, torch.Tensor], views: Mapping[str, NDArray[Any]]) -> None:
    """Raises unless constant tensors have the values of the authors' code."""
    for name, tensor in tensors.items():
        view = torch.from_numpy(views[name])
        if tensor.dtype != view.dtype or tensor.layout != torch.strided:
            raise SpeeDiffTypeError(f"{what}{name} must be a dense {view.dtype} tensor, got {tensor.dtype}")
        error = float((tensor.detach() - view).abs().max())
        if not error <= FIXED_TOLERANCE:
            raise SpeeDiffValueError(
                f"{what}{name} must have the values of the authors' code, got others that differ by up to "
                f"{error:.2g}"
            )


def fill(
    trainer: Trainer,
    trained: Mapping[str, torch.Tensor],
    averages: Mapping[str, torch.Tensor],
    adam: AdamW | None,
    parts: Mapping[str, Part],
) -> dict[str, dict[str, Floats]]:
    """Copies all values into the trainer's memory.

    Returns:
        The views of the optimizer's moments in the trainer's memory.
    """
    for tensors, memory in ((trained, trainer.parameters), (averages, trainer.ema_parameters)):
        for name in trained:
            parts[name].of(memory)[...] = tensors[name].detach().numpy()
    moments: dict[str, dict[str, Floats]] = {}
    if adam is None:
        return moments
    kinds = {"exp_avg": trainer.exp_avg, "exp_avg_sq": trainer.exp_avg_sq}
    for name in adam.trained:
        moments[name] = {which: parts[name].of(memory) for which, memory in kinds.items()}
        for which, moment in adam.moments(name).items():
            moments[name][which][...] = moment.numpy()
    return moments
