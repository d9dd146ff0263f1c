"""Checks of what users pass, for what ctypes would convert in silence."""

from __future__ import annotations

import numbers
import operator

from .errors import SpeeDiffTypeError, SpeeDiffValueError


def integer(argument: str, value: object, *, bits: int = 64, signed: bool = True) -> int:
    """The value as an int that the C type holds; ctypes would cut it to size without a word."""
    try:
        if isinstance(value, bool):
            raise TypeError
        result = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise SpeeDiffTypeError(f"{argument} must be an integer, got {value!r}") from None
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if not low <= result <= high:
        raise SpeeDiffValueError(f"{argument} must be in [{low}, {high}], got {result}")
    return result


def real(argument: str, value: object) -> float:
    """The value as a float. Its range is the library's to check."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise SpeeDiffTypeError(f"{argument} must be a real number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise SpeeDiffValueError(f"{argument} must be finite, got {value!r}") from None


def flag(argument: str, value: object) -> bool:
    """The value, if it is a bool."""
    if not isinstance(value, bool):
        raise SpeeDiffTypeError(f"{argument} must be True or False, got {value!r}")
    return value
