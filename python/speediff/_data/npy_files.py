"""Reads one array that numpy.save wrote.

np.load would map the file. If another program truncates a mapped file, the process dies of SIGBUS. np.load
also reads a negative size as "everything" and ignores bytes after the array.
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
"""By format version. Only structured arrays need version 3."""


def load(path: object) -> np.ndarray[Any, Any]:
    """Reads the array in a .npy file, of any dtype except objects and records.

    Raises:
        SpeeDiffValueError: If the file does not hold exactly one such array.
        SpeeDiffMemoryError: If the array is larger than the machine's memory.
        OSError: If the file cannot be read.
    """
    check_regular(path)
    with reading(path, WHOLE), open(str(path), "rb") as file:
        return parse(path, file, os.fstat(file.fileno()).st_size)


def parse(path: object, file: Any, length: int) -> np.ndarray[Any, Any]:
    """Parses an open file that holds exactly one array. Call it within `reading`.

    Args:
        path: The file's name for errors.
        file: Any object with `read`.
        length: An upper bound of its length in bytes.
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
    if file.read(1):  # Reading to the end also makes an archive verify its checksum.
        raise SpeeDiffValueError(f"{path} must hold one array, got more bytes after its {size}")
    array: np.ndarray[Any, Any] = np.ndarray(shape, dtype, content, order="F" if is_fortran else "C")
    return array


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"its format has the version {version[0]}.{version[1]}")
    try:
        shape, is_fortran, dtype = HEADERS[version](file)
    except (MemoryError, RecursionError):  # From Python's parser.
        raise ValueError("its header is nested too deeply") from None
    return shape, is_fortran, dtype
