"""The micro-batches of a training step: what they must be, and how a batch is divided into them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from .. import errors
from .._native import buffers
from .._support import arguments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._native.native_trainer import Floats, Integers
    from ..training import Trainer


def check_images(trainer: Trainer, argument: str, x: object) -> None:
    """Raises unless `x` are images of the network."""
    size = trainer.input_size
    buffers.check_shape(argument, x, np.float32, (None, trainer.in_channels, size, size))


def check(trainer: Trainer, x: Floats, y: Integers | None) -> None:
    """Raises unless the trainer can train on these images and labels."""
    trainer._open_handle()
    if trainer.sampler._handle is not trainer._native_sampler:
        raise errors.SpeeDiffValueError(
            "sampler must not be closed or load a state while a trainer uses it, got one that "
            "did; make a new trainer"
        )
    check_images(trainer, "x", x)
    if y is not None:
        buffers.check_shape("y", y, np.int64, (len(x),))


def check_given(
    x: Floats,
    t: Integers | None,
    noise: Floats | None,
    weights: Floats | None,
    masked_noise: Floats | None,
    kept: Integers | None,
) -> None:
    """Raises unless what is given instead of being drawn fits the images."""
    if t is not None:
        buffers.check_shape("t", t, np.int64, (len(x),))
    if noise is not None:
        buffers.check_shape("noise", noise, np.float32, x.shape)
    if weights is not None:
        buffers.check_shape("weights", weights, np.float32, (len(x),))
    if masked_noise is not None:
        buffers.check_shape("masked_noise", masked_noise, np.float32, x.shape)
    if kept is not None:
        buffers.check_shape("kept", kept, np.int64, (len(x), None))


def place(offset: int | None, total: int | None) -> tuple[int, int]:
    """The offset and total of a part of the global batch; (0, 0) if the sampler's layout says it."""
    if (offset is None) != (total is None):
        raise errors.SpeeDiffValueError(
            f"offset and total must be given together, got offset={offset}, total={total}"
        )
    if offset is None or total is None:
        return 0, 0
    return (
        arguments.integer("offset", offset, least=0, end=1 << 31),
        arguments.integer("total", total, least=1, end=(1 << 31) + 1),
    )


def parts(trainer: Trainer, x: Floats, y: Integers | None) -> Iterator[tuple[int, Floats, Integers | None]]:
    """Divides a batch into the step's micro-batches: the index of the first image, images, labels."""
    count = trainer.sampler.recipe.drawing.accumulation
    ends = [i * len(x) // count for i in range(count + 1)]
    for begin, end in itertools.pairwise(ends):
        yield begin, x[begin:end], None if y is None else y[begin:end]
