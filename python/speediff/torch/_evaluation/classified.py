"""The features of a classifier of the data at hand: the input of its last layer."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .extractor import BATCH, Extractor, in_parts

if TYPE_CHECKING:
    from ..._data.datasets import Dataset
    from .extractor import Bytes, Floats

FASHION_MNIST = "fashion-mnist"
PART = 32 * BATCH
"""Images between two moves of the bar: many of the classifier's own batches."""


class Classifier(Extractor):
    """A classifier's features, logits and classes."""

    name = "classifier"
    resize = "none"
    has_logits = True

    def __init__(self, network: Any) -> None:
        """Takes what `classifier.load` returns."""
        self._network = network
        self.label = network.label
        self.dimension = network.dimension
        self.classes = tuple(network.classes)

    def check(self, data: Dataset) -> None:
        """Raises if the images have another size or number of channels than the classifier's."""
        self._network.check(data.values[:1])

    def features(self, images: Bytes) -> Floats:
        """The input of the last layer."""
        return in_parts(self._network.features, images, "classifier features", PART)

    def logits(self, images: Bytes) -> Floats:
        """The output of the last layer."""
        return in_parts(self._network.logits, images, "classifier logits", PART)


def load(path: str | None) -> Classifier:
    """The classifier in a file; None: that of Fashion-MNIST, which the package has."""
    module: Any = importlib.import_module(".classifier", __package__)
    return Classifier(module.load(FASHION_MNIST if path is None else path))
