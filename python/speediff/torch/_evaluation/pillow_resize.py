"""Resizing with Pillow, which other programs take as part of a metric's definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..._support import extras

if TYPE_CHECKING:
    from .extractor import Bytes


def in_color(images: Bytes) -> Bytes:
    """Images (n, h, w, 3): gray ones in three equal channels."""
    return np.ascontiguousarray(
        np.broadcast_to(images, (len(images), 3, *images.shape[2:])).transpose(0, 2, 3, 1)
    )


def resized(images: Bytes, size: int) -> Bytes:
    """Images (n, 3, size, size), scaled by Pillow's bicubic filter on bytes, with antialiasing to shrink."""
    library = extras.load("PIL.Image", "resizing")
    pictures = [
        np.asarray(library.fromarray(image).resize((size, size), library.Resampling.BICUBIC))
        for image in in_color(images)
    ]
    stacked: Bytes = np.stack(pictures).transpose(0, 3, 1, 2)
    return stacked
