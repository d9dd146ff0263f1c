"""Images and latents in files that NumPy wrote.

A .npy file holds the images or latents alone. A .npz file holds them as `images`, `latents`, `x` or `arr_0`,
with `labels`, `y` or `arr_1` if there are labels. Nothing in either is unpickled.
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support.reading import check_regular, reading
from .._support.text_names import one_line
from ..errors import SpeeDiffTypeError, SpeeDiffValueError
from . import npy_files
from .raw import Raw

if TYPE_CHECKING:
    from pathlib import Path

    from .raw import Values

VALUE_KEYS = ("images", "latents", "x", "arr_0")
LABEL_KEYS = ("labels", "y", "arr_1")
CHANNELS = (1, 3)
"""Channel counts of an image."""
ARCHIVE = (b"PK\x03\x04", b"PK\x05\x06")
"""The first bytes of a .npz file, with arrays and empty."""


def read(path: Path) -> Raw:
    """Reads a file.

    uint8 arrays are images of shape (n, h, w), (n, c, h, w) or (n, h, w, c) with 1 or 3 channels. If both of
    the latter fit, the shape is read as (n, c, h, w). float32 and float16 arrays are latents, (n, c, h, w).

    Raises:
        SpeeDiffError: If the file is damaged or holds something else.
        OSError: If it cannot be read.
    """
    check_regular(path)
    with path.open("rb") as file:
        is_archive = file.read(4) in ARCHIVE
    raw = _read_archive(path) if is_archive else Raw(npy_files.load(path))
    if raw.values.dtype == np.uint8:
        return raw._replace(values=_channels_first(path, raw.values))
    if raw.values.dtype not in (np.float32, np.float16):
        raise SpeeDiffTypeError(f"{path} must hold uint8 images or float32 latents, got {raw.values.dtype}")
    return raw


def _read_archive(path: Path) -> Raw:
    with reading(path, npy_files.WHOLE), zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        values, labels = (
            next((key for key in keys if key in members), None) for keys in (VALUE_KEYS, LABEL_KEYS)
        )
        if values is None:
            keys = ", ".join(VALUE_KEYS)
            raise SpeeDiffValueError(f"{path} must hold one of {keys}, got {', '.join(members) or 'nothing'}")
        others = [key for key in members if key not in (values, labels)]
        note = f"left out: {', '.join(others)}, neither {values} nor {labels or 'labels'}"
        return Raw(
            _member(path, archive, members[values]),
            None if labels is None else _member(path, archive, members[labels]),
            notes=(one_line(note),) if others else (),
        )


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray[Any, Any]:
    with archive.open(name) as file:
        return npy_files.parse(path, file, archive.getinfo(name).file_size)


def _channels_first(path: Path, images: Values) -> Values:
    """Converts images to shape (n, c, h, w)."""
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in CHANNELS:
        return images
    if images.ndim == 4 and images.shape[3] in CHANNELS:
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    raise SpeeDiffValueError(
        f"{path} must hold images of shape (n, h, w), (n, c, h, w) or (n, h, w, c) with c = 1 or 3, "
        f"got {images.shape}"
    )
