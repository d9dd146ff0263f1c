"""The numbers of the page: a speed-up, or a quality at equal steps against another, with what it may be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from speediff._experiments import intervals, report_text
from speediff._experiments.measures import MEASURES
from speediff._experiments.speedup import Bounds

from .experiments import StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speediff._experiments.speedup import SpeedUp

    from .experiments import StudyExperiment

NOTHING = "–"


@dataclass(frozen=True)
class Figure:
    """A number over all pairs of two arms' runs."""

    median: Bounds
    range: Bounds
    """The 95 % interval over seeds; without one, from the lowest pair to the highest."""
    is_interval: bool
    seeds: int
    """Of the arm that has fewer."""
    unit: str = " ×"

    def __str__(self) -> str:
        """The median with [its interval], or with (the lowest and the highest pair)."""
        text = str(self.median) if self.unit else f"{self.median.low:.4g}"
        if self.seeds < 2 and not self.is_interval:
            return text
        low, high = (_end(each, self.unit) for each in (self.range.low, self.range.high))
        return f"{text} [{low}, {high}]" if self.is_interval else f"{text} ({low} to {high})"


def _end(value: float, unit: str) -> str:
    return "∞" if math.isinf(value) else f"{value:.2f}" if unit else f"{value:.4g}"


def speed_up(
    experiment: StudyExperiment, arm: str, measure: str, baseline: str | None = None
) -> Figure | None:
    """The speed-up of an arm at the best quality that all runs of both reached.

    Args:
        experiment: The experiment, which has results.
        arm: The arm.
        measure: The measure of quality.
        baseline: The arm that it is compared with; None: the experiment's.

    Returns:
        The speed-up; None if the two have reached no common quality, or the measure does not compare them.

    Raises:
        StudyError: If there is no such arm or measure, or there are no results.
    """
    experiment.check_measure(measure)
    experiment.check_arm(arm)
    analysis = experiment.against(baseline)
    assert analysis is not None
    if arm == analysis.baseline:
        raise StudyError(f"{experiment.name}: {arm!r} is the baseline, which has no speed-up over itself")
    if not analysis.is_comparable(analysis.plan.arm(arm), measure):
        return None
    found = analysis.compared(arm, measure).in_steps
    return _figure(found[-1], _seeds(experiment, arm, analysis.baseline)) if found else None


def more_of_speed_up(experiment: StudyExperiment, arm: str, measure: str, baseline: str) -> str:
    """What a speed-up is at the quality where it is highest, as the paper reports it, and for equal seeds."""
    analysis = experiment.against(baseline)
    assert analysis is not None
    found = analysis.compared(arm, measure).in_steps
    if not found:
        return ""
    highest = max((each.median for each in found), key=lambda median: (median.low, median.high))
    same = report_text.same_seed_text(found[-1])
    return f"; {highest} at the quality where it is highest" + (
        "" if found[-1].same_seed is None else f"; {same} for the same seed"
    )


def _figure(found: SpeedUp, seeds: int) -> Figure:
    if found.interval is not None:
        return Figure(found.median, found.interval, True, seeds)
    return Figure(found.median, Bounds(found.lowest.low, found.highest.high), False, seeds)


def _seeds(experiment: StudyExperiment, *arms: str) -> int:
    return min(len(experiment.ended(arm)) for arm in arms)


def gain(
    experiment: StudyExperiment, arm: str, measure: str, than: str, step: int | None = None
) -> Figure | None:
    """How much better an arm is than another after the same steps.

    Its number is the other's cost over the arm's, so that more than 1 is better. For a measure that can be 0
    or less, such as KID, it is the difference, so that more than 0 is better. A run that diverged has an
    infinite cost.

    Args:
        experiment: The experiment.
        arm: The arm.
        measure: What decides.
        than: The other arm.
        step: The steps; None: the last that all arms were measured at.

    Returns:
        The gain; None if no run of either was measured there, or the measure does not compare the two.
    """
    experiment.check_measure(measure)
    experiment.check_arm(arm)
    analysis = experiment.against(than)
    assert analysis is not None
    if not analysis.is_comparable(analysis.plan.arm(arm), measure):
        return None
    at = experiment.last_step if step is None else step
    own, its = (_costs(experiment, name, measure, at) for name in (arm, than))
    if not own or not its:
        return None
    return gain_of_costs(own, its, is_ratio=MEASURES[measure].is_log)


def gain_of_costs(own: Sequence[float], its: Sequence[float], *, is_ratio: bool = True) -> Figure:
    """How much lower some runs' costs are than others', over all pairs."""
    pairs = np.array([[_gain(slow, fast, is_ratio=is_ratio) for fast in own] for slow in its])
    median, is_known = float(np.median(pairs)), bool(np.isfinite(pairs).all() and (pairs > 0).all())
    if is_ratio:
        ends = intervals.of_median_ratio(pairs) if is_known else None
    else:
        ends = intervals.of_median(pairs) if np.isfinite(pairs).all() else None
    low, high = ends or (float(pairs.min()), float(pairs.max()))
    return Figure(
        Bounds(median, median),
        Bounds(low, high),
        ends is not None,
        min(pairs.shape),
        " ×" if is_ratio else "",
    )


def _costs(experiment: StudyExperiment, arm: str, measure: str, at: int) -> list[float]:
    kind, found = MEASURES[measure], []
    for result in experiment.ended(arm):
        column = result.columns.index(kind.column)
        values = [row[column] for step, row in result.rows if step == at]
        if result.diverged_at is not None and not values:
            found.append(math.inf)
        found += [kind.cost(value) for value in values if value is not None]
    return found


def _gain(slow: float, fast: float, *, is_ratio: bool) -> float:
    """Both infinite say nothing: no gain."""
    if math.isinf(slow) and math.isinf(fast):
        return 1.0 if is_ratio else 0.0
    if not is_ratio or math.isinf(slow):
        return slow - fast
    return 0.0 if math.isinf(fast) else slow / fast if fast > 0 else math.inf


def quality(experiment: StudyExperiment, arm: str, measure: str) -> str:
    """An arm's quality after the last common step: the median [lowest, highest] over its seeds."""
    experiment.check_measure(measure)
    experiment.check_arm(arm)
    spread = experiment.results.quality(arm, measure, experiment.last_step)
    return report_text.spread_text(measure, spread)


def tuned(experiment: StudyExperiment, arm: str) -> str:
    """What tuning chose for an arm, or the value that it has without tuning.

    An arm whose value was given says so where others are tuned.
    """
    experiment.check_arm(arm)
    analysis = experiment.results
    setting = "lr" if analysis.plan.tuning is None else analysis.plan.tuning.setting
    if arm in analysis.choices:
        choice = analysis.choices[arm]
        return NOTHING if choice is None else f"{choice.value:g}" + ("" if choice.edge is None else " (edge)")
    return f"{experiment.setting(arm, setting):g}" + ("" if analysis.plan.tuning is None else " (given)")
