"""Images as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def to_bytes(images: Any) -> Bytes:
    """Maps values in [-1, 1] to 0…255, rounded; clips others."""
    scaled: Bytes = np.rint((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)
    return scaled
