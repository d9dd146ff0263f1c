"""The runs of a plan, in an order in which an early stop leaves a fair comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import tuning
from .job import Job
from .measures import MEASURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .arms import Arm
    from .plan import Plan
    from .results import Result
    from .tuning import Choice

    Find = Callable[[Job], Result | None]


def grids(plan: Plan, find: Find) -> dict[str, tuple[float, ...]]:
    """The values that each arm is tuned over, as far as its grid has grown. Arms without any are left out.

    Args:
        plan: The plan.
        find: Finds the result of a finished run; None if it is not finished.
    """
    found = {arm.name: _grown(plan, arm, find) for arm in plan.arms}
    return {name: grid for name, grid in found.items() if grid}


def _grown(plan: Plan, arm: Arm, find: Find) -> tuple[float, ...]:
    # Results alone decide, so that an experiment that goes on, and a report, have the same grid.
    grid = plan.grid_of(arm)
    if plan.tuning is None or not plan.tuning.grows or not grid:
        return grid
    for _ in range(tuning.MOST_GROWTH):
        choice = _choice(plan, arm, grid, find)
        if choice is None or choice.edge is None:
            break
        grid = tuning.grown(grid, choice.edge)
    return grid


def _choice(plan: Plan, arm: Arm, grid: Sequence[float], find: Find) -> Choice | None:
    """What an arm's tuning chose; None while a run is missing."""
    assert plan.tuning is not None
    column = MEASURES[plan.tuning.by].column
    last: dict[float, list[float | None]] = {}
    for value in grid:
        results = [find(tuning_job(plan, arm, value, seed)) for seed in plan.tuning.seeds]
        if any(result is None for result in results):
            return None
        last[value] = [result.last(column) for result in results if result is not None]
    return tuning.choose(plan.tuning.by, last, plan.tuning.tolerance)


def tuning_jobs(plan: Plan, grids: Mapping[str, Sequence[float]]) -> Iterator[Job]:
    """The runs of tuning: for each seed and each value those of all arms."""
    if plan.tuning is None:
        return
    values = sorted({value for grid in grids.values() for value in grid})
    for seed in plan.tuning.seeds:
        for value in values:
            for arm in plan.arms:
                if value in grids.get(arm.name, ()):
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


def choices(plan: Plan, grids: Mapping[str, Sequence[float]], find: Find) -> dict[str, Choice | None]:
    """What tuning chose, by arm; None while a run is missing. Arms that are not tuned are left out.

    Args:
        plan: The plan.
        grids: The result of `grids`.
        find: Finds the result of a finished run; None if it is not finished.
    """
    return {name: _choice(plan, plan.arm(name), grid, find) for name, grid in grids.items()}


def total_steps(plan: Plan, grids: Mapping[str, Sequence[float]]) -> int:
    """The steps of all runs, whatever tuning chooses, unless a grid grows further."""
    steps = sum(job.steps for job in tuning_jobs(plan, grids))
    for arm in plan.arms:
        steps += plan.settings_of(arm, 0)["steps"] * len(plan.seeds_of(arm))
    return steps
