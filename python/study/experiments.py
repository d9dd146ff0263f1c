"""The experiments of the study: what experiments.json says of each, and its results so far."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any

from speediff._experiments import analysis as analyses
from speediff._experiments import plan
from speediff._experiments.analysis import Analysis
from speediff._experiments.experiment import Experiment
from speediff.errors import SpeeDiffError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from speediff._experiments.job import Job
    from speediff._experiments.results import Result

EARLY = "early"
"""The folder of an experiment with measurements of the beginnings of some runs."""
KEYS = ("title", "baselines", "shown", "evidence", "in_rounds", "cut", "machine", "presets")


class StudyError(Exception):
    """The study's own files contradict each other or its results."""


def says_errors(command: Callable[[], int]) -> Callable[[], int]:
    """A command that prints its error in a line, and fails with 1."""

    @wraps(command)
    def run() -> int:
        try:
            return command()
        except (StudyError, SpeeDiffError) as error:
            print(f"study: {error}", file=sys.stderr)
            return 1

    return run


@dataclass(frozen=True)
class Count:
    """Runs that have ended, of all that are planned."""

    done: int
    planned: int

    @property
    def is_whole(self) -> bool:
        """Whether none is missing."""
        return self.done == self.planned

    def __str__(self) -> str:
        return f"{self.done} of {self.planned}"


@dataclass(frozen=True)
class StudyExperiment:
    """One experiment, whether it has been run or not."""

    name: str
    """The name of its folder."""
    folder: Path
    title: str
    baselines: tuple[str, ...] = ()
    """The arms that the others are compared with; none: the first arm."""
    shown: tuple[str, ...] = ()
    """The arms of a picture of its own, `shown.png`."""
    evidence: bool = False
    """Whether its results are the evidence of methods."""
    in_rounds: bool = False
    """Whether arms drop out, so that those that are left train on."""
    cut: bool = False
    """Whether the plan's rule for short hours has left it out; runs that are there are shown."""
    machine: str = ""
    """The kind of processor, for the page."""
    with_beginnings: bool = True
    """Whether measurements of `EARLY` count."""
    presets: Mapping[str, str] = field(default_factory=dict)
    """Arms whose method has a name of its own since, and that method, whose evidence they are."""

    @cached_property
    def _experiment(self) -> Experiment | None:
        experiment = begun(self.folder)
        if experiment is None:
            return None
        for name in (*self.baselines, *self.shown, *self.presets):
            self._check_arm(name, experiment)
        return experiment

    @cached_property
    def _beginnings(self) -> dict[tuple[str, int], Result]:
        """The beginnings of runs that were measured more often, by arm and seed."""
        made = begun(self.folder / EARLY) if self.with_beginnings else None
        if made is None:
            return {}
        found = {(job.arm, job.seed): made.finished(job) for job in made.main_jobs()}
        return {run: result for run, result in found.items() if result is not None}

    def _whole(self, job: Job, result: Result) -> Result:
        """A run with the measurements of its beginning.

        Raises:
            StudyError: If the beginning is not that of this run.
        """
        early = self._beginnings.get((job.arm, job.seed))
        if early is None or not early.rows or not result.rows:
            return result
        if early.columns != result.columns or early.rows[-1] != result.rows[0]:
            raise StudyError(
                f"{self.name}/{EARLY}: {job.title} must end with the run's first measurement, "
                f"{result.rows[0]}, got {early.rows[-1]}"
            )
        return replace(
            result,
            rows=[*early.rows[:-1], *result.rows],
            times=[*early.times[:-1], *result.times],
        )

    @cached_property
    def _analyses(self) -> dict[str, Analysis]:
        return {}

    def against(self, baseline: str | None = None) -> Analysis | None:
        """The results against a baseline, by default its own first one; None before the first run has ended.

        Runs that have not ended are left out.
        """
        experiment = self._experiment
        if experiment is None:
            return None
        name = baseline or (self.baselines[0] if self.baselines else experiment.plan.arms[0].name)
        self._check_arm(name, experiment)
        if name not in self._analyses:
            found = Analysis(experiment, name)
            found.runs = {
                arm: [(job, self._whole(job, result)) for job, result in runs if result.is_finished]
                for arm, runs in found.runs.items()
            }
            self._analyses[name] = found
        return self._analyses[name] if any(self._analyses[name].runs.values()) else None

    @property
    def results(self) -> Analysis:
        """The results against its own first baseline.

        Raises:
            StudyError: If no run has ended.
        """
        found = self.against()
        if found is None:
            raise StudyError(f"{self.name} has no results yet: say it between `when: {self.name}` and `end`")
        return found

    @cached_property
    def baseline_names(self) -> tuple[str, ...]:
        """The arms that the others are compared with."""
        return self.baselines or (self.results.baseline,)

    @property
    def no_results(self) -> str:
        """Why there are none."""
        return "cut to save hours, by the plan's rule" if self.cut else "not run yet"

    @cached_property
    def runs(self) -> Count | None:
        """The runs of the comparison; None without a plan."""
        experiment = self._experiment
        if experiment is None:
            return None
        made = experiment.plan
        done = [job for job in experiment.main_jobs() if experiment.finished(job) is not None]
        return Count(len(done), sum(len(made.seeds_of(arm)) for arm in made.arms))

    @cached_property
    def tuning_runs(self) -> Count | None:
        """The runs of tuning; None without a plan or without tuning."""
        experiment = self._experiment
        if experiment is None or experiment.plan.tuning is None:
            return None
        every = experiment.tuning_jobs()
        return Count(sum(experiment.finished(job) is not None for job in every), len(every))

    @property
    def is_complete(self) -> bool:
        """Whether every planned run has ended."""
        return self.runs is not None and self.runs.is_whole

    def setting(self, arm: str, name: str) -> Any:
        """A setting of an arm's runs, its own or the experiment's."""
        made = self.results.plan
        return made.settings_of(made.arm(arm), 0)[name]

    def of_arm(self, arm: str) -> Count:
        """An arm's runs."""
        found = self.results
        self.check_arm(arm)
        return Count(len(found.finished(arm)), len(found.plan.seeds_of(found.plan.arm(arm))))

    @property
    def last_step(self) -> int:
        """The last step after which all arms were measured.

        Raises:
            StudyError: If there is none.
        """
        step = analyses.best_step(self.results)
        if step is None:
            raise StudyError(f"{self.name}: its arms have no measured step in common")
        return step

    def check_arm(self, arm: str) -> None:
        """Raises StudyError if it has no such arm."""
        assert self._experiment is not None
        self._check_arm(arm, self._experiment)

    def _check_arm(self, arm: str, experiment: Experiment) -> None:
        names = [each.name for each in experiment.plan.arms]
        if arm not in names:
            raise StudyError(f"{self.name} has no arm {arm!r}, only {', '.join(names)}")

    def check_measure(self, measure: str) -> None:
        """Raises StudyError if it was not measured."""
        names = self.results.measures
        if measure not in names:
            raise StudyError(f"{self.name} did not measure {measure!r}, only {', '.join(names)}")

    def every_ended(self) -> list[Result]:
        """The results of all runs that have ended, those of tuning and beginnings among them."""
        experiment = self._experiment
        if experiment is None:
            return []
        jobs = (*experiment.tuning_jobs(), *experiment.main_jobs())
        whole = [result for job in jobs if (result := experiment.finished(job)) is not None]
        return [*whole, *self._beginnings.values()]

    def ended(self, arm: str) -> list[Result]:
        """The results of an arm's runs that have ended."""
        self.check_arm(arm)
        return self.results.finished(arm)


