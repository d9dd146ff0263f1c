"""CIFAR-10's original files: the Python version (pickles) and the binary version."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support.reading import reading
from ..errors import SpeeDiffValueError
from .raw import Raw

if TYPE_CHECKING:
    from pathlib import Path

    from .raw import Labels, Values

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NAMES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
FOLDERS = ("", "cifar-10-batches-py", "cifar-10-batches-bin")
PIXELS = 3 * 32 * 32


def is_present(folder: Path, part: str) -> bool:
    """Whether the folder, or the archive's subfolder in it, holds a part, `train` or `test`."""
    return bool(_paths(folder, part))


def read(folder: Path, part: str) -> Raw:
    """Reads the images of a part, (n, 3, 32, 32), and their labels."""
    paths = _paths(folder, part)
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise SpeeDiffValueError(f"{missing[0].parent} must hold {missing[0].name}, which is missing")
    parts = [_read_binary(path) if path.suffix == ".bin" else _read_pickle(path) for path in paths]
    values, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Raw(values.reshape(-1, 3, 32, 32), labels, CLASSES)


def _paths(folder: Path, part: str) -> list[Path]:
    """The files of a part, in order, of the version with the most files present; empty without any."""
    versions = [
        [folder / name / f"{file}{ending}" for file in NAMES[part]]
        for name in FOLDERS
        for ending in ("", ".bin")
    ]
    paths = max(versions, key=_present)
    return paths if _present(paths) else []


def _present(paths: list[Path]) -> int:
    return sum(path.is_file() for path in paths)


def _read_binary(path: Path) -> tuple[Values, Labels]:
    """Records of a label and 3072 pixels."""
    with reading(path, "one of CIFAR-10's batches"):
        content = np.frombuffer(path.read_bytes(), np.uint8)
    if len(content) == 0 or len(content) % (1 + PIXELS):
        raise SpeeDiffValueError(f"{path} must hold records of {1 + PIXELS} bytes, got {len(content)} bytes")
    records = content.reshape(-1, 1 + PIXELS)
    return records[:, 1:], records[:, 0].astype(np.int64)


class _Stub:
    """A placeholder for an object in the pickle. It stores the arguments and runs nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _ArrayUnpickler(pickle._Unpickler):
    """Reads plain containers, and arrays as stubs; rejects any other object.

    Based on the pure-Python unpickler: the C version allocates memory for any index in a damaged pickle.
    """

    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        """A stub for the names that array pickles use."""
        if (module, name) in self.ALLOWED:
            return _Stub
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _read_pickle(path: Path) -> tuple[Values, Labels]:
    """A dict of `data`, uint8 (n, 3072), and `labels`, a list."""
    with reading(path, "one of CIFAR-10's batches"):
        batch = _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        values = _pixels(batch[b"data"])
        labels = np.array(batch[b"labels"], dtype=np.int64)
    if labels.shape != (len(values),):
        raise SpeeDiffValueError(f"{path} must have a label for each image, got {labels.shape}")
    return values, labels


def _pixels(stub: _Stub) -> Values:
    """The array from a stub's state: version, shape, dtype, order, bytes."""
    _, shape, dtype, is_fortran, content = stub.state
    if dtype.arguments[0] not in (b"u1", "u1") or is_fortran or shape[1:] != (PIXELS,):
        raise ValueError(f"data must be uint8 (n, {PIXELS}) in C order")
    values: Values = np.frombuffer(content, np.uint8).reshape(shape)
    return values
