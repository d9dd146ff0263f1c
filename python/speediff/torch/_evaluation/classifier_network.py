"""A small convolutional classifier: its features are what other images are compared in.

    classifier = load("fashion-mnist")                # or the file that `speediff classifier` wrote
    classifier.features(images)                       # uint8 (n, 1, 28, 28) to float32 (n, 64)
    classifier.logits(images).argmax(axis=1)          # the class of each image

Each stage is a 3×3 convolution, 2×2 max pooling except in the last stage, and ReLU. The features are the
means over the last stage's pixels. A linear layer maps them to logits. Batch normalization, which training
uses, is part of the convolutions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from ...errors import SpeeDiffTypeError, SpeeDiffValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Bytes = np.ndarray[Any, np.dtype[np.uint8]]
    Floats = np.ndarray[Any, np.dtype[np.float32]]

BATCH = 64
"""Images that go through the network at once. Fixed: another number changes the last digits."""
LEAST_SIZE = 4
"""The smallest images, in pixels."""
LAST_SIZE = 8
"""The largest size of the last stage's maps. Larger images get more stages."""
MOST_STAGES = 16
"""Stages of a classifier that can be read."""
HEAD = ("head.weight", "head.bias")
"""The tensors of the linear layer."""


@dataclass(frozen=True)
class Facts:
    """What a classifier is of, and how it was made."""

    data: str
    """The training data, as the user named them."""
    classes: tuple[str, ...]
    """Their classes, by label."""
    channels: int
    """Of an image: 1 or 3."""
    size: int
    """Of an image, in pixels."""
    mean: tuple[float, ...]
    """Mean of each channel's bytes. Images are normalized with it."""
    std: tuple[float, ...]
    """Standard deviation of each channel's bytes."""
    widths: tuple[int, ...]
    """Channels of each stage. The last is the dimension of the features."""
    accuracy: float
    """The share of test images whose class it finds."""
    test_images: int
    """Their number."""
    seed: int
    """Of the training."""
    command: str
    """The command that made it."""

    @staticmethod
    def parse(fields: Mapping[str, Any]) -> Facts:
        """The facts in a file's JSON, not checked.

        Raises:
            Exception: If there are too few fields, or of other types.
        """
        return Facts(
            data=str(fields["data"]),
            classes=tuple(map(str, fields["classes"])),
            channels=int(fields["channels"]),
            size=int(fields["size"]),
            mean=tuple(map(float, fields["mean"])),
            std=tuple(map(float, fields["std"])),
            widths=tuple(map(int, fields["widths"])),
            accuracy=float(fields["accuracy"]),
            test_images=int(fields["test_images"]),
            seed=int(fields["seed"]),
            command=str(fields["command"]),
        )

    def fault(self) -> str | None:
        """What is wrong with the numbers that the network is made of; None if nothing."""
        if self.channels not in (1, 3):
            return f"channels must be 1 or 3, got {self.channels}"
        if not 0 < len(self.widths) <= MOST_STAGES or min(self.widths) < 1:
            return f"widths must be 1 to {MOST_STAGES} positive numbers, got {self.widths}"
        if self.size >> (len(self.widths) - 1) < 1:
            return f"size must be enough for {len(self.widths)} stages, got {self.size}"
        if len(self.classes) < 2:
            return f"classes must be two or more, got {len(self.classes)}"
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels or not all(map(math.isfinite, values)):
                return f"{name} must have a finite number per channel, got {values}"
        if min(self.std) <= 0:
            return f"std must be positive, got {self.std}"
        return None


class Layer(NamedTuple):
    """A convolution or the linear layer."""

    weight: torch.Tensor
    bias: torch.Tensor


