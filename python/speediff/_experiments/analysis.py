"""What the results of an experiment say: qualities at equal steps, and speed-ups over the baseline."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SpeeDiffValueError, unknown_name
from . import intervals, measures, meter, speedup
from .arms import OF_PROCESS
from .measures import MEASURES
from .speedup import Curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .arms import Arm
    from .experiment import Experiment
    from .job import Job
    from .results import Result
    from .speedup import SpeedUp

SHOWN_STEPS = 4
"""Steps in the table of qualities at equal steps."""
NOT_RECORDED = "a kind that was not recorded"
COLLAPSED = 1.5
"""A run has fallen apart if it ends at so many times its own best cost."""


@dataclass(frozen=True)
class Spread:
    """A number of several runs."""

    median: float
    low: float
    high: float
    count: int

    @staticmethod
    def of(values: Sequence[float]) -> Spread | None:
        """Their median and range; None without values."""
        if not values:
            return None
        return Spread(float(np.median(values)), min(values), max(values), len(values))


@dataclass(frozen=True)
class Comparison:
    """An arm against the baseline, by one measure."""

    arm: str
    measure: str
    in_steps: list[SpeedUp]
    """One per quality level."""
    in_seconds: list[SpeedUp]
    """The same with seconds of training in place of steps."""


class Analysis:
    """The results of an experiment against a baseline."""

    def __init__(self, experiment: Experiment, baseline: str | None = None) -> None:
        """Takes the results as they are.

        Args:
            experiment: The experiment, whether all of its runs are finished or not.
            baseline: The name of the arm that the others are compared with; None: the first one.

        Raises:
            SpeeDiffValueError: If no arm has this name.
        """
        self.experiment = experiment
        self.plan = plan = experiment.plan
        names = [arm.name for arm in plan.arms]
        if baseline is not None and baseline not in names:
            raise unknown_name("--baseline", baseline, names)
        self.baseline = baseline or names[0]
        self.measures: list[str] = plan.measuring["measure"]
        self.choices = experiment.choices()
        self._compared: dict[tuple[str, str], Comparison] = {}
        self.runs: dict[str, list[tuple[Job, Result]]] = {name: [] for name in names}
        """The measured runs of the comparison, by arm. Unfinished ones are among them."""
        for job in experiment.main_jobs():
            result = experiment.result(job)
            if result is not None:
                self.runs[job.arm].append((job, result))

    @cached_property
    def instruments(self) -> dict[str, dict[str, Any]]:
        """What stands behind the measures of samples, and the floor, by the text of the extractor."""
        path = self.experiment.folder / meter.FLOOR
        if not path.exists():
            return {}
        try:
            found: dict[str, dict[str, Any]] = json.loads(path.read_bytes())
        except ValueError as error:
            raise SpeeDiffValueError(f"{path} is damaged ({error}): remove it, and --resume") from None
        return found

    def instrument(self, measure: str) -> dict[str, Any] | None:
        """That of one measure; None if it is not known."""
        text = self.plan.measuring["features"].get(measure, measures.CLASSIFIER)
        return self.instruments.get(text) if MEASURES[measure].needs_samples else None

    def floor(self, measure: str) -> float | None:
        """What as many real images reach; None if it is not known."""
        found = (self.instrument(measure) or {}).get("floor")
        return None if found is None else found[MEASURES[measure].column]

    def finished(self, arm: str) -> list[Result]:
        """The results of an arm's finished runs."""
        return [result for _, result in self.runs[arm] if result.is_finished]

    def curves(self, arm: str, measure: str, *, of_seconds: bool = False) -> list[Curve]:
        """The costs of an arm's finished runs."""
        return [curve(result, measure, of_seconds=of_seconds) for result in self.finished(arm)]

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Every other arm against the baseline, by each measure by which the two can be compared."""
        return [
            self.compared(arm.name, measure)
            for measure in self.measures
            for arm in self.plan.arms
            if arm.name != self.baseline and self.is_comparable(arm, measure)
        ]

    def is_comparable(self, arm: Arm, measure: str) -> bool:
        """Whether a measure means the same for an arm and the baseline. The loss depends on the schedule."""
        own, its = ({**self.plan.settings, **each.settings} for each in (arm, self.plan.arm(self.baseline)))
        names = [name for name in OF_PROCESS if name not in ("prediction", "normalize")]
        return MEASURES[measure].needs_samples or all(own.get(name) == its.get(name) for name in names)

    def compared(self, arm: str, measure: str) -> Comparison:
        """An arm against the baseline, by one measure."""
        key = arm, measure
        if key not in self._compared:
            self._compared[key] = self._comparison(arm, measure)
        return self._compared[key]

    def _comparison(self, arm: str, measure: str) -> Comparison:
        found = []
        is_log = MEASURES[measure].is_log
        levels = speedup.levels(self.curves(self.baseline, measure), self.curves(arm, measure), is_log=is_log)
        same_seed = self._same_seed(arm)
        for of_seconds in (False, True):
            slow, fast = (self.curves(name, measure, of_seconds=of_seconds) for name in (self.baseline, arm))
            found.append(
                [
                    speedup.speed_up(
                        slow,
                        fast,
                        level,
                        is_log=is_log,
                        interval=intervals.of_median_ratio,
                        same_seed=same_seed,
                    )
                    for level in levels
                ]
            )
        return Comparison(arm, measure, *found)

    def _same_seed(self, arm: str) -> list[tuple[int, int]]:
        """The places of finished runs of the baseline and of an arm that have the same seed."""
        slow, fast = (
            [job.seed for job, result in self.runs[name] if result.is_finished]
            for name in (self.baseline, arm)
        )
        return [(place, fast.index(seed)) for place, seed in enumerate(slow) if seed in fast]

    @cached_property
    def equal_steps(self) -> list[int]:
        """Steps after which every arm with finished runs was measured: the last one, and some before it."""
        sets = [
            {step for step, _ in result.rows}
            for name in self.runs
            for result in self.finished(name)
            if result.diverged_at is None
        ]
        common = sorted(set.intersection(*sets)) if sets else []
        if len(common) <= SHOWN_STEPS:
            return common
        # Spread over the logarithm of the steps, as curves are.
        wanted = np.geomspace(common[0], common[-1], SHOWN_STEPS)
        return sorted({min(common, key=lambda step: abs(np.log(step / each))) for each in wanted})

    def quality(self, arm: str, measure: str, step: int) -> Spread | None:
        """The measured values of an arm's finished runs after a step; None if there are none."""
        column = MEASURES[measure].column
        return Spread.of(self._values(arm, column, step))

    def errors(self, arm: str, step: int) -> dict[str, Spread | None]:
        """The loss after a step, over all timesteps and in each area."""
        names = MEASURES["loss"].columns
        return {name: Spread.of(self._values(arm, name, step)) for name in names}

    def processors(self) -> dict[str, int]:
        """How many finished runs were made on each kind of processor; those of tuning are among them.

        Runs whose files do not say it, since they are older, are of `NOT_RECORDED`. Empty if all are.
        """
        every = [result for arm in self.runs for result in self.finished(arm)]
        tuning = [self.experiment.finished(job) for job in self.experiment.tuning_jobs()]
        every += [result for result in tuning if result is not None]
        found = Counter(result.data.get("processor", NOT_RECORDED) for result in every)
        return {} if found.keys() == {NOT_RECORDED} else dict(found.most_common())

    def _values(self, arm: str, column: str, step: int) -> list[float]:
        found = []
        for result in self.finished(arm):
            at = result.columns.index(column)
            found += [row[at] for each, row in result.rows if each == step]
        return [value for value in found if value is not None]

    def diverged(self) -> list[tuple[Job, int]]:
        """The runs whose training diverged, with the step; those of tuning are among them."""
        runs = [(job, self.experiment.result(job)) for job in self.experiment.tuning_jobs()]
        for found in self.runs.values():
            runs += found
        return [
            (job, result.diverged_at)
            for job, result in runs
            if result is not None and result.diverged_at is not None
        ]

    def collapsed(self) -> list[tuple[Job, str, float, float]]:
        """The runs of the comparison that ended far above their own best, `COLLAPSED` times its cost.

        By the first measure with a ratio: its name, its last value and its best one.
        """
        names = [name for name in self.measures if MEASURES[name].is_log and not MEASURES[name].is_share]
        found = []
        for name in names[:1]:
            for job, result in (run for runs in self.runs.values() for run in runs):
                whole = curve(result, name)
                if not whole.diverged and whole.costs and whole.costs[-1] > COLLAPSED * whole.best:
                    found.append((job, name, whole.costs[-1], whole.best))
        return found


