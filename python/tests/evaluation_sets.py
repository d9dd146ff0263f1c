"""Fixed sets of images and features, and an extractor whose features are a known formula.

Importing this skips a module of tests where the packages of `speediff[evaluate]` are missing.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from speediff._data.datasets import Dataset

torch = pytest.importorskip("torch")
# Importing it takes the stand-in of torchvision.
if importlib.util.find_spec("torch_fidelity") is None:
    pytest.skip("needs torch-fidelity", allow_module_level=True)
Extractor: Any = pytest.importorskip("speediff.torch._evaluation.extractor").Extractor

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]


def images(n: int, seed: int, *, channels: int = 1, size: int = 8, brightness: int = 256) -> Array:
    """uint8 (n, channels, size, size)."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, brightness, (n, channels, size, size), np.uint8)


def dataset(n: int, seed: int, **options: Any) -> Dataset:
    """Images of three classes."""
    labels = np.random.default_rng(seed).integers(0, 3, n)
    return Dataset(images(n, seed, **options), labels, 3, ("ant", "bee", "cow"))


class Projection(Extractor):
    """A fixed random projection of the pixels, and its first three numbers as logits."""

    name = "projection"
    label = "a random projection"
    resize = "none"
    has_logits = True
    classes = ("ant", "bee", "cow")

    def __init__(self, dimension: int = 6) -> None:
        self.dimension = dimension
        self.calls: list[int] = []

    def features(self, images: Array) -> Array:
        self.calls.append(len(images))
        pixels = images.reshape(len(images), -1).astype(np.float32) / 255
        matrix = np.random.default_rng(7).standard_normal((pixels.shape[1], self.dimension))
        return pixels @ matrix.astype(np.float32)

    def logits(self, images: Array) -> Array:
        return self.features(images)[:, :3]
