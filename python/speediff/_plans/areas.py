"""A schedule's process increments and its three areas, as plain data (SpeeD, Theorem 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._support import arguments
from ..errors import SpeeDiffValueError
from ..increments import DEFAULT_R
from ..sampler import TimestepSampler
from ..sampling import Asymmetric

if TYPE_CHECKING:
    import numpy as np

    from ..schedules import NoiseSchedule

    Table = np.ndarray[Any, np.dtype[np.float64]]

AREA_NAMES = ("acceleration", "deceleration", "convergence")


@dataclass(frozen=True)
class Area:
    """One of the three areas, as an inclusive range of 1-based steps."""

    name: str
    first: int
    last: int
    """first - 1 if the area has no steps."""
    steps: int
    share: float
    """The share of the T steps, equal to the share of uniform draws."""

    @property
    def entries(self) -> slice:
        """The area's entries of a table of shape (T,)."""
        return slice(self.first - 1, self.last)


@dataclass(frozen=True)
class ClosedForm:
    """The boundaries from the paper's closed forms, as real numbers."""

    acceleration_end: float
    convergence_start: float | None
    """None if τ was given instead of r."""


@dataclass(frozen=True, eq=False)
class Process:
    """The schedule's tables, its process increments and the resulting areas."""

    schedule: str
    steps: int
    betas: Table
    alphas_cumprod: Table
    variance: Table
    """Ψ_t, shape (T-1,)."""
    rate: Table
    """The gradient of 1-ᾱ, shape (T,)."""
    magnitude: Table
    """1/ᾱ_t, shape (T,); inf where ᾱ is 0."""
    uniform_emphasis: Table | None
    """The emphasis of uniform sampling with the plain ε loss; like `MethodPlan.emphasis`."""
    acceleration_end: int
    """t_ad, the step at which the rate is largest."""
    convergence_start: int | None
    """τ, as given or t_dc(r); None if 1/ᾱ never exceeds r."""
    r: float | None
    """The magnitude that determines τ; None if τ was given."""
    closed_form: ClosedForm | None
    """None unless the β are equally spaced."""
    areas: tuple[Area, Area, Area]


def make_process(schedule: NoiseSchedule, label: str, r: float | None, tau: int | None) -> Process:
    """Computes the process and its areas; the arguments are those of `speediff.plan.make_plan`."""
    increments = schedule.process_increments()
    start: int | None
    if tau is not None:
        TimestepSampler(schedule, Asymmetric(tau=tau, r=r)).close()  # Uses the sampler's checks of tau and r.
        start = tau
    else:
        r = DEFAULT_R if r is None else arguments.real("r", r)
        never = 1 < r < math.inf and not bool((increments.magnitude > r).any())
        start = None if never else increments.convergence_start(r)
    return Process(
        schedule=label,
        steps=schedule.steps,
        betas=schedule.betas,
        alphas_cumprod=schedule.alphas_cumprod,
        variance=increments.variance,
        rate=increments.rate,
        magnitude=increments.magnitude,
        uniform_emphasis=emphasis_of(TimestepSampler(schedule)),
        acceleration_end=increments.acceleration_end,
        convergence_start=start,
        r=r,
        closed_form=_closed_form(schedule, r),
        areas=_areas(schedule.steps, increments.acceleration_end, start),
    )


def emphasis_of(sampler: TimestepSampler) -> Table | None:
    """`sampler.emphasis()` without λ; None if there is no density over λ."""
    try:
        return sampler.emphasis()[1]
    except SpeeDiffValueError:
        return None


def _closed_form(schedule: NoiseSchedule, r: float | None) -> ClosedForm | None:
    try:
        closed = schedule.closed_form_increments()
    except SpeeDiffValueError:
        return None
    return ClosedForm(closed.acceleration_end, None if r is None else closed.convergence_start(r))


def _areas(steps: int, acceleration_end: int, convergence_start: int | None) -> tuple[Area, Area, Area]:
    """A boundary step belongs to the area before it, as τ does in Eq. 2."""
    last = steps if convergence_start is None else convergence_start
    ends = (0, min(acceleration_end, last), last, steps)
    acceleration, deceleration, convergence = (
        Area(name, begin + 1, end, end - begin, (end - begin) / steps)
        for name, begin, end in zip(AREA_NAMES, ends, ends[1:], strict=False)
    )
    return acceleration, deceleration, convergence
