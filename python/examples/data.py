"""Images, and randomness that is a function of (seed, purpose, index).

Nothing here keeps a state: the images of any step, and its noise, can be computed on their own.
A resumed run therefore sees what an uninterrupted one would have seen, on any number of processes.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from common import CLASS_NAMES, fashion_mnist_files
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

NULL_LABEL = len(CLASS_NAMES)  # stands for "no class given" of Fashion-MNIST


class LabelledImages(Protocol):
    """Images of one size with their classes, in memory or not."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """One for each label."""

    @property
    def labels(self) -> Tensor:
        """All labels, int64 (n,). The number of classes stands for "no class given"."""

    def pixels_at(self, chosen: Tensor) -> Tensor:
        """Some images, uint8 (n, channels, height, width)."""

    def first(self, n: int) -> Images:
        """The first ``n`` of them, in memory."""


@dataclass(frozen=True)
class Images:
    """Labelled images in memory: ``pixels`` uint8 (n, c, h, w) and ``labels`` int64 (n,)."""

    pixels: Tensor
    labels: Tensor
    class_names: tuple[str, ...] = CLASS_NAMES

    def __len__(self) -> int:
        return len(self.labels)

    def pixels_at(self, chosen: Tensor) -> Tensor:
        """Some of the images."""
        return self.pixels[chosen]

    def first(self, n: int) -> Images:
        """The first ``n`` of them."""
        return Images(self.pixels[:n], self.labels[:n], self.class_names)


def _read_idx(path: Path) -> Tensor:
    """An idx file of bytes: two zeros, type 8, number of dimensions, big-endian sizes, data."""
    with gzip.open(path) as file:
        content = file.read()
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an idx file of bytes")
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", count=dimensions, offset=4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    return torch.from_numpy(values.reshape(tuple(shape)).copy())


@lru_cache
def fashion_mnist(folder: Path, part: str) -> Images:
    """The 60,000 images for training (``part`` is ``train``) or the 10,000 for tests (``t10k``)."""
    pixels, labels = (_read_idx(path) for path in fashion_mnist_files(folder, part))
    return Images(pixels[:, None], labels.long())


def to_model_range(pixels: Tensor) -> Tensor:
    """Bytes [0, 255] to float32 [-1, 1]."""
    return pixels.float() / 127.5 - 1


def random_numbers(seed: int, purpose: str, index: int) -> np.random.Generator:
    """A generator that depends on its arguments alone; ``index`` is a step or an epoch."""
    return np.random.default_rng([seed, index, *purpose.encode()])


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return random_numbers(seed, "data order", epoch).permutation(count)


def batch_indices(seed: int, step: int, batch_size: int, count: int) -> NDArray[np.int64]:
    """Which of ``count`` images are the global batch of ``step``, shape (batch_size,).

    The batches follow one another through a new permutation per epoch, and may straddle two:
    every image is seen exactly once per epoch.
    """
    epochs, places = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), count)
    pairs = zip(epochs.tolist(), places.tolist(), strict=True)
    return np.array([_epoch_order(seed, epoch, count)[place] for epoch, place in pairs])


def noise_for(seed: int, step: int, batch_size: int, part: slice, shape: Sequence[int]) -> Tensor:
    """One process's ``part`` of the noise of ``step``: standard normal, of ``shape`` for each image."""
    draws = random_numbers(seed, "training noise", step)
    noise = draws.standard_normal((batch_size, *shape), dtype=np.float32)
    return torch.from_numpy(noise)[part]


def training_batch(
    images: LabelledImages,
    seed: int,
    step: int,
    batch_size: int,
    part: slice,
    label_dropout: float = 0.0,
    noise_shape: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """One process's ``part`` of the global batch of ``step``: images, labels and noise.

    Horizontal flips, dropped labels (the number of classes) and noise are drawn for the global
    batch and then cut, so that a run does not depend on the number of its processes.

    Args:
        images: All of them.
        seed: Of all draws.
        step: From 0.
        batch_size: Of the global batch.
        part: Of this process.
        label_dropout: The probability of dropping a label.
        noise_shape: That of the noise of one image, where it is not the image's own.
    """
    draws = random_numbers(seed, "training batch", step)
    flipped = torch.from_numpy(draws.random(batch_size) < 0.5)[part]
    dropped = torch.from_numpy(draws.random(batch_size) < label_dropout)[part]
    chosen = torch.from_numpy(batch_indices(seed, step, batch_size, len(images.labels))[part])
    x = to_model_range(images.pixels_at(chosen))
    x = torch.where(flipped[:, None, None, None], x.flip(-1), x)
    labels = images.labels[chosen].masked_fill(dropped, len(images.class_names))
    return x, labels, noise_for(seed, step, batch_size, part, noise_shape or x.shape[1:])
