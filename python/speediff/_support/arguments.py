"""Argument checks, for values that ctypes would convert silently."""

from __future__ import annotations

import numbers
import operator
from typing import TYPE_CHECKING

from ..errors import SpeeDiffTypeError, SpeeDiffValueError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Collection

LAST = (1 << 63) - 1
"""The largest int64_t."""

_INT64 = range(-(1 << 63), 1 << 63)


def integer(argument: str, value: object, *, least: int = _INT64.start, end: int = _INT64.stop) -> int:
    """The value as an int in [least, end); the default is the range of int64_t.

    ctypes would silently truncate a value that the C type cannot hold.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        result = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise SpeeDiffTypeError(f"{argument} must be an integer, got {value!r}") from None
    if least <= result < end:
        return result
    rule = f"at least {least}" if result < least else f"below {end}"
    raise SpeeDiffValueError(f"{argument} must be {rule}, got {result}")


def real(argument: str, value: object) -> float:
    """The value as a float. The library checks its range."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise SpeeDiffTypeError(f"{argument} must be a real number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise SpeeDiffValueError(f"{argument} must be finite, got {value!r}") from None


def positive_or_none(argument: str, value: object) -> float:
    """The positive number as a float; None becomes 0, which means none to the library."""
    if value is None:
        return 0.0
    number = real(argument, value)
    if not number > 0:
        raise SpeeDiffValueError(f"{argument} must be positive or None, got {value!r}")
    return number


def flag(argument: str, value: object) -> bool:
    """The value, if it is a bool."""
    if not isinstance(value, bool):
        raise SpeeDiffTypeError(f"{argument} must be True or False, got {value!r}")
    return value


def choice(argument: str, value: object, known: Collection[str]) -> str:
    """The value, if it is one of the known names."""
    if not isinstance(value, str):
        raise SpeeDiffTypeError(f"{argument} must be a name, got {value!r}")
    if value not in known:
        raise unknown_name(argument, value, known)
    return value
