"""idx files of MNIST and its relatives, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support.reading import check_memory, read_up_to, reading
from ..errors import SpeeDiffValueError
from .raw import Raw

if TYPE_CHECKING:
    from pathlib import Path

PREFIXES = {"train": "train", "test": "t10k"}
DEFLATE_RATIO = 1032
"""The largest compression ratio of gzip."""
FILES = ("images-idx3-ubyte", "labels-idx1-ubyte")


def is_present(folder: Path, part: str) -> bool:
    """Whether the folder holds a file of a part, `train` or `test`."""
    return any(_path(folder, part, name) is not None for name in FILES)


def read(folder: Path, part: str) -> Raw:
    """Reads the images of a part, (n, 1, h, w), and their labels."""
    images, labels = (_path(folder, part, name) for name in FILES)
    if images is None or labels is None:
        name = f"{PREFIXES[part]}-{'labels-idx1-ubyte' if images else 'images-idx3-ubyte'}"
        raise SpeeDiffValueError(f"{folder} must hold {name} or {name}.gz")
    return Raw(_read(images, 3)[:, None], _read(labels, 1))


def _path(folder: Path, part: str, name: str) -> Path | None:
    names = (f"{PREFIXES[part]}-{name}{ending}" for ending in ("", ".gz"))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read(path: Path, dimensions: int) -> np.ndarray[Any, Any]:
    """Reads an idx file of bytes: two zeros, type 8, number of dimensions, big-endian sizes, data."""
    magic, is_zipped = bytes([0, 0, 8, dimensions]), path.suffix == ".gz"
    what = "a whole gzip file" if is_zipped else "an idx file"
    with reading(path, what), gzip.open(path) if is_zipped else path.open("rb") as file:
        header = file.read(4 + 4 * dimensions)
        if header[:4] != magic or len(header) < 4 + 4 * dimensions:
            raise SpeeDiffValueError(
                f"{path} must be an idx file that begins with 0x{magic.hex()}, got 0x{header[:4].hex()}"
            )
        shape = struct.unpack(f">{dimensions}I", header[4:])
        most = path.stat().st_size * (DEFLATE_RATIO if is_zipped else 1)
        check_memory(path, min(math.prod(shape), most))
        content = read_up_to(file, math.prod(shape) + 1)
    if len(content) != math.prod(shape):
        size = "×".join(map(str, shape))
        least = "more" if len(content) > math.prod(shape) else str(len(content))
        raise SpeeDiffValueError(f"{path} must hold {size} bytes after its header, got {least}")
    return np.frombuffer(content, np.uint8).reshape(shape)
