"""Rectified flow at the seams of trainers that draw t in [0, 1], where 1 is noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import SpeeDiffTypeError, SpeeDiffValueError
from ...processes import Flow
from .._samplers import SigmaSampler
from ._loss import check_sampler

if TYPE_CHECKING:
    import torch

    from ..._samplers.moves import Values

MAKE_SAMPLER = "make_sampler must be defined in your class, and return a SigmaSampler.flow of speediff.torch"


def flow_sampler(sampler: object) -> SigmaSampler:
    """The sampler, if it draws rectified flow's t.

    Raises:
        SpeeDiffTypeError: If it does not.
    """
    checked = check_sampler(sampler)
    if not isinstance(checked, SigmaSampler) or not isinstance(checked.process, Flow):
        raise SpeeDiffTypeError(
            f"sampler must draw the t of rectified flow, got {sampler!r}; use a "
            "SigmaSampler.flow of speediff.torch"
        )
    return checked


def unweighted_flow_sampler(sampler: object, trainer: str) -> SigmaSampler:
    """The sampler, if the trainer may leave out its weights, because all are 1.

    Raises:
        SpeeDiffValueError: If they are not.
    """
    checked = flow_sampler(sampler)
    corrects = getattr(checked.recipe.sampling, "corrects_for_draw", False)
    _, weights = checked.sample(64, step=0)
    if corrects or bool((weights != 1).any()):
        raise _weighted(checked, trainer)
    return checked


def draw_unweighted(sampler: SigmaSampler, n: int, trainer: str, shift: Values = None) -> torch.Tensor:
    """The next batch's t, on the CPU, with the shift of `sample`.

    Raises:
        SpeeDiffValueError: If a weight is no longer 1, as for a weighting that has learned.
    """
    t, weights = sampler.sample(n, shift=shift)
    if bool((weights != 1).any()):
        raise _weighted(sampler, trainer)
    return t


def _weighted(sampler: SigmaSampler, trainer: str) -> SpeeDiffValueError:
    return SpeeDiffValueError(
        f"sampler must have weights of 1, since {trainer} has no place for the weight of a sample, got "
        f"{sampler!r}; use weighting='uniform', and a sampling that needs no correction"
    )