def curve(result: Result, measure: str, *, of_seconds: bool = False) -> Curve:
    """The costs of a run."""
    kind = MEASURES[measure]
    column = result.columns.index(kind.column)
    seconds = {step: row[0] for step, row in result.times}
    points = [(seconds.get(step) if of_seconds else float(step), row[column]) for step, row in result.rows]
    known = [(place, kind.cost(value)) for place, value in points if place and value is not None]
    return Curve(
        tuple(place for place, _ in known), tuple(cost for _, cost in known), result.diverged_at is not None
    )


def best_step(analysis: Analysis) -> int | None:
    """The last step after which all arms were measured; None if there is none."""
    return analysis.equal_steps[-1] if analysis.equal_steps else None


def notes(analysis: Analysis) -> list[str]:
    """What a reader must know beside the tables."""
    found = []
    for arm in analysis.plan.arms:
        if "loss" in analysis.measures and not analysis.is_comparable(arm, "loss"):
            found.append(
                f"{arm.name} has another schedule than {analysis.baseline}: the loss does not compare them."
            )
    for job, step in analysis.diverged():
        found.append(f"{job.title}: diverged at step {step}.")
    for job, name, last, best in analysis.collapsed():
        ends, own = (measures.shown(name, cost) for cost in (last, best))
        found.append(
            f"{job.title}: fell apart. Its {name} ended at {ends}, far above its own best, {own}. "
            "Its speed-ups describe the time before."
        )
    tuning = analysis.plan.tuning
    for name, choice in analysis.choices.items():
        if tuning is not None and choice is not None and choice.edge is not None:
            found.append(
                f"The best {tuning.setting} of {name}, {choice.value:g}, is the {choice.edge} edge of its "
                "grid. The true best may lie beyond: add values to --tune, and --resume."
            )
    counts = [len(analysis.finished(arm.name)) for arm in analysis.plan.arms]
    if min(counts) == 0:
        found.append("Some arms have no finished run yet.")
    if 0 < max(counts) < intervals.LEAST:
        found.append(
            f"With fewer than {intervals.LEAST} seeds of each there is no interval. Seeds can differ by more "
            "than methods do."
        )
    return found


def measure_title(name: str, analysis: Analysis) -> str:
    """A measure with its extractor, as in FD (classifier)."""
    kind, found = MEASURES[name], analysis.instrument(name)
    if found is None or kind.is_share:
        return kind.title
    # As the evaluation names it: FD (EffNet-Lite0), and FID for the standard weights only.
    distance: str = found["distance"]
    return distance if name == "fd" else distance.replace("FID", "KID").replace("FD", "KID")
