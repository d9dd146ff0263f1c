"""Trains a small classifier of labelled images. The same seed, threads and PyTorch give the same weights."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..._support import arguments, progress
from ...errors import SpeeDiffNonFiniteError, SpeeDiffTypeError, SpeeDiffValueError
from .classifier import rounded
from .classifier_network import HEAD, LEAST_SIZE, Classifier, Facts, names_of_stage, widths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..._data.datasets import Dataset

STEPS, LEAST_STEPS = 2340, 10
"""Five epochs of Fashion-MNIST, about two minutes on two cores."""
SEEDS = 1 << 63
"""The number of seeds."""
BATCH = 128
RATE, WEIGHT_DECAY = 1e-2, 0.02
"""AdamW's. The rate rises over the first fifth of the steps, then falls to zero."""
RISING = 0.2


class Trained(NamedTuple):
    """A classifier, and the tensors of its file."""

    classifier: Classifier
    tensors: dict[str, torch.Tensor]


def train(
    data: Dataset,
    test: Dataset,
    *,
    name: str,
    seed: int = 0,
    steps: int = STEPS,
    flip: bool = False,
    threads: int | None = None,
    command: str = "",
) -> Trained:
    """Trains a classifier.

    Args:
        data: Labelled images.
        test: Other images like them, for the accuracy.
        name: The data in words.
        seed: Of the first weights and of the order of the images.
        steps: Batches of `BATCH` images.
        flip: Mirror half of the batches left to right.
        threads: Of PyTorch, while this trains. None: its own choice.
        command: What made the classifier, for its file.

    Raises:
        SpeeDiffError: If the data are not labelled images of at least two classes.
        SpeeDiffNonFiniteError: If the loss diverges.
    """
    check(data, name)
    seed = arguments.integer("seed", seed, least=0, end=SEEDS)
    steps = arguments.integer("steps", steps, least=LEAST_STEPS)
    channels, size = data.values.shape[1:3]
    classes = data.num_classes or 0
    mean, std = _normalization(data)
    facts = Facts(
        data=name,
        classes=data.class_names or tuple(map(str, range(classes))),
        channels=channels,
        size=size,
        mean=mean,
        std=std,
        widths=widths(size),
        accuracy=0.0,
        test_images=len(test),
        seed=seed,
        command=command,
    )
    with _threads(threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Network(facts)
        _fit(network, data, steps, flip)
        tensors = rounded(network.folded())
        classifier = Classifier(facts, tensors)
        right = classifier.logits(test.values).argmax(axis=1) == test.labels
    facts = dataclasses.replace(facts, accuracy=float(right.mean()))
    return Trained(Classifier(facts, tensors), tensors)


def check(data: Dataset, name: str) -> None:
    """Raises unless a classifier of the data can be trained. Takes no time."""
    if not data.is_images:
        raise SpeeDiffTypeError(f"{name} must be uint8 images, got {data.values.dtype} latents")
    if data.labels is None:
        raise SpeeDiffValueError(f"{name} must have labels: a classifier learns them")
    seen = len(np.unique(data.labels))
    if seen < 2:
        raise SpeeDiffValueError(f"{name} must have images of two classes or more, got {seen}")
    if data.values.shape[2] < LEAST_SIZE:
        raise SpeeDiffValueError(
            f"{name} must have images of at least {LEAST_SIZE} pixels, got {data.values.shape[2]}"
        )


class _Network(nn.Module):
    """The classifier in training: a batch normalization follows each convolution."""

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        before = (facts.channels, *facts.widths)
        self._stages = [
            (nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside))
            for inside, outside in zip(before, facts.widths, strict=False)
        ]
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in self._stages)
        self.head = nn.Linear(facts.widths[-1], len(facts.classes))
        shape = (1, facts.channels, 1, 1)
        self.mean, self.std = (torch.tensor(values).reshape(shape) for values in (facts.mean, facts.std))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        for i, (convolution, normalization) in enumerate(self._stages):
            x = normalization(convolution(x))
            x = functional.relu(functional.max_pool2d(x, 2) if i < len(self._stages) - 1 else x)
        logits: torch.Tensor = self.head(x.mean(dim=(2, 3)))
        return logits

    @torch.no_grad()
    def folded(self) -> dict[str, torch.Tensor]:
        """The tensors of a `Classifier`: BN(Wx) = (γ/s)·Wx + β - γμ/s with s = √(σ² + ε)."""
        tensors = {}
        for i, (convolution, normalization) in enumerate(self._stages):
            mean, variance = normalization.running_mean, normalization.running_var
            assert mean is not None
            assert variance is not None
            scale = normalization.weight / (variance + normalization.eps).sqrt()
            weight, bias = names_of_stage(i)
            tensors[weight] = convolution.weight * scale[:, None, None, None]
            tensors[bias] = normalization.bias - mean * scale
        return tensors | dict(zip(HEAD, (self.head.weight, self.head.bias), strict=True))


def _fit(network: _Network, data: Dataset, steps: int, flip: bool) -> None:
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, labels = torch.from_numpy(data.values), torch.from_numpy(data.labels)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=RISING)
    batches = _batches(len(data))
    for step in progress.bar(range(steps), "training a classifier", is_main=True):
        rows = next(batches)
        x = images[rows].float()
        if flip and torch.rand(()) < 0.5:
            x = x.flip(3)
        loss = functional.cross_entropy(network(x), labels[rows])
        if not torch.isfinite(loss):
            raise SpeeDiffNonFiniteError(f"the loss must be finite, got {loss} at step {step + 1}")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rate.step()


def _batches(count: int) -> Iterator[torch.Tensor]:
    """Indices of images, epoch after epoch in a new order. What is left of an epoch is skipped."""
    size = min(BATCH, count)
    while True:
        order = torch.randperm(count)
        for begin in range(0, count - size + 1, size):
            yield order[begin : begin + size]


def _normalization(data: Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel's bytes; a channel without variation gets 1."""
    means, deviations = [], []
    levels = np.arange(256)
    for channel in range(data.values.shape[1]):
        counts = np.bincount(data.values[:, channel].ravel(), minlength=256)
        mean = float(np.average(levels, weights=counts))
        means.append(mean)
        deviations.append(float(np.average((levels - mean) ** 2, weights=counts)) ** 0.5 or 1.0)
    return tuple(means), tuple(deviations)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """A context in which PyTorch has this many threads."""
    if count is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(arguments.integer("threads", count, least=1))
    try:
        yield
    finally:
        torch.set_num_threads(before)
