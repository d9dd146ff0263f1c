"""Rows of a grid in which every two values of two parameters meet, instead of all of the grid."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def pairwise(*parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows, each of them the one that adds the most pairs: always the same."""
    grid = list(itertools.product(*(range(len(values)) for values in parameters)))
    pairs = {row: set(itertools.combinations(enumerate(row), 2)) for row in grid}
    missing, rows = set().union(*pairs.values()), []
    while missing:
        row = max(grid, key=lambda row: len(pairs[row] & missing))
        missing -= pairs[row]
        rows.append(tuple(values[i] for values, i in zip(parameters, row, strict=True)))
    return rows
