"""Arrays passed to C: checked, never converted silently, and kept alive during the call."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .._support import arguments
from ..errors import SpeeDiffTypeError, SpeeDiffValueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

# Keyed by `dtype.char`, because `dtype.name` is forty times slower. Both long and long long may be int64.
_C_TYPES: dict[str, Any] = {
    "d": ctypes.c_double,
    "f": ctypes.c_float,
    **{char: ctypes.c_int64 for char in "lq" if np.dtype(char) == np.int64},
    **{char: ctypes.c_uint64 for char in "LQ" if np.dtype(char) == np.uint64},
}
# ctypes accepts an array for a declared pointer, and an array of length 0 can view any buffer.
_C_ARRAYS: dict[str, Any] = {char: kind * 0 for char, kind in _C_TYPES.items()}


def input_pointer(array: NDArray[Any]) -> Any:
    """A ctypes pointer to memory that the library reads. The caller keeps the array alive."""
    return _C_TYPES[array.dtype.char].from_address(array.ctypes.data)


def output_pointer(array: NDArray[Any]) -> Any:
    """A ctypes pointer to memory that the library writes. Keeps the array alive; three times as fast."""
    return _C_ARRAYS[array.dtype.char].from_buffer(array)


def doubles(numbers: list[float]) -> Any:
    """A ctypes array of doubles."""
    return (ctypes.c_double * len(numbers))(*numbers)


def check(argument: str, array: object, dtype: type[Scalar]) -> NDArray[Scalar]:
    """Returns the array if it is a contiguous 1-D ndarray of this dtype; otherwise raises."""
    name = np.dtype(dtype).name
    if not isinstance(array, np.ndarray):
        kind = type(array).__name__
        raise SpeeDiffTypeError(f"{argument} must be a NumPy array of dtype {name}, got a {kind}")
    if array.ndim != 1 and array.dtype == dtype:
        raise SpeeDiffTypeError(f"{argument} must have one dimension, got shape {array.shape}")
    _check_layout(argument, array, dtype)
    return array


def _check_layout(argument: str, array: NDArray[Any], dtype: type[np.generic]) -> None:
    """Raises unless the array has this dtype and is C-contiguous."""
    name = np.dtype(dtype).name
    if array.dtype != dtype:
        raise SpeeDiffTypeError(
            f"{argument} must have dtype {name} in this machine's byte order, got {array.dtype.str}; "
            f"convert it with .astype(np.{name})"
        )
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise SpeeDiffTypeError(
            f"{argument} must be contiguous and aligned, got strides {array.strides}; "
            "copy it with np.ascontiguousarray"
        )


def check_shape(
    argument: str, array: object, dtype: type[Scalar], shape: tuple[int | None, ...]
) -> NDArray[Scalar]:
    """Returns the array if it is a contiguous ndarray of this dtype and shape (None: any length)."""
    name = np.dtype(dtype).name
    if not isinstance(array, np.ndarray):
        raise SpeeDiffTypeError(
            f"{argument} must be a NumPy array of dtype {name}, got a {type(array).__name__}"
        )
    _check_layout(argument, array, dtype)
    fits = len(array.shape) == len(shape) and all(
        want is None or want == got for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("n" if length is None else str(length) for length in shape)
        wanted += "," if len(shape) == 1 else ""
        raise SpeeDiffValueError(f"{argument} must have shape ({wanted}), got {array.shape}")
    return array


def check_output(argument: str, array: object, dtype: type[Scalar], count: int) -> NDArray[Scalar]:
    """Returns the array if the library may write `count` values of this dtype into it."""
    result = check_count(argument, array, dtype, count)
    if not result.flags.writeable:
        raise SpeeDiffValueError(f"{argument} must be writable, got a read-only array")
    return result


def check_count(argument: str, array: object, dtype: type[Scalar], count: int) -> NDArray[Scalar]:
    """Returns the array if it has `count` values of this dtype."""
    result = check(argument, array, dtype)
    if len(result) != count:
        raise SpeeDiffValueError(f"{argument} must have {count} entries, got {len(result)}")
    return result


def table_input(argument: str, values: object) -> NDArray[np.float64]:
    """A user's table: a float64 array, not copied, or a sequence of Python numbers."""
    if isinstance(values, (list, tuple)):
        numbers = (arguments.real(f"{argument}[{i}]", value) for i, value in enumerate(values))
        return np.fromiter(numbers, np.float64)
    return check(argument, values, np.float64)


def read_table(fill: Callable[[Any, int], object], count: int) -> NDArray[np.float64]:
    """A read-only array of `count` values written by `fill(pointer, count)`."""
    table = np.empty(count, np.float64)
    fill(output_pointer(table), count)
    table.flags.writeable = False
    return table
