"""Weightings: how much the loss of each time step counts. Each goes with any schedule and sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from . import _arguments
from . import _c_api as c
from ._handles import Handle
from ._methods import Method


class Weighting(Method):
    """A factor for the loss of each time step of whatever schedule it is combined with.

    The factor multiplies the mean squared error alone, not the variational term of a model with
    learned variance.
    """


def _handle(create: Any, *arguments: Any) -> Handle:
    return Handle(c.weighting_p, create, c.speediff_weighting_destroy, *arguments)


@dataclass(frozen=True)
class Uniform(Weighting):
    """w = 1."""

    name: ClassVar[str] = "uniform"

    def _create(self) -> Handle:
        return _handle(c.speediff_weighting_create_uniform)


@dataclass(frozen=True)
class ChangeAware(Weighting):
    """SpeeD's Section 2.4: the rate of the process, rescaled to [1-λ, λ] over all T steps.

    w = (1-λ) + (2λ-1)·(g-g_min)/(g_max-g_min) with g the gradient of 1-ᾱ; T ≥ 3. The same for every
    prediction target. The paper's clamps would be inactive, and none is applied.

    Args:
        lam: λ in [0.5, 1].
    """

    lam: float = 0.6
    name: ClassVar[str] = "change_aware"

    def __post_init__(self) -> None:
        """Fixes the type, and lets the library check the parameter."""
        self._set("lam", _arguments.real("lam", self.lam))
        super().__post_init__()

    def _create(self) -> Handle:
        return _handle(c.speediff_weighting_create_change_aware, self.lam)


BY_NAME: dict[str, type[Weighting]] = {kind.name: kind for kind in (Uniform, ChangeAware)}
"""Every weighting, by the name that stands for it."""
