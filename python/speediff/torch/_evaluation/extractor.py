"""What a feature extractor is: a network without its last layer, and how images reach it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..._support import progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._data.datasets import Dataset

    Bytes = np.ndarray[Any, np.dtype[np.uint8]]
    Floats = np.ndarray[Any, np.dtype[np.float32]]

BATCH = 64
"""Images that go through a network at once. Fixed: another number changes the last digits."""


class Extractor(ABC):
    """Turns images into features, row by row."""

    name: str
    """What stands in the name of a distance, such as EffNet-Lite0."""
    resize: str
    """How images are brought to the network's size, in words."""
    dimension: int
    """The length of a feature."""
    has_logits = False
    """Whether `logits` works."""
    classes: tuple[str, ...] | None = None
    """The classes of the logits, if they are those of the data, by label."""
    label: str
    """The network and its weights, in words."""

    @property
    def distance_name(self) -> str:
        """The name of the Fréchet distance in these features."""
        return f"FD ({self.name})"

    def check(self, data: Dataset) -> None:  # noqa: B027
        """Raises SpeeDiffValueError if images like these are not for this network. Takes no time."""

    def knows_classes(self, data: Dataset | None) -> bool:
        """Whether logit i is that of label i of these data, as far as their names and number tell."""
        if self.classes is None or data is None or data.num_classes is None:
            return self.classes is not None
        names = self.classes if data.class_names is None else data.class_names
        return data.num_classes == len(self.classes) and names == self.classes

    @abstractmethod
    def features(self, images: Bytes) -> Floats:
        """The features of images.

        Args:
            images: uint8 (n, c, h, w) with c = 1 or 3.

        Returns:
            float32 (n, dimension).
        """

    def logits(self, images: Bytes) -> Floats:
        """Unnormalized log-probabilities of classes, float32 (n, classes), if `has_logits`."""
        raise NotImplementedError

    def both(self, images: Bytes) -> tuple[Floats, Floats]:
        """Features and logits; an extractor that has both in one pass takes one pass."""
        return self.features(images), self.logits(images)


def in_batches(forward: Any, images: Bytes, label: str, size: int = BATCH) -> Floats:
    """Applies a function of a uint8 tensor (n, c, h, w) in batches of `size`; returns float32 rows."""

    def rows(part: Bytes) -> Floats:
        found: Floats = forward(torch.from_numpy(np.ascontiguousarray(part))).to(torch.float32).numpy()
        return found

    with torch.inference_mode():
        return in_parts(rows, images, label, size)


def in_parts(rows: Callable[[Bytes], Floats], images: Bytes, label: str, size: int) -> Floats:
    """Applies a function of images to `size` at a time, with a bar; joins the rows that it returns."""
    parts = []
    with progress.bar(label=label, total=len(images), unit="image", delay=1) as bar:
        for begin in range(0, len(images), size):
            parts.append(rows(images[begin : begin + size]))
            bar.update(len(parts[-1]))
    return np.concatenate(parts)


def in_color(images: torch.Tensor) -> torch.Tensor:
    """Images (n, 3, h, w): gray ones in three equal channels."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
