"""What the readers of data sets give: the data, and what there is to say about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Values = np.ndarray[Any, Any]
    Labels = np.ndarray[Any, np.dtype[np.int64]]


def counted(count: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{count} {one if count == 1 else many}"


class Raw(NamedTuple):
    """Data as they were read, not yet checked."""

    values: Values
    """(n, c, h, w)."""
    labels: Labels | None = None
    names: tuple[str, ...] | None = None
    """Of the classes."""
    counted: str = ""
    """How many there are of how much, in words; "": a number says it."""
    notes: tuple[str, ...] = ()
    """What was left out or changed, a line each."""
