"""Makes the beginning of runs again, and measures it more often.

python -m study.early confirm choice 'uniform, x0'

For arms that are better after the first measurement than others ever get: without this, only a bound of their
speed-up is known. All seeds of each arm train up to the first step that was measured, and must come out there
as before, so this needs the kind of processor that made them. The measurements go to EXPERIMENT/early.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from speediff._experiments import packed
from speediff._experiments.experiment import Experiment

from . import runs
from .__main__ import DOCS, RESULTS, ROOT, RUNS
from .again import CHECKPOINT_EVERY, REFERENCE, alone, copy_reference
from .experiments import EARLY, StudyError, begun, says_errors
from .tables import SIDE_BY_SIDE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from speediff._experiments.plan import Plan

FOLDER = ROOT / "runs" / "study-early"
PARTS = 5
"""The first measured step is divided into so many intervals."""


def beginnings(folder: Path, arms: Sequence[str]) -> Plan:
    """A plan of the beginnings of all runs of some arms, and of those that have been made before.

    Raises:
        StudyError: If an arm is not there, or a run of it has not ended.
    """
    experiment = runs.opened(folder)
    plan, every = experiment.plan, experiment.plan.measuring["measure_every"]
    ended = runs.ended(experiment, experiment.main_jobs())
    before = begun(folder / EARLY)
    names = [*(arm.name for arm in before.plan.arms), *arms] if before else arms
    chosen = []
    for name in dict.fromkeys(names):
        jobs = [job for job in ended.values() if job.arm == name]
        if not jobs or len(jobs) < len(plan.seeds_of(plan.arm(name))):
            raise StudyError(f"{folder.name} has no arm {name!r} whose runs have all ended")
        (arm,) = alone(plan, jobs[0]).arms
        chosen.append(replace(arm, seeds=plan.arm(name).seeds, settings={**arm.settings, "steps": every}))
    measuring = {**plan.measuring, "measure_every": every // PARTS, "samples": 0}
    return replace(plan, arms=tuple(chosen), tuning=None, measuring=measuring)


@says_errors
def main() -> int:
    """Makes the beginnings, two at a time, and keeps their measurements."""
    parser = argparse.ArgumentParser(prog="python -m study.early", description=__doc__)
    parser.add_argument("experiment", help="a folder of docs/results/study")
    parser.add_argument("arms", nargs="+", metavar="ARM")
    options = parser.parse_args()
    source = DOCS / RESULTS / options.experiment
    folder = FOLDER / options.experiment
    folder.mkdir(parents=True, exist_ok=True)
    if (source / EARLY).exists():
        shutil.copytree(source / EARLY, folder, dirs_exist_ok=True)
    copy_reference(RUNS / options.experiment / REFERENCE, folder)
    experiment = Experiment(folder, beginnings(source, options.arms))
    experiment.open()
    experiment.train(count=SIDE_BY_SIDE, checkpoint_every=CHECKPOINT_EVERY)
    packed.pack(folder, source / EARLY)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
