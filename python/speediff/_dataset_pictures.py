"""A folder of pictures: its sub-folders are the classes, or there are none."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _extras, _progress
from .errors import SpeeDiffValueError

if TYPE_CHECKING:
    from ._dataset_arrays import Raw, Values

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
GRAY_MODES = frozenset({"1", "L", "LA", "I;16"})


def read(folder: Path, input_size: int | None) -> Raw:
    """All pictures, gray if all of them are, else in color.

    Args:
        folder: Pictures beside each other, without labels; or one sub-folder for each class, named after it.
        input_size: The middle of each, as large a square as fits, is scaled to this size. None: all are
            squares of one size.
    """
    _extras.load("PIL", "reading pictures")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    groups = {path.name: _pictures(path) for path in classes}
    groups = {name: paths for name, paths in groups.items() if paths}
    loose = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.is_file())
    if loose and groups:
        raise SpeeDiffValueError(
            f"{folder} must hold pictures or sub-folders of them, got both: "
            f"{loose[0].name} and {next(iter(groups))}/"
        )
    paths = loose or [path for group in groups.values() for path in group]
    if not paths:
        raise SpeeDiffValueError(f"{folder} must hold pictures ({', '.join(sorted(ENDINGS))}), got none")
    values = _read_all(paths, input_size)
    if loose:
        return values, None, None
    labels = np.repeat(np.arange(len(groups)), [len(group) for group in groups.values()])
    return values, labels, tuple(groups)


def _pictures(folder: Path) -> list[Path]:
    """The pictures in a folder and below it, in an order that no file system decides."""
    found = [Path(where) / name for where, _, names in os.walk(folder) for name in names]
    return sorted(path for path in found if path.suffix.lower() in ENDINGS)


def _read_all(paths: list[Path], input_size: int | None) -> Values:
    pictures: list[Values] = []
    for path in _progress.bar(paths, "reading pictures", unit="picture", delay=1):
        picture = _read(path, input_size)
        if pictures and input_size is None and picture.shape[:2] != pictures[0].shape[:2]:
            sizes = (f"{'×'.join(map(str, array.shape[:2]))}" for array in (pictures[0], picture))
            raise SpeeDiffValueError(
                "--input-size must be given where pictures have different sizes, got "
                f"{next(sizes)} in {paths[0]} and {next(sizes)} in {path}"
            )
        pictures.append(picture)
    channels = max(picture.shape[2] for picture in pictures)
    values = np.empty((len(pictures), channels, *pictures[0].shape[:2]), np.uint8)
    for value, picture in zip(values, pictures, strict=True):
        value[:] = picture.transpose(2, 0, 1)  # One channel becomes three.
    return values


def _read(path: Path, input_size: int | None) -> np.ndarray[Any, Any]:
    """One picture, uint8 (h, w, c), c being 1 or 3."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(path, input_size)
    except Exception as error:  # Decoders raise whatever they like on damaged files.
        raise SpeeDiffValueError(f"{path} must be a picture that Pillow reads: {error}") from None


def _decode(path: Path, input_size: int | None) -> np.ndarray[Any, Any]:
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened)
        is_gray = picture.mode in GRAY_MODES
        if picture.mode == "I;16":
            picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        picture = picture.convert("L" if is_gray else "RGB")
        if input_size is not None:
            side = min(picture.size)
            left, top = (picture.width - side) // 2, (picture.height - side) // 2
            middle = picture.crop((left, top, left + side, top + side))
            picture = middle.resize((input_size, input_size), Image.Resampling.LANCZOS)
        pixels = np.array(picture)
    return pixels[:, :, None] if is_gray else pixels
