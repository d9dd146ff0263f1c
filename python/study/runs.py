"""Runs of an experiment that have ended, by their keys: RUN is as in results/runs.jsonl."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speediff._experiments import plan

from .experiments import StudyError, begun

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from speediff._experiments.experiment import Experiment
    from speediff._experiments.job import Job


def opened(folder: Path) -> Experiment:
    """The experiment of a folder.

    Raises:
        StudyError: If the folder has no plan.
    """
    experiment = begun(folder)
    if experiment is None:
        raise StudyError(f"{folder.name} has no {plan.NAME}: it has not been begun")
    return experiment


def ended(experiment: Experiment, jobs: Iterable[Job]) -> dict[str, Job]:
    """Those of some jobs whose runs have ended, by their keys."""
    return {job.key: job for job in jobs if experiment.finished(job) is not None}


def find(known: Mapping[str, Job], key: str, name: str) -> Job:
    """A run by its key.

    Args:
        known: What `ended` gives.
        key: The key.
        name: The name of the experiment, for the error.

    Raises:
        StudyError: If there is no such run.
    """
    if key not in known:
        raise StudyError(f"{name} has no run {key!r} that has ended, only {', '.join(known)}")
    return known[key]