class Classifier:
    """A trained classifier. Its weights do not change."""

    def __init__(self, facts: Facts, tensors: Mapping[str, torch.Tensor]) -> None:
        """Takes the weights.

        Args:
            facts: What it is of.
            tensors: The tensors of `tensor_shapes`, of any floating-point type.
        """
        self.facts = facts
        names = [names_of_stage(i) for i in range(len(facts.widths))]
        self._stages = [_layer(tensors, pair) for pair in names]
        self._head = _layer(tensors, HEAD)
        shape = (1, facts.channels, 1, 1)
        self._mean, self._std = (torch.tensor(values).reshape(shape) for values in (facts.mean, facts.std))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by label; numbers where the data had no names."""
        return self.facts.classes

    @property
    def dimension(self) -> int:
        """The length of a feature."""
        return self.facts.widths[-1]

    @property
    def label(self) -> str:
        """The classifier in words, for reports."""
        facts = self.facts
        found = f"{facts.accuracy:.1%} of {facts.test_images} test images classified correctly"
        return f"classifier of {facts.data}, {self.dimension} features, {found}"

    def features(self, images: Bytes) -> Floats:
        """The input of the last layer.

        Args:
            images: uint8 (n, channels, size, size).

        Returns:
            float32 (n, dimension), none negative.

        Raises:
            SpeeDiffTypeError: If the images are not a uint8 array.
            SpeeDiffValueError: If they have another number of channels or another size.
        """
        return self._mapped(images, self._features, self.dimension)

    def logits(self, images: Bytes) -> Floats:
        """The output of the last layer, float32 (n, classes). Arguments and errors as for `features`."""
        return self._mapped(
            images, lambda x: functional.linear(self._features(x), *self._head), len(self.classes)
        )

    def check(self, images: object) -> None:
        """Raises as `features` does. Takes no time."""
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            got = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
            raise SpeeDiffTypeError(f"images must be a uint8 array, got {got}")
        shape = (self.facts.channels, self.facts.size, self.facts.size)
        if images.ndim != 4 or images.shape[1:] != shape:
            raise SpeeDiffValueError(
                f"images must have the shape (n, {', '.join(map(str, shape))}) for the classifier of "
                f"{self.facts.data}, got {images.shape}; `speediff classifier DATA` trains one of other data"
            )

    def _mapped(self, images: Bytes, forward: Callable[[torch.Tensor], torch.Tensor], columns: int) -> Floats:
        self.check(images)
        result: Floats = np.empty((len(images), columns), np.float32)
        with torch.inference_mode():
            for begin in range(0, len(images), BATCH):
                part = np.ascontiguousarray(images[begin : begin + BATCH])
                x = (torch.from_numpy(part).float() - self._mean) / self._std
                result[begin : begin + BATCH] = forward(_placed(x)).numpy()
        return result

    def _features(self, x: torch.Tensor) -> torch.Tensor:
        for i, stage in enumerate(self._stages):
            x = functional.conv2d(x, *stage, padding=1)
            if i < len(self._stages) - 1:
                x = functional.max_pool2d(x, 2)
            x = functional.relu(x)
        return x.mean(dim=(2, 3))


def _layer(tensors: Mapping[str, torch.Tensor], names: tuple[str, str]) -> Layer:
    """A layer in float32, its strides always the same: the last digits of a convolution depend on them."""
    return Layer(*(_placed(tensors[name].float()) for name in names))


def _placed(tensor: torch.Tensor) -> torch.Tensor:
    """A copy with the channels of a pixel side by side: a convolution is three times as fast on a CPU."""
    is_map = tensor.ndim == 4
    return tensor.clone(memory_format=torch.channels_last if is_map else torch.contiguous_format)


def widths(size: int) -> tuple[int, ...]:
    """The channels of each stage for images of a size: three stages up to 32 pixels, 57,000 weights."""
    stages = 3
    while size >> (stages - 1) > LAST_SIZE:
        stages += 1
    return (32, *[64] * (stages - 1))


def names_of_stage(i: int) -> tuple[str, str]:
    """The names of a stage's tensors."""
    return f"stages.{i}.weight", f"stages.{i}.bias"


def tensor_shapes(channels: int, widths: Sequence[int], classes: int) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor by its name, from the image to the logits."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (width, before) in enumerate(zip(widths, (channels, *widths), strict=False)):
        weight, bias = names_of_stage(i)
        shapes |= {weight: (width, before, 3, 3), bias: (width,)}
    weight, bias = HEAD
    return {**shapes, weight: (classes, widths[-1]), bias: (classes,)}
