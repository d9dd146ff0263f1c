"""The speed-up of one method over another: the one definition that every figure uses.

At quality q it is the baseline's steps over the method's steps. Both are counted to the first crossing of q
by the running best, which is interpolated between measurements over log steps: in log q where costs are
positive, linearly in q for KID. Nothing is extrapolated: a run that has not reached q gives a bound.

A cost is a number that training lowers, such as FD or 1 - accuracy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import intervals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEVELS = 4
"""Quality levels between the start and the best quality that both reached."""


@dataclass(frozen=True)
class Curve:
    """The costs of one run over its training."""

    places: tuple[float, ...]
    """Where it was measured, rising and positive: in steps, or in seconds of training."""
    costs: tuple[float, ...]
    """What was measured there. All finite."""
    diverged: bool = False
    """Whether training diverged afterwards, so that the run never gets better."""

    @property
    def running_best(self) -> tuple[float, ...]:
        """The lowest cost so far, at each place."""
        return tuple(float(cost) for cost in np.minimum.accumulate(self.costs)) if self.costs else ()

    @property
    def best(self) -> float:
        """The lowest cost of all; infinite without a measurement."""
        return min(self.costs, default=math.inf)


@dataclass(frozen=True)
class Bounds:
    """A number that may be known only to lie in an interval. A known number is both ends."""

    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """Whether it is one number."""
        return self.low == self.high

    def __str__(self) -> str:
        if self.is_known:
            return f"{self.low:.2f} ×" if math.isfinite(self.low) else "∞ ×"
        if math.isinf(self.high):
            return f"more than {self.low:.2f} ×" if self.low > 0 else "unknown"
        return f"less than {self.high:.2f} ×" if self.low == 0 else f"{self.low:.2f} to {self.high:.2f} ×"


UNKNOWN = Bounds(0, math.inf)


def crossing(curve: Curve, quality: float, *, is_log: bool) -> Bounds:
    """Where the running best first reaches a quality.

    Args:
        curve: The run.
        quality: The cost to reach.
        is_log: Interpolate over the logarithm of the cost.

    Returns:
        The place. If the quality was reached by the first measurement or never, only an interval is known.
        A run that diverged before never reaches it: infinity.
    """
    best = curve.running_best
    for index, cost in enumerate(best):
        if cost <= quality:
            place = curve.places[index]
            if index == 0:
                return Bounds(place if cost == quality else 0, place)
            share = _share(best[index - 1], cost, quality, is_log=is_log)
            start, end = math.log(curve.places[index - 1]), math.log(place)
            # At a measurement exactly its place.
            found = place if share == 1 else math.exp(start + share * (end - start))
            return Bounds(found, found)
    if curve.diverged:
        return Bounds(math.inf, math.inf)
    return Bounds(curve.places[-1] if curve.places else 0, math.inf)


def _share(before: float, after: float, quality: float, *, is_log: bool) -> float:
    """How far along from one cost down to the next the quality is, in (0, 1]."""
    if quality == after:
        return 1.0
    if is_log and after > 0:
        return math.log(before / quality) / math.log(before / after)
    return (before - quality) / (before - after)


def ratio(baseline: Curve, method: Curve, quality: float, *, is_log: bool) -> Bounds:
    """The speed-up of one run over another at one quality: infinite or 0 if the other one has diverged."""
    slow, fast = (crossing(curve, quality, is_log=is_log) for curve in (baseline, method))
    if math.isinf(slow.low) and math.isinf(fast.low):
        return UNKNOWN
    return Bounds(_quotient(slow.low, fast.high), _quotient(slow.high, fast.low))


def _quotient(slow: float, fast: float) -> float:
    """slow/fast for numbers that are at least 0, of which infinity is one."""
    if math.isinf(fast):
        return 0.0
    return slow / fast if fast > 0 else math.inf


def levels(
    baseline: Sequence[Curve], method: Sequence[Curve], *, is_log: bool, count: int = LEVELS
) -> list[float]:
    """Qualities from the start to the best that all runs of both reached, the easiest first.

    They are spread evenly, over the logarithm if `is_log`. Runs that diverged do not limit them.

    Returns:
        `count` costs. Only the last one, if some run began better than another one ended: the speed-up is
        a bound there. None if the runs have no quality in common that training led to.
    """
    curves = [curve for curve in (*baseline, *method) if curve.costs and not curve.diverged]
    has_both = all(any(not curve.diverged and curve.costs for curve in arm) for arm in (baseline, method))
    if not has_both:
        return []
    start, end = min(curve.costs[0] for curve in curves), max(curve.best for curve in curves)
    if not start > end:
        return [end] if any(curve.costs[0] > end for curve in curves) else []
    shares = [(index + 1) / count for index in range(count)]
    if is_log and end > 0:
        found = [math.exp(math.log(start) + share * math.log(end / start)) for share in shares]
    else:
        found = [start + share * (end - start) for share in shares]
    return [*found[:-1], end]


@dataclass(frozen=True)
class SeedMean:
    """The speed-up between runs of the same seed, which share what the seed decides."""

    mean: float
    """The geometric mean over the seeds."""
    interval: Bounds
    """Student's 95 % interval, of the logarithm."""
    seeds: int


@dataclass(frozen=True)
class SpeedUp:
    """The speed-up at one quality, over all pairs of a baseline's and a method's run."""

    quality: float
    """The cost."""
    median: Bounds
    lowest: Bounds
    highest: Bounds
    interval: Bounds | None
    """The 95 % bootstrap interval; None with too few seeds, or if a pair is not known."""
    pairs: int
    same_seed: SeedMean | None
    """None with fewer than three seeds, or if a ratio is not known."""


def speed_up(
    baseline: Sequence[Curve],
    method: Sequence[Curve],
    quality: float,
    *,
    is_log: bool,
    interval: Callable[[np.ndarray], tuple[float, float] | None] = lambda _: None,
    same_seed: Sequence[tuple[int, int]] = (),
) -> SpeedUp:
    """The speed-up at one quality.

    Args:
        baseline: The baseline's runs, one per seed.
        method: The method's runs.
        quality: The cost to reach.
        is_log: As for `crossing`.
        interval: Makes an interval for the median of a table of ratios, (baseline's runs, method's runs).
        same_seed: The places of a baseline's and a method's run that have the same seed.
    """
    pairs = [[ratio(slow, fast, quality, is_log=is_log) for fast in method] for slow in baseline]
    every = [each for row in pairs for each in row]
    known = np.array([[each.low for each in row] for row in pairs])
    is_known = all(each.is_known and 0 < each.low < math.inf for each in every)
    ends = interval(known) if is_known else None
    return SpeedUp(
        quality,
        Bounds(_median([each.low for each in every]), _median([each.high for each in every])),
        min(every, key=lambda each: (each.low, each.high)),
        max(every, key=lambda each: (each.high, each.low)),
        None if ends is None else Bounds(*ends),
        len(every),
        _seed_mean([pairs[slow][fast] for slow, fast in same_seed]),
    )


def _seed_mean(ratios: Sequence[Bounds]) -> SeedMean | None:
    if not all(each.is_known and 0 < each.low < math.inf for each in ratios):
        return None
    logs = [math.log(each.low) for each in ratios]
    ends = intervals.of_mean(logs)
    if ends is None:
        return None
    return SeedMean(math.exp(float(np.mean(logs))), Bounds(*map(math.exp, ends)), len(logs))


def _median(values: Sequence[float]) -> float:
    """The median. Between infinity and a number it is infinite; of two equal numbers it is that number."""
    ordered = sorted(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return low if low == high else (low + high) / 2
