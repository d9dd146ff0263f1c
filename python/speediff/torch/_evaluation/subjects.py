"""What is evaluated: given images, or a network that generates them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..._data import datasets
from ..._data.datasets import Dataset
from ..._support import arguments
from ..._support.random_numbers import permutation
from ..._trainer import sample_sets
from ..._trainer.sample_sets import SampleSet
from ...errors import SpeeDiffTypeError, SpeeDiffValueError
from ...training import Trainer
from .reference import check_images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..._data.raw import Labels

CHECKPOINT = ".safetensors"
GENERATED = 1000
"""How many images are generated unless told."""
OPTIONS: dict[str, Any] = {
    "steps": 50,
    "method": "ddim",
    "eta": 0.0,
    "cfg_scale": 1.0,
    "ema": True,
    "clip": True,
    "progress": True,
}
"""How images are generated, by name, with defaults."""
CHOICE = 5
"""The index of the permutation that chooses some of the given images."""


class Subject(NamedTuple):
    """Images that are there, or will be."""

    name: str
    n: int
    shape: tuple[int, ...]
    """Of one image, (c, h, w)."""
    has_labels: bool
    class_names: tuple[str, ...] | None
    given: Dataset | None
    """The images, if they are there."""
    trainer: Trainer | None
    """What generates them otherwise."""
    generation: dict[str, Any]
    """Its options."""
    seed: int

    def images(self, like: Dataset | None) -> SampleSet:
        """The images and their labels; generates them if needed.

        Args:
            like: Real images; generated ones have their classes in the same proportions.
        """
        if self.given is not None:
            return SampleSet(self.given.values, self.given.labels)
        assert self.trainer is not None
        fits = like is not None and like.num_classes == self.trainer.num_classes
        labels = like.labels if like is not None and fits else None
        return sample_sets.generate(self.trainer, self.n, like=labels, seed=self.seed, **self.generation)

    @property
    def settings(self) -> dict[str, str]:
        """How images are generated, by title; empty if they are given."""
        if self.trainer is None:
            return {}
        told = {**OPTIONS, **self.generation}
        weights = "EMA weights" if told["ema"] else "raw weights"
        steps = min(told["steps"], self.trainer.schedule.steps)
        guidance = f"guidance {told['cfg_scale']:g}" if told["cfg_scale"] != 1 else "no guidance"
        seeds = f"seeds {self.seed} to {self.seed + self.n - 1}"
        eta = f" with eta {told['eta']:g}" if told["eta"] else ""
        clip = "x₀ clipped" if told["clip"] else "x₀ not clipped"
        return {"images": f"{told['method']}{eta}, {steps} steps, {guidance}, {clip}, {weights}, {seeds}"}


def subject(
    what: object,
    *,
    n: int | None,
    labels: Labels | None,
    input_size: int | None,
    seed: int,
    generation: Mapping[str, Any],
) -> Subject:
    """Reads or opens what is evaluated; see `speediff.evaluate` for the arguments.

    Raises:
        SpeeDiffError: If it is neither images nor a checkpoint, or an argument does not apply to it.
        OSError: If a file cannot be read.
    """
    if n is not None:
        arguments.integer("n", n, least=2)
    for name in generation:
        if name not in OPTIONS:
            raise SpeeDiffTypeError(f"evaluate got an unknown argument {name!r}")
    if isinstance(what, (str, os.PathLike)) and Path(what).suffix == CHECKPOINT:
        return _generating(Trainer.load(what), str(what), n, labels, seed, generation)
    if isinstance(what, Trainer):
        return _generating(what, "a trainer", n, labels, seed, generation)
    for name in generation:
        raise SpeeDiffValueError(f"{name} applies only to a checkpoint or a trainer, got {_shown(what)}")
    data = images(what, input_size, "what")
    if labels is not None:
        data = Dataset(data.values, _checked(labels, len(data)), data.num_classes, data.class_names)
    if n is not None:
        if n > len(data):
            raise SpeeDiffValueError(f"n must be at most {len(data)}, the number of images, got {n}")
        data = data.part(np.sort(permutation(seed, CHOICE, len(data))[:n]))
    check_images(data, _shown(what))
    return Subject(
        name=_shown(what),
        n=len(data),
        shape=data.values.shape[1:],
        has_labels=data.labels is not None,
        class_names=data.class_names,
        given=data,
        trainer=None,
        generation={},
        seed=seed,
    )


def images(source: object, input_size: int | None, argument: str) -> Dataset:
    """Reads images by name or path, or takes them from an array."""
    if isinstance(source, (str, os.PathLike)):
        return datasets.load(os.fspath(source), input_size=input_size)
    if not isinstance(source, np.ndarray) or source.dtype != np.uint8:
        got = source.dtype if isinstance(source, np.ndarray) else type(source).__name__
        raise SpeeDiffTypeError(f"{argument} must be a name, a path, or a uint8 array of images, got {got}")
    if source.ndim != 4 or 0 in source.shape or source.shape[1] not in (1, 3):
        raise SpeeDiffValueError(
            f"{argument} must have the shape (n, c, h, w) with c = 1 or 3, got {source.shape}"
        )
    return Dataset(source)


def _generating(
    trainer: Trainer,
    name: str,
    n: int | None,
    labels: Labels | None,
    seed: int,
    generation: Mapping[str, Any],
) -> Subject:
    if labels is not None:
        raise SpeeDiffValueError("labels must be left out where images are generated: they have their own")
    if trainer.in_channels not in (1, 3):
        raise SpeeDiffValueError(
            f"what must generate images of 1 or 3 channels, got {trainer.in_channels}: decode the latents, "
            "and evaluate the images"
        )
    return Subject(
        name=f"{name} at step {trainer.global_step}",
        n=GENERATED if n is None else n,
        shape=(trainer.in_channels, trainer.input_size, trainer.input_size),
        has_labels=trainer.num_classes is not None,
        class_names=None,
        given=None,
        trainer=trainer,
        generation=dict(generation),
        seed=seed,
    )


def _checked(labels: Labels, n: int) -> Labels:
    found = np.asarray(labels)
    if found.shape != (n,) or found.dtype.kind not in "iu":
        raise SpeeDiffValueError(
            f"labels must be {n} integers, one per image, got {found.dtype} {found.shape}"
        )
    return found.astype(np.int64)


def _shown(what: object) -> str:
    return os.fspath(what) if isinstance(what, (str, os.PathLike)) else "an array"
