"""A shift and an offset of the noise level for each entry of a batch."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .._native import buffers
from ..errors import SpeeDiffTypeError, SpeeDiffValueError

if TYPE_CHECKING:
    from .._native.native_sampler import Table

Values: TypeAlias = Any
"""A number, or n numbers: a sequence, an array or a tensor; None: none."""

Place: TypeAlias = tuple[int, int, int]
"""A training step, the first entry in its global batch, and that batch's size."""


class Moves(NamedTuple):
    """λ' = λ - 2·ln(shift) - 2·offset, entry by entry; None: nothing."""

    shift: Table | None
    offset: Table | None

    @property
    def argument(self) -> str:
        """The name of the argument that was given, for errors."""
        return "offset" if self.shift is None else "shift"


def is_slice(offset: object, total: object) -> bool:
    """Whether an `offset` of `sample` is a place in the global batch, not an offset of noise.

    It is if it is an integer, or belongs to a `total`.
    """
    return offset is None or total is not None or isinstance(offset, numbers.Integral)


def read(shift: Values, offset: Values, n: int) -> Moves:
    """The values as float64 arrays of n entries. The library checks their ranges.

    Raises:
        SpeeDiffTypeError: If a value is neither a number nor an array of real numbers.
        SpeeDiffValueError: If there is another number of values.
    """
    return Moves(_values("shift", shift, n), _values("offset", offset, n))


def _values(argument: str, values: Values, n: int) -> Table | None:
    if values is None:
        return None
    if isinstance(values, np.ndarray) and values.ndim > 0:
        if values.dtype.kind not in "fiu":
            raise SpeeDiffTypeError(f"{argument} must hold real numbers, got dtype {values.dtype}")
        if values.ndim != 1:
            raise SpeeDiffValueError(f"{argument} must have shape ({n},), got {values.shape}")
        array = np.ascontiguousarray(values, np.float64)
    elif isinstance(values, (list, tuple)):
        array = buffers.table_input(argument, values)
    else:
        return np.full(n, _number(argument, values))
    if len(array) != n:
        raise SpeeDiffValueError(f"{argument} must have {n} values, one for each entry, got {len(array)}")
    return array


def _number(argument: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise SpeeDiffTypeError(
            f"{argument} must be a real number or an array of them, got a {type(value).__name__}"
        )
    return float(value)
