"""Samplings: which time steps to draw. Each goes with any schedule and any weighting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from . import _arguments, errors
from . import _c_api as c
from ._handles import Handle
from ._methods import Method
from .schedules import DEFAULT_R


class Sampling(Method):
    """A probability for each time step of whatever schedule it is combined with."""


def _handle(create: Any, *arguments: Any) -> Handle:
    return Handle(c.sampling_p, create, c.speediff_sampling_destroy, *arguments)


@dataclass(frozen=True)
class Uniform(Sampling):
    """P = 1/T (Ho et al. 2020)."""

    name: ClassVar[str] = "uniform"

    def _create(self) -> Handle:
        return _handle(c.speediff_sampling_create_uniform)


@dataclass(frozen=True)
class Asymmetric(Sampling):
    """SpeeD's Eq. 2: the first τ steps come k times as often as the others.

    P_i = k/(T+τ(k-1)) for i < τ, and 1/(T+τ(k-1)) beyond. The paper uses k = 5 (Table 5b), and k = 2
    for DiT-S/8 with batch 16 (Table 12).

    Args:
        k: The suppression intensity, finite and at least 1.
        tau: τ itself, 0 < τ < T. None: from r.
        r: τ is the first step t with 1/ᾱ_t > r. None: 143.5, which gives the paper's τ = 700 for its
            linear schedule of 1000 steps. Not together with tau.
    """

    k: float = 5.0
    tau: int | None = None
    r: float | None = None
    name: ClassVar[str] = "asymmetric"

    def __post_init__(self) -> None:
        """Fixes the types, applies the default r, and lets the library check the parameters."""
        if self.tau is not None and self.r is not None:
            raise errors.SpeeDiffValueError(
                f"tau must not be given together with r, got tau = {self.tau!r}, r = {self.r!r}"
            )
        self._set("k", _arguments.real("k", self.k))
        if self.tau is not None:
            self._set("tau", _arguments.integer("tau", self.tau))
        else:
            r = DEFAULT_R if self.r is None else _arguments.real("r", self.r)
            self._set("r", r)
        super().__post_init__()

    def _create(self) -> Handle:
        if self.tau is not None:
            return _handle(c.speediff_sampling_create_asymmetric, self.k, self.tau)
        return _handle(c.speediff_sampling_create_asymmetric_from_magnitude, self.k, self.r)


BY_NAME: dict[str, type[Sampling]] = {kind.name: kind for kind in (Uniform, Asymmetric)}
"""Every sampling, by the name that stands for it."""
