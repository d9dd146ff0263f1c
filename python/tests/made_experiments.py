"""Experiments that nobody trained: their result files are written with the package's own code.

A run of an arm with a pace of 2 is at each step as good as one of pace 1 after twice as many.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from speediff._experiments import jobs, meter, plan, results
from speediff._experiments.arms import Arm
from speediff._experiments.experiment import Experiment
from speediff._experiments.results import Result
from speediff._experiments.tuning import Tuning
from speediff._runs.run_settings import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from speediff._experiments.job import Job

STEPS = (10, 20, 50, 100)
COLUMNS = ("fd", "kid", "kid_std")
MEASURING = {**plan.MEASURING, "measure": ["fd", "kid"], "measure_every": 10}
DATA = {
    "data": "none",
    "validation_images": 9,
    "timesteps": 1000,
    "areas": {"acceleration": [1, 220], "deceleration": [221, 700], "convergence": [701, 1000]},
}
INSTRUMENT = {
    "extractor": "a classifier, 64 features",
    "resize": "none",
    "reference_images": 60,
    "distance": "FD (classifier)",
    "floor": {"n": 10, "of": "test images", "fd": 0.5, "kid": 0.001},
}


def wobble(seed: int) -> float:
    """Seeds differ by up to 8 %."""
    return 0.92 + 0.04 * (seed % 5)


def numbers(place: float) -> tuple[float, float, float]:
    """FD 1000/place and KID 1/place after as many steps of pace 1."""
    return 1000 / place, 1 / place, 0.0


def write_run(
    folder: Path, job: Job, pace: float, *, steps: Sequence[int] = STEPS, ended: bool = True
) -> None:
    """The files of one run."""
    rows: Any = [(step, numbers(step * pace * wobble(job.seed))) for step in steps if step <= job.steps]
    times = [(step, (2.0 * step, 0.5)) for step, _ in rows]
    results.write(folder, job, Result(job.settings, COLUMNS, rows, times, ended, None, DATA))


def make(
    folder: Path,
    arms: Mapping[str, Mapping[str, Any]],
    pace: Callable[[Job], float],
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    lr: tuple[float, ...] = (),
    skipped: Callable[[Job], bool] = lambda _: False,
) -> Experiment:
    """An experiment in a folder.

    Args:
        folder: The folder.
        arms: The settings of each arm.
        pace: How fast a run is.
        seeds: The seeds.
        lr: The learning rates that arms are tuned over; none: no tuning.
        skipped: Whether a run has no files.
    """
    tuning = Tuning("lr", lr, (1000,), None, "fd") if lr else None
    named = tuple(Arm(name, dict(settings)) for name, settings in arms.items())
    made = plan.Plan("digits", "none", {**DEFAULTS, "steps": 100}, MEASURING, tuple(seeds), named, tuning)
    folder.mkdir(parents=True, exist_ok=True)
    plan.write(folder, made)
    (folder / results.FOLDER).mkdir()
    (folder / meter.FLOOR).write_text(json.dumps({"classifier": INSTRUMENT}))
    for job in jobs.tuning_jobs(made, jobs.grids(made, lambda _: None)):
        if not skipped(job):
            write_run(folder, job, pace(job))
    for job in Experiment(folder, made).main_jobs():
        if not skipped(job):
            write_run(folder, job, pace(job))
    return Experiment(folder, made)
