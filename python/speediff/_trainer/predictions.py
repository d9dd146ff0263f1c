"""A trainer's network in use: its predictions, and the images that it generates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import errors
from .._native import buffers
from .._support import arguments
from . import generation, micro_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._native.native_trainer import Floats, Integers
    from ..training import Trainer


def forward(
    trainer: Trainer, x_t: Floats, t: Floats | Integers, y: Integers | None = None, *, ema: bool = False
) -> Floats:
    """The network's forward pass.

    Args:
        trainer: The trainer.
        x_t: Noisy images, float32 (n, in_channels, input_size, input_size).
        t: Timesteps, 0-based: int64 or float32 (n,).
        y: Classes or the null label, int64 (n,); None without labels.
        ema: Use the EMA of the parameters.

    Returns:
        The prediction, float32 (n, in_channels, input_size, input_size). With `learn_sigma` it has twice
        as many channels; the second half is for the variance.
    """
    native = trainer._open_handle()
    micro_batches.check_images(trainer, "x_t", x_t)
    if isinstance(t, np.ndarray) and t.dtype == np.int64:
        buffers.check_shape("t", t, np.int64, (len(x_t),))
        times = t.astype(np.float32)
    else:
        times = buffers.check_shape("t", t, np.float32, (len(x_t),))
    if y is not None:
        buffers.check_shape("y", y, np.int64, (len(x_t),))
    planes = trainer.in_channels * (2 if trainer.learn_sigma else 1)
    out = _new_images(trainer, len(x_t), planes)
    native.forward(x_t, times, y, arguments.flag("ema", ema), out)
    return out


def generate(
    trainer: Trainer,
    labels: Integers | None = None,
    *,
    n: int | None = None,
    steps: int = 250,
    method: str = "ddpm",
    eta: float = 0.0,
    cfg_scale: float = 1.0,
    seed: int | Sequence[int] | Integers = 0,
    ema: bool = True,
    clip: bool = False,
    progress: bool = False,
) -> Floats:
    """Generates images. Each is a function of its seed, its label and the options, up to rounding.

    Args:
        trainer: The trainer.
        labels: Classes, int64 (n,); None without labels.
        n: The number of images, if there are no labels.
        steps: The number of denoising steps, in [2, T], evenly spaced over the schedule.
        method: "ddpm" (ancestral; Ho et al. 2020) or "ddim" (Song et al. 2021). "ddpm" uses a learned
            variance if there is one, and otherwise β.
        eta: DDIM's η, at least 0; 0 is deterministic.
        cfg_scale: s in prediction(null) + s·(prediction(label) - prediction(null)), on all channels of
            the prediction; 1: no guidance. The official code guides only the first three channels.
        seed: The seed of the first image, which increases by one per image; or one seed per image.
        ema: Use the EMA of the parameters.
        clip: Clip predictions of x₀ to [-1, 1].
        progress: Show a progress bar (needs tqdm).

    Returns:
        Float32 (n, in_channels, input_size, input_size).
    """
    native = trainer._open_handle()
    how = generation.options(steps, method, eta, cfg_scale, clip, ema)
    total = generation.count(labels, n)
    seeds = generation.seeds(seed, total)
    out = _new_images(trainer, total, trainer.in_channels)
    generation.run(native, labels, seeds, how, out, arguments.flag("progress", progress))
    return out


def _new_images(trainer: Trainer, n: int, planes: int) -> Floats:
    shape = (n, planes, trainer.input_size, trainer.input_size)
    try:
        return np.empty(shape, np.float32)
    except (MemoryError, ValueError) as error:
        raise errors.SpeeDiffMemoryError(f"images must fit into memory, got {n} of {shape[1:]}") from error
