"""One array as numpy.save writes it.

np.load would map the file, and a mapped file that another program shortens ends the process. It would also
take a negative size for "all there is", and ignore what follows the array.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from .._support.reading import check_memory, check_regular, read_up_to, reading
from ..errors import SpeeDiffValueError

WHOLE = "a whole file that numpy.save wrote"
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""By version of the format. Only structured arrays need the third one."""


def load(path: object) -> np.ndarray[Any, Any]:
    """The array in a .npy file, of any dtype but objects and records.

    Raises:
        SpeeDiffValueError: If the file holds anything else, or less or more than one array.
        SpeeDiffMemoryError: If the array is larger than the machine's memory.
        OSError: If the file cannot be read.
    """
    check_regular(path)
    with reading(path, WHOLE), open(str(path), "rb") as file:
        return parse(path, file, os.fstat(file.fileno()).st_size)


def parse(path: object, file: Any, length: int) -> np.ndarray[Any, Any]:
    """The array that an open file holds, of which it is all. Stands within `reading`.

    Args:
        path: What to call the file in an error.
        file: Anything that has `read`.
        length: How many bytes it has, at most.
    """
    shape, is_fortran, dtype = _header(file)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded: nothing is unpickled")
    if dtype.kind == "V":
        raise ValueError(f"it holds records, {dtype}")
    if any(size < 0 for size in shape):
        raise ValueError(f"its shape is {shape}")
    size = math.prod(shape) * dtype.itemsize
    check_memory(path, min(size, length))
    content = read_up_to(file, size)
    if len(content) != size:
        raise ValueError(f"its header promises {size} bytes, got {len(content)}")
    if file.read(1):  # At its end an archive checks its sum, too.
        raise SpeeDiffValueError(f"{path} must hold one array, got more bytes after its {size}")
    array: np.ndarray[Any, Any] = np.ndarray(shape, dtype, content, order="F" if is_fortran else "C")
    return array


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"its format has the version {version[0]}.{version[1]}")
    try:
        shape, is_fortran, dtype = HEADERS[version](file)
    except (MemoryError, RecursionError):  # Of Python's parser.
        raise ValueError("its header is nested too deeply") from None
    return shape, is_fortran, dtype
