"""Tuning: each arm's best value of one setting, chosen on seeds that the comparison does not use."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._runs import schedule_flags
from ..errors import SpeeDiffValueError
from .arms import INTEGERS, REALS
from .measures import MEASURES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SETTINGS = tuple(name for name in (*REALS, *INTEGERS) if name != "steps")
"""What can be tuned: settings that are numbers."""
SEED = 1000
"""The default seed of tuning."""
LEAST_VALUES = 2
GROWING = ("lr", "weight_decay", "clip")
"""Settings whose grid can grow: positive, and without an upper bound."""
AND_ON = ("...", "…")
"""Last values of a grid that grows."""
MOST_GROWTH = 8
"""The most values by which a grid grows."""


@dataclass(frozen=True)
class Tuning:
    """What is tuned, and how."""

    setting: str
    values: tuple[float, ...]
    """The grid, rising."""
    seeds: tuple[int, ...]
    steps: int | None
    """Steps of each run; None: those of the arm."""
    by: str
    """The measure that decides, at the last step."""
    grows: bool = False
    """Whether an arm's grid grows until its best value is not at an edge."""
    tolerance: float = 0.0
    """The lowest value is chosen whose mean cost exceeds the least by at most this share."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "values": list(self.values), "seeds": list(self.seeds)}

    @staticmethod
    def from_json(plain: Mapping[str, Any]) -> Tuning:
        """From the result of `to_json`."""
        return Tuning(**{**plain, "values": tuple(plain["values"]), "seeds": tuple(plain["seeds"])})


@dataclass(frozen=True)
class Choice:
    """The outcome of an arm's tuning."""

    value: float
    costs: dict[float, float]
    """The mean over the seeds of the last cost, by value; infinite if a run diverged."""
    edge: str | None
    """Which end of the grid the value is at, or the one with the least cost: a better one may lie beyond."""


def parse(text: str) -> tuple[str, tuple[float, ...], bool]:
    """Parses SETTING=VALUE,VALUE,… , with `...` as the last value for a grid that grows.

    Returns:
        The setting, its values in rising order, and whether the grid grows.

    Raises:
        SpeeDiffValueError: If the setting is no number, the values are not at least two different ones, or
            a grid cannot grow.
    """
    name, _, listed = text.partition("=")
    name = name.strip().replace("-", "_")
    if name not in SETTINGS:
        raise SpeeDiffValueError(f"--tune must be SETTING=VALUE,VALUE,… such as lr=1e-3,2e-3, got {text!r}")
    items = [each.strip() for each in listed.split(",")]
    grows = items[-1] in AND_ON
    if grows:
        items.pop()
    try:
        values = [int(each) if name in INTEGERS else float(each) for each in items]
    except ValueError:
        raise SpeeDiffValueError(f"--tune must list numbers, got {text!r}") from None
    grid = check_grid("--tune", values)
    if grows and (name not in GROWING or grid[0] <= 0):
        raise SpeeDiffValueError(
            f"--tune must end in a value, unless it has positive values of {', '.join(GROWING)}; got {text!r}"
        )
    return name, grid, grows


def check_grid(argument: str, values: Sequence[float]) -> tuple[float, ...]:
    """The grid in rising order, if it is one."""
    if len(values) < LEAST_VALUES or not all(map(math.isfinite, values)):
        raise SpeeDiffValueError(f"{argument} must have at least two values, got {list(values)}")
    if len(set(values)) < len(values):
        raise SpeeDiffValueError(f"{argument} must have different values, got {list(values)}")
    return tuple(sorted(values))


def grown(grid: Sequence[float], edge: str) -> tuple[float, ...]:
    """A grid with one more value beyond an edge, in the ratio of the two that are there."""
    last, inner = (grid[0], grid[1]) if edge == "lower" else (grid[-1], grid[-2])
    # Twelve digits: 2e-3, 4e-3, 8e-3 go on with 0.016, as a user would write it.
    return tuple(sorted((*grid, float(f"{last * last / inner:.12g}"))))


def variant(setting: str, value: float) -> str:
    """The name of a value's runs."""
    return f"{schedule_flags.flag(setting)[2:]}={value!r}"


def choose(measure: str, last: Mapping[float, Sequence[float | None]], tolerance: float = 0.0) -> Choice:
    """Chooses the value with the lowest mean cost, or the lowest value that is about as good.

    Args:
        measure: The name of the measure.
        last: The last value of the measure of each run, by tuned value; None if the run diverged.
        tolerance: By what share a mean cost may exceed the lowest one.
    """
    costs = {value: _mean_cost(measure, found) for value, found in sorted(last.items())}
    grid = list(costs)
    best = min(grid, key=lambda value: (costs[value], value))
    most = costs[best] + tolerance * abs(costs[best]) if math.isfinite(costs[best]) else math.inf
    chosen = next(value for value in grid if costs[value] <= most)
    ends = {grid[0]: "lower", grid[-1]: "upper"}
    return Choice(chosen, costs, ends.get(chosen) or ends.get(best))


def check_tolerance(value: float) -> float:
    """The value, if it is a share.

    Raises:
        SpeeDiffValueError: If it is not in [0, 1).
    """
    if not 0 <= value < 1:
        raise SpeeDiffValueError(f"--tune-tolerance must be in [0, 1), got {value}")
    return value


def _mean_cost(measure: str, values: Sequence[float | None]) -> float:
    if any(value is None for value in values):
        return math.inf
    return float(np.mean([MEASURES[measure].cost(value) for value in values if value is not None]))