def begun(folder: Path) -> Experiment | None:
    """What is in an experiment's folder; None before its first run."""
    return Experiment(folder, plan.read(folder)) if (folder / plan.NAME).exists() else None


def read(file: Path, folder: Path) -> dict[str, StudyExperiment]:
    """The experiments of a file, in its order.

    Args:
        file: A JSON object of experiments by the names of their folders, with `KEYS`, `title` among them.
        folder: The folder of these folders.

    Raises:
        StudyError: If the file has something else, or a folder is not in it.
    """
    plain: Mapping[str, Mapping[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    for name, entry in plain.items():
        unknown = entry.keys() - set(KEYS)
        if unknown or "title" not in entry:
            raise StudyError(f"{file.name}: {name} must have a title and may have {', '.join(KEYS[1:])}")
    stray = [path.parent.name for path in folder.glob(f"*/{plan.NAME}") if path.parent.name not in plain]
    if stray:
        raise StudyError(f"{file.name} must name every experiment, but not {', '.join(sorted(stray))}")
    return {name: _experiment(name, folder / name, entry) for name, entry in plain.items()}


def _experiment(name: str, folder: Path, entry: Mapping[str, Any]) -> StudyExperiment:
    lists = {key: tuple(entry[key]) for key in ("baselines", "shown") if key in entry}
    return StudyExperiment(name, folder, **{**entry, **lists})


def find(experiments: Mapping[str, StudyExperiment], name: str) -> StudyExperiment:
    """An experiment by its name.

    Raises:
        StudyError: If there is none.
    """
    if name not in experiments:
        raise StudyError(f"there is no experiment {name!r}, only {', '.join(experiments)}")
    return experiments[name]
