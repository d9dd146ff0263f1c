"""Images and latents in files that NumPy wrote.

A .npy file holds the images or latents alone. A .npz file holds them as `images`, `latents`, `x` or `arr_0`,
with `labels`, `y` or `arr_1` if there are labels. Nothing in either is unpickled.
"""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import SpeeDiffTypeError, SpeeDiffValueError

if TYPE_CHECKING:
    from pathlib import Path

    Values = np.ndarray[Any, Any]
    Labels = np.ndarray[Any, np.dtype[np.int64]]
    Raw = tuple[Values, Labels | None, tuple[str, ...] | None]
    """Values (n, c, h, w), labels and class names, as they were read."""

VALUE_KEYS = ("images", "latents", "x", "arr_0")
LABEL_KEYS = ("labels", "y", "arr_1")
CHANNELS = (1, 3)
"""Of a picture."""


def read(path: Path) -> Raw:
    """Reads a file.

    uint8 is images, (n, h, w), (n, c, h, w) or (n, h, w, c) with 1 or 3 channels; where both of the latter
    fit it counts as (n, c, h, w). float32 and float16 are latents, (n, c, h, w).
    """
    values, labels = _load(path)
    if values.dtype == np.uint8:
        return _channels_first(path, values), labels, None
    if values.dtype not in (np.float32, np.float16):
        raise SpeeDiffTypeError(f"{path} must hold uint8 images or float32 latents, got {values.dtype}")
    return values, labels, None


def _load(path: Path) -> tuple[Values, Labels | None]:
    """Raises OSError if there is no such file."""
    try:
        # Mapped, a .npy file that is shorter than its header says is an error before memory is asked for.
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return np.array(loaded), None
        with loaded:
            values = _one_of(loaded, VALUE_KEYS)
            if values is None:
                keys = ", ".join(VALUE_KEYS)
                raise SpeeDiffValueError(f"{path} must hold one of {keys}, got {', '.join(loaded)}")
            return values, _one_of(loaded, LABEL_KEYS)
    except SpeeDiffValueError:
        raise
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise SpeeDiffValueError(f"{path} must be a whole file that numpy.save wrote: {error}") from None


def _one_of(arrays: Any, keys: tuple[str, ...]) -> Any:
    found = next((arrays[key] for key in keys if key in arrays), None)
    if isinstance(found, bytes):  # What is in the archive is not an array.
        raise ValueError(f"of {', '.join(keys)}, what it holds is no array")
    return found


def _channels_first(path: Path, images: Values) -> Values:
    """As (n, c, h, w)."""
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in CHANNELS:
        return images
    if images.ndim == 4 and images.shape[3] in CHANNELS:
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    raise SpeeDiffValueError(
        f"{path} must hold images of shape (n, h, w), (n, c, h, w) or (n, h, w, c), c being 1 or 3, "
        f"got {images.shape}"
    )
