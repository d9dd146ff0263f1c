"""What images are compared with: features of real images, or only their mean and covariance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._support.random_numbers import permutation
from ...errors import SpeeDiffTypeError, SpeeDiffValueError
from . import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..._data.datasets import Dataset
    from ..._data.raw import Labels
    from .extractor import Extractor
    from .metrics import Array, Statistics

SUBSET = 3
"""The index of the permutation that chooses a part of the reference."""


@dataclass(frozen=True, eq=False)
class Reference:
    """A set of real images, as an extractor sees them."""

    n: int
    """The number of images."""
    features: Array | None = None
    """Their features, (n, d); None if only the statistics are known."""
    data: Dataset | None = None
    """The images; None if only their features are known."""
    known_statistics: Statistics | None = None
    """Mean and covariance, where the features are unknown."""
    shape: tuple[int, ...] | None = None
    """The shape of an image, (c, h, w); None if it is unknown."""

    @staticmethod
    def of_images(data: Dataset, extractor: Extractor, *, limit: int | None, seed: int) -> Reference:
        """Extracts the features of images.

        Args:
            data: The images.
            extractor: What extracts their features.
            limit: Use at most this many, chosen at random. None: all.
            seed: Of that choice.

        Raises:
            SpeeDiffTypeError: If the data are latents.
            SpeeDiffValueError: If there are fewer than two images, or they are not for this extractor.
        """
        check_images(data, "the reference")
        extractor.check(data)
        if limit is not None and limit < len(data):
            data = data.part(np.sort(permutation(seed, SUBSET, len(data))[:limit]))
        features = extractor.features(data.values)
        return Reference(len(data), features, data, shape=data.values.shape[1:])

    @staticmethod
    def of_features(features: Array) -> Reference:
        """A reference of features that another program extracted."""
        return Reference(len(features), features)

    @cached_property
    def statistics(self) -> Statistics:
        """Mean and covariance of the features."""
        if self.known_statistics is not None:
            return self.known_statistics
        assert self.features is not None
        return metrics.statistics(self.features)

    def part(self, rows: Any) -> Reference:
        """Some of the images, by index."""
        assert self.features is not None
        data = None if self.data is None else self.data.part(rows)
        return Reference(len(rows), self.features[rows], data, shape=self.shape)


def check_images(data: Dataset, what: str) -> None:
    """Raises unless the data are at least two images."""
    if not data.is_images:
        raise SpeeDiffTypeError(
            f"{what} must be uint8 images, got {data.values.dtype} latents: decode them to images first"
        )
    if len(data) < metrics.LEAST:
        raise SpeeDiffValueError(f"{what} must have at least {metrics.LEAST} images, got {len(data)}")


def captions_of(labels: Labels | None, class_names: Sequence[str] | None) -> list[str] | None:
    """The class of each image as its caption; None without names."""
    if labels is None or class_names is None:
        return None
    return [class_names[label] for label in labels]
