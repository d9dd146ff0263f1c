"""Files of MNIST and its relatives: idx, as they are or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import SpeeDiffValueError

if TYPE_CHECKING:
    from pathlib import Path

    from ._dataset_arrays import Raw

PREFIXES = {"train": "train", "test": "t10k"}
PIECE = 1 << 20


def is_present(folder: Path, part: str) -> bool:
    """Whether the folder holds images of this part, `train` or `test`."""
    return _path(folder, part, "images-idx3-ubyte") is not None


def read(folder: Path, part: str) -> Raw:
    """The images of a part, (n, 1, h, w), and their labels."""
    images, labels = (_path(folder, part, name) for name in ("images-idx3-ubyte", "labels-idx1-ubyte"))
    if images is None or labels is None:
        name = f"{PREFIXES[part]}-{'labels-idx1-ubyte' if images else 'images-idx3-ubyte'}"
        raise SpeeDiffValueError(f"{folder} must hold {name} or {name}.gz")
    return _read(images, 3)[:, None], _read(labels, 1), None


def _path(folder: Path, part: str, name: str) -> Path | None:
    names = (f"{PREFIXES[part]}-{name}{ending}" for ending in ("", ".gz"))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read(path: Path, dimensions: int) -> np.ndarray[Any, Any]:
    """An idx file of bytes: two zeros, type 8, number of dimensions, big-endian sizes, data."""
    magic = bytes([0, 0, 8, dimensions])
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * dimensions)
            if header[:4] != magic or len(header) < 4 + 4 * dimensions:
                raise SpeeDiffValueError(
                    f"{path} must be an idx file that begins with 0x{magic.hex()}, got 0x{header[:4].hex()}"
                )
            shape = struct.unpack(f">{dimensions}I", header[4:])
            content = _read_up_to(file, math.prod(shape) + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SpeeDiffValueError(f"{path} must be a whole gzip file: {error}") from None
    if len(content) != math.prod(shape):
        size = "×".join(map(str, shape))
        least = "more" if len(content) > math.prod(shape) else str(len(content))
        raise SpeeDiffValueError(f"{path} must hold {size} bytes after its header, got {least}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_up_to(file: Any, count: int) -> bytearray:
    """Reads in pieces: a damaged header may promise more than there is memory."""
    content = bytearray()
    while piece := file.read(min(PIECE, count - len(content))):
        content += piece
    return content
