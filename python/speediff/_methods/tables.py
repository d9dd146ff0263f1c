"""Tables that users give: numbers for the steps of a schedule, or knots of a curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from .._native import buffers
from .._native import c_api as c
from .._support import arguments
from ..errors import SpeeDiffFileError, SpeeDiffTypeError, SpeeDiffValueError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Values = Union[
    Sequence[float], Sequence[tuple[float, float]], Mapping[float, float], "NDArray[np.floating[Any]]"
]
"""T numbers, or knots: pairs, a dict, or an array of shape (T,) or (K, 2)."""

FLAT = ((0.0, 1.0), (1.0, 1.0))
"""A flat curve over u."""

AXES = {"u": c.TABLE_AXIS_U, "log_snr": c.TABLE_AXIS_LOG_SNR}
"""What knots can be given over."""


def checked(values: object, over: object) -> tuple[Any, ...]:
    """The values as a tuple of floats or of pairs of floats. The library checks their ranges.

    Raises:
        SpeeDiffTypeError: If the values are neither numbers nor pairs of numbers.
        SpeeDiffValueError: If `over` is unknown.
    """
    arguments.choice("over", over, AXES)
    if isinstance(values, np.ndarray):
        values = values.tolist()
    items = list(values.items()) if isinstance(values, Mapping) else values
    if not isinstance(items, (list, tuple)):
        raise SpeeDiffTypeError(f"values must be numbers or (knot, value) pairs, got {values!r}")
    if any(isinstance(item, (list, tuple)) for item in items):
        return tuple(_pair(i, item) for i, item in enumerate(items))
    return tuple(arguments.real(f"values[{i}]", item) for i, item in enumerate(items))


def _pair(i: int, item: object) -> tuple[float, float]:
    if not isinstance(item, (list, tuple)) or len(item) != 2:
        raise SpeeDiffTypeError(f"values[{i}] must be a (knot, value) pair like the others, got {item!r}")
    return arguments.real(f"values[{i}][0]", item[0]), arguments.real(f"values[{i}][1]", item[1])


def native(values: Any, over: str) -> tuple[Any, ...]:
    """The arguments of the native functions: axis, knots, values and their number."""
    if values and isinstance(values[0], tuple):
        knots, heights = zip(*values, strict=True)
        return AXES[over], buffers.doubles(list(knots)), buffers.doubles(list(heights)), len(values)
    return c.TABLE_AXIS_STEPS, None, buffers.doubles(list(values)), len(values)


def represent(table: Any) -> str:
    """The table as a call, without most of a long table."""
    values, name = table.values, type(table).__qualname__
    shown = repr(values) if len(values) <= 8 else f"<{len(values)} values>"
    return f"{name}(values={shown}, over={table.over!r})"


def read(path: object) -> tuple[Any, ...]:
    """The numbers of a text file: one per line, or a knot and its value per line.

    Raises:
        SpeeDiffFileError: If the file cannot be read.
        SpeeDiffValueError: If a line is not one or two numbers, as the first one is. The error names it.
    """
    try:
        lines = Path(str(path)).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SpeeDiffFileError(f"file must be a text file of numbers, got {path}: {error}") from None
    rows: list[Any] = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].replace(",", " ").replace(";", " ").split()
        if not words:
            continue
        try:
            row = tuple(float(word) for word in words)
        except ValueError:
            row = ()
        if len(row) not in (1, 2) or (rows and len(row) != len(rows[0])):
            raise SpeeDiffValueError(
                f"file {path} must have a value, or a knot and a value, in every line, got line {number}: "
                f"{line.strip()!r}"
            )
        rows.append(row)
    return tuple(row[0] for row in rows) if rows and len(rows[0]) == 1 else tuple(rows)
