"""The runs of a plan, in an order in which an early stop leaves a fair comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import tuning
from .job import Job
from .measures import MEASURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .arms import Arm
    from .plan import Plan
    from .results import Result
    from .tuning import Choice

    Find = Callable[[Job], Result | None]


def tuning_jobs(plan: Plan) -> Iterator[Job]:
    """The runs of tuning: for each seed and each value those of all arms."""
    if plan.tuning is None:
        return
    grids = {arm.name: plan.grid_of(arm) for arm in plan.arms}
    values = sorted({value for grid in grids.values() for value in grid})
    for seed in plan.tuning.seeds:
        for value in values:
            for arm in plan.arms:
                if value in grids[arm.name]:
                    yield tuning_job(plan, arm, value, seed)


def tuning_job(plan: Plan, arm: Arm, value: float, seed: int) -> Job:
    """One run of an arm's tuning."""
    assert plan.tuning is not None
    tuned = {plan.tuning.setting: value, "steps": plan.tuning_steps(arm)}
    settings = plan.settings_of(arm, seed, **tuned)
    return Job(arm.name, tuning.variant(plan.tuning.setting, value), settings, is_tuning=True)


def main_jobs(plan: Plan, choices: dict[str, Choice | None]) -> Iterator[Job]:
    """The runs of the comparison: for each seed those of all arms.

    Args:
        plan: The plan.
        choices: What tuning chose, by arm; None: not yet known. Arms that are not tuned are not in it.
    """
    every = dict.fromkeys(seed for arm in plan.arms for seed in plan.seeds_of(arm))
    ordered = dict.fromkeys((*(seed for seed in plan.seeds if seed in every), *every))
    for seed in ordered:
        for arm in plan.arms:
            job = main_job(plan, arm, seed, choices) if seed in plan.seeds_of(arm) else None
            if job is not None:
                yield job


def main_job(plan: Plan, arm: Arm, seed: int, choices: dict[str, Choice | None]) -> Job | None:
    """One run of the comparison; None while its arm is being tuned."""
    if arm.name not in choices:
        return Job(arm.name, "", plan.settings_of(arm, seed))
    choice = choices[arm.name]
    if choice is None:
        return None
    assert plan.tuning is not None
    settings = plan.settings_of(arm, seed, **{plan.tuning.setting: choice.value})
    return Job(arm.name, tuning.variant(plan.tuning.setting, choice.value), settings)


def choices(plan: Plan, find: Find) -> dict[str, Choice | None]:
    """What tuning chose, by arm; None while a run is missing. Arms that are not tuned are left out.

    Args:
        plan: The plan.
        find: Finds the result of a finished run; None if it is not finished.
    """
    found: dict[str, Choice | None] = {}
    for arm in plan.arms:
        grid = plan.grid_of(arm)
        if plan.tuning is None or not grid:
            continue
        column = MEASURES[plan.tuning.by].column
        last: dict[float, list[float | None]] = {}
        for value in grid:
            results = [find(tuning_job(plan, arm, value, seed)) for seed in plan.tuning.seeds]
            if any(result is None for result in results):
                break
            last[value] = [result.last(column) for result in results if result is not None]
        found[arm.name] = tuning.choose(plan.tuning.by, last) if len(last) == len(grid) else None
    return found


def total_steps(plan: Plan) -> int:
    """The steps of all runs, whatever tuning chooses."""
    steps = sum(job.steps for job in tuning_jobs(plan))
    for arm in plan.arms:
        steps += plan.settings_of(arm, 0)["steps"] * len(plan.seeds_of(arm))
    return steps
