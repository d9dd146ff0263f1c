"""The result of a data-set reader: the data, and notes about them."""

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
    """Data as read, not yet checked."""

    values: Values
    """(n, c, h, w)."""
    labels: Labels | None = None
    names: tuple[str, ...] | None = None
    """Names of the classes."""
    counted: str = ""
    """The count in words, such as pictures of files; "": the number of entries."""
    notes: tuple[str, ...] = ()
    """What was left out or changed, one line each."""
