"""Many generated images as bytes, the way an evaluation needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._support import arguments, pixels
from ..errors import SpeeDiffNonFiniteError

if TYPE_CHECKING:
    from .._data.raw import Labels
    from .._support.pixels import Bytes
    from ..training import Trainer


class SampleSet(NamedTuple):
    """Generated images."""

    images: Bytes
    """uint8 (n, c, h, w)."""
    labels: Labels | None
    """The label of each, int64 (n,); None for a network without labels."""


def generate(
    trainer: Trainer,
    n: int,
    *,
    like: Labels | None = None,
    steps: int = 50,
    method: str = "ddim",
    eta: float = 0.0,
    cfg_scale: float = 1.0,
    seed: int = 0,
    ema: bool = True,
    clip: bool = True,
    progress: bool = True,
) -> SampleSet:
    """Generates images for an evaluation.

    Image i has the seed `seed + i` and a label that depends on i, n and `like` only. So the networks of
    two methods turn the same noise into images of the same classes.

    Args:
        trainer: Whose network generates.
        n: The number of images, at least 1.
        like: Labels of real images: the generated images have the classes in the same proportions. None:
            in equal ones.
        steps: Denoising steps; if the schedule has fewer, those.
        method: `ddim` or `ddpm`.
        eta: As in `Trainer.generate`.
        cfg_scale: The guidance scale; 1 is none.
        seed: The seed of image 0.
        ema: Use the averaged weights.
        clip: Clip each step's prediction of x₀ to [-1, 1].
        progress: Show a bar.

    Raises:
        SpeeDiffNonFiniteError: If an image is not finite: the training has diverged.
        SpeeDiffError: If an argument is out of range.
    """
    arguments.integer("n", n, least=1)
    arguments.integer("steps", steps, least=1)
    labels = labels_like(like, trainer.num_classes, n)
    images = trainer.generate(
        labels,
        n=n if labels is None else None,
        steps=min(steps, trainer.schedule.steps),
        method=method,
        eta=eta,
        cfg_scale=cfg_scale,
        seed=seed,
        ema=ema,
        clip=clip,
        progress=progress,
    )
    finite = np.isfinite(images).all(axis=(1, 2, 3))
    if not finite.all():
        raise SpeeDiffNonFiniteError(
            f"samples must be finite, got {n - int(finite.sum())} of {n} images that are not: "
            f"the training has diverged by step {trainer.global_step}"
        )
    return SampleSet(pixels.to_bytes(images), labels)


def labels_like(like: Labels | None, num_classes: int | None, n: int) -> Labels | None:
    """Labels in the proportions of others, in increasing order; None for a network without labels."""
    if num_classes is None:
        return None
    # Image i takes the label at (i+½)/n of the sorted labels: no class is off by more than one image.
    real = np.arange(num_classes) if like is None else np.sort(like)
    chosen: Labels = real[(2 * np.arange(n) + 1) * len(real) // (2 * n)].astype(np.int64)
    return chosen
