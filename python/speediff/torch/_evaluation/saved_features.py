"""Features that another program extracted, one row per image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..._data import npy_files
from ...errors import SpeeDiffTypeError, SpeeDiffValueError
from .extractor import Extractor

if TYPE_CHECKING:
    from .extractor import Bytes
    from .metrics import Array


class SavedFeatures(Extractor):
    """The features of the images to evaluate, in their order."""

    name = "features"
    resize = "unknown"

    def __init__(self, path: str) -> None:
        """Reads the file, as in `read`."""
        self._path = path
        self._features = read(path)
        self.dimension = self._features.shape[1]
        self.label = f"rows of {path}"

    def features(self, images: Bytes) -> Array:
        """All rows, if there are as many as images."""
        self.check_count(len(images))
        return self._features

    def check_count(self, n: int) -> None:
        """Raises unless there are as many rows as images."""
        if n != len(self._features):
            raise SpeeDiffValueError(
                f"{self._path} must have a row for each of {n} images, got {len(self._features)}"
            )


def read(path: str) -> Array:
    """Reads features, float32 or float64 (n, d).

    Raises:
        SpeeDiffError: If the file holds something else.
        OSError: If it cannot be read.
    """
    features = npy_files.load(path)
    if features.dtype not in (np.float32, np.float64):
        raise SpeeDiffTypeError(f"{path} must hold float32 or float64 features, got {features.dtype}")
    if features.ndim != 2 or 0 in features.shape:
        raise SpeeDiffValueError(f"{path} must hold features of shape (n, d), got {features.shape}")
    return np.ascontiguousarray(features)


def load(path: str | None) -> SavedFeatures:
    """The features in a .npy file."""
    if path is None:
        raise SpeeDiffValueError("--features must be features=FILE.npy, got features")
    return SavedFeatures(path)
