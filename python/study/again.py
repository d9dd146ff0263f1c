"""Makes a run of the study again, and says how its measurements differ from those that are kept.

python -m study.again EXPERIMENT RUN, where RUN is as in results/runs.jsonl: speed/lr=0.004/seed-0
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from speediff._experiments import meter
from speediff._experiments.experiment import Experiment

from . import runs
from .__main__ import DOCS, RESULTS, ROOT, RUNS
from .experiments import StudyError, says_errors

if TYPE_CHECKING:
    from pathlib import Path

    from speediff._experiments.job import Job
    from speediff._experiments.plan import Plan
    from speediff._experiments.results import Result

AGAIN = ROOT / "runs" / "study-again"
CHECKPOINT_EVERY = 1000
REFERENCE = "reference"


def folder_of(name: str, key: str) -> Path:
    """Where a run of an experiment is made again."""
    return AGAIN / name / key


@dataclass(frozen=True)
class Difference:
    """A measurement that came out differently."""

    step: int
    measure: str
    kept: float
    again: float

    @property
    def share(self) -> float:
        """Of what was kept."""
        return abs(self.again - self.kept) / max(abs(self.kept), sys.float_info.min)


def kept(folder: Path, key: str) -> tuple[Plan, Job, Result]:
    """A run of an experiment, and its result.

    Raises:
        StudyError: If there is no such run, or it has not ended.
    """
    experiment = runs.opened(folder)
    ended = runs.ended(experiment, (*experiment.tuning_jobs(), *experiment.main_jobs()))
    job = runs.find(ended, key, folder.name)
    result = experiment.finished(job)
    assert result is not None
    return experiment.plan, job, result


def alone(plan: Plan, job: Job) -> Plan:
    """The plan of one run alone. A run of tuning is measured by what decides, as it was."""
    arm = plan.arm(job.arm)
    own = {
        name: value for name, value in job.settings.items() if name != "seed" and value != plan.settings[name]
    }
    only = replace(arm, settings={**arm.settings, **own}, seeds=None, tune=None)
    measuring = plan.measuring
    if job.is_tuning:
        assert plan.tuning is not None
        measuring = {**measuring, "measure": [plan.tuning.by]}
    return replace(plan, arms=(only,), seeds=(job.seed,), tuning=None, measuring=measuring)


def copy_reference(reference: Path, folder: Path) -> None:
    """Copies a former run's features of the reference, if they are there, since making them takes minutes."""
    if reference.is_dir() and not (folder / REFERENCE).exists():
        shutil.copytree(reference, folder / REFERENCE)
        (folder / "results").mkdir(exist_ok=True)
        shutil.copy(reference.parent / meter.FLOOR, folder / "results")


def make(plan: Plan, job: Job, folder: Path, reference: Path) -> Result:
    """Makes the run in a new folder.

    Args:
        plan: The plan of this run alone.
        job: The run.
        folder: The folder.
        reference: Features of the reference from a former run, if they are there.
    """
    shutil.rmtree(folder, ignore_errors=True)
    copy_reference(reference, folder)
    folder.mkdir(parents=True, exist_ok=True)
    experiment = Experiment(folder, plan)
    (again,) = experiment.main_jobs()
    if again.settings != job.settings:
        raise StudyError(f"the run {job.key!r} has settings that its plan does not give")
    experiment.open()
    experiment.train(count=1, checkpoint_every=CHECKPOINT_EVERY)
    found = experiment.result(again)
    assert found is not None
    return found


def differences(before: Result, after: Result) -> list[Difference]:
    """The measurements that differ, of those that both have.

    Raises:
        StudyError: If they were not made after the same steps.
    """
    if [step for step, _ in before.rows] != [step for step, _ in after.rows]:
        raise StudyError("the two runs were not measured after the same steps")
    found = []
    for (step, kept_row), (_, again_row) in zip(before.rows, after.rows, strict=True):
        again = dict(zip(after.columns, again_row, strict=True))
        for name, value in zip(before.columns, kept_row, strict=True):
            other = again.get(name)
            if value is not None and other is not None and value != other:
                found.append(Difference(step, name, value, other))
    return found


def told(before: Result, after: Result) -> str:
    """What differs, in a few lines."""
    processors = [result.data.get("processor", "not recorded") for result in (before, after)]
    lines = [f"processor then: {processors[0]}; now: {processors[1]}"]
    found = differences(before, after)
    count = sum(value is not None for _, row in before.rows for value in row)
    if not found:
        lines.append(f"All of {count} measurements are the same, to the last bit.")
    else:
        worst = max(found, key=lambda each: each.share)
        lines.append(f"{len(found)} of {count} measurements differ, by at most {worst.share:.2%}:")
        lines += [f"step {each.step}, {each.measure}: {each.kept!r}, now {each.again!r}" for each in found]
    return "\n".join(lines)


@says_errors
def main() -> int:
    """Makes one run again. Fails if a measurement differs."""
    parser = argparse.ArgumentParser(prog="python -m study.again", description=__doc__)
    parser.add_argument("experiment", help="a folder of docs/results/study")
    parser.add_argument("run", help="as in its results/runs.jsonl")
    options = parser.parse_args()
    plan, job, before = kept(DOCS / RESULTS / options.experiment, options.run)
    folder = folder_of(options.experiment, job.key)
    after = make(alone(plan, job), job, folder, RUNS / options.experiment / REFERENCE)
    print(told(before, after))
    return int(bool(differences(before, after)))


if __name__ == "__main__":
    raise SystemExit(main())
