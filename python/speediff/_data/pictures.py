"""Reads a folder of pictures. Its sub-folders, if any, are the classes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from .._support import extras, progress, text_names
from .._support.reading import check_memory
from ..errors import SpeeDiffValueError
from . import picture_files
from .picture_decoding import Decoder
from .picture_files import Some
from .raw import Raw, counted

if TYPE_CHECKING:
    from pathlib import Path

    from .picture_decoding import Picture
    from .raw import Values

WHITE = "#ffffff"


def read(folder: Path, input_size: int | None, background: str = WHITE, out: Path | None = None) -> Raw:
    """Reads all pictures: gray if all of them are gray, otherwise color.

    Args:
        folder: Pictures without labels, or one sub-folder per class, named after the class.
        input_size: Size to scale the largest centered square of each to. None: all must be squares of one
            size.
        background: The color behind transparent pictures, as in `color`.
        out: A folder to exclude; None: none.

    Raises:
        SpeeDiffError: If a picture is damaged or has no exact 8-bit form, a class is empty, or sizes differ.
        OSError: If a file or folder cannot be read.
    """
    background = color(background)
    red, green, blue = bytes.fromhex(background[1:])
    decoder = Decoder(input_size, (red, green, blue))
    excluded = None if out is None else str(out)
    found = picture_files.find(str(folder), decoder.endings, decoder.unreadable, excluded)
    paths = found.loose or [path for group in found.classes.values() for path in group]
    pictures = _Pictures(folder, paths)
    for path in progress.bar(paths, "reading pictures", unit="picture", delay=1):
        pictures.add(path, decoder.read(path))
    left_out = sum(names.count for names in found.left_out.values())
    told = counted(len(paths), "picture", "pictures")
    told += f" of {len(paths) + left_out} files" if left_out else ""
    notes = (*pictures.notes(background), *found.notes)
    if found.loose:
        return Raw(pictures.values, counted=told, notes=notes)
    names = tuple(text_names.printable(name) for name in found.classes)
    labels = np.repeat(np.arange(len(names)), [len(group) for group in found.classes.values()])
    return Raw(pictures.values, labels, names, told, notes)


def color(text: str) -> str:
    """Converts a color's name or numbers, in Pillow's syntax, to #rrggbb.

    Raises:
        SpeeDiffValueError: If it is not a color, or not opaque.
    """
    try:
        channels = extras.load("PIL.ImageColor", "--background").getrgb(str(text))
    except ValueError:
        channels = ()
    if len(channels) != 3:
        raise SpeeDiffValueError(
            f"--background must be an opaque color, such as white or '#808080', got {text!r}"
        )
    return f"#{bytes(channels).hex()}"


class _Pictures:
    """Pictures of one size in one array. The first color picture converts it to three channels."""

    def __init__(self, folder: Path, paths: list[str]) -> None:
        self.values: Values = np.empty((0, 1, 0, 0), np.uint8)
        self._folder, self._paths = folder, paths
        self._count = 0
        self._transparent, self._blank, self._frames = Some(), Some(), Some()

    def add(self, path: str, picture: Picture) -> None:
        """Adds a picture."""
        height, width, channels = picture.pixels.shape
        if self._count == 0:
            self._check_square(path, height, width)
            self._make_room(path, channels, height, width)
        self._check_size(path, height, width)
        if channels > self.values.shape[1]:
            gray = self.values
            self._make_room(path, channels, height, width)
            self.values[: self._count] = gray[: self._count]  # From one channel to three.
        self.values[self._count] = picture.pixels.transpose(2, 0, 1)
        self._count += 1
        for is_one, names in (
            (picture.is_transparent, self._transparent),
            (picture.is_blank, self._blank),
            (picture.has_more_frames, self._frames),
        ):
            if is_one:
                names.add(os.path.relpath(path, self._folder))

    def notes(self, background: str) -> list[str]:
        """What was changed, one line each."""
        return [
            *self._transparent.note(f"transparent, composited on {background}"),
            *self._blank.note("fully transparent, now only background"),
            *self._frames.note("with several frames, pages or layers; only the first is used"),
        ]

    def _make_room(self, path: str, channels: int, height: int, width: int) -> None:
        shape = (len(self._paths), channels, height, width)
        check_memory(path, len(self._paths) * channels * height * width)
        self.values = np.empty(shape, np.uint8)

    def _check_square(self, path: str, height: int, width: int) -> None:
        """Raises on the first picture of another shape, before the rest are read."""
        if height != width:
            raise SpeeDiffValueError(
                f"{path} must be square, got {height}×{width}; --input-size crops and scales all pictures"
            )

    def _check_size(self, path: str, height: int, width: int) -> None:
        size = self.values.shape[2:]
        if (height, width) != size:
            raise SpeeDiffValueError(
                "--input-size must be given where pictures have different sizes, got "
                f"{size[0]}×{size[1]} in {self._paths[0]} and {height}×{width} in {path}"
            )
