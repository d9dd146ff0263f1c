"""Generated images as picture files: one each, or many in a labelled grid."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from .._plans import fonts
from .._support import extras, pixels
from .._support.replacement import replace_bytes
from ..errors import SpeeDiffValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from .._support.pixels import Bytes

ADVICE = "install Noto Sans CJK (Debian: fonts-noto-cjk), or GNU Unifont for all scripts (fonts-unifont)"
CELL = 56
"""Small images are enlarged by an integer factor, to about this many pixels."""
GAP, MARGIN, FONT_SIZE = 2, 8, 13


def to_bytes(images: Any) -> Bytes:
    """Converts images (…, c, h, w) with c = 1 or 3 to bytes (…, h, w, 3); clips values to [-1, 1]."""
    color = np.moveaxis(pixels.to_bytes(images), -3, -1)
    return np.repeat(color, 3, axis=-1) if color.shape[-1] == 1 else color


def single(image: Any) -> Any:
    """A picture of one image (c, h, w), gray or in color."""
    rows = to_bytes(image)
    return _library().fromarray(rows[..., 0] if image.shape[0] == 1 else rows)


def encoded(picture: Any) -> memoryview:
    """Encodes the picture as PNG.

    Raises:
        SpeeDiffValueError: If the picture is too large for PNG.
    """
    file = io.BytesIO()
    try:
        picture.save(file, "PNG")
    except (OSError, ValueError, OverflowError, SystemError, struct.error) as error:
        raise SpeeDiffValueError(
            f"a picture of {picture.width}×{picture.height} pixels cannot be a PNG file: {error}"
        ) from None
    return file.getbuffer()


def write(picture: Any, path: Path, *, is_one_of_many: bool = False) -> None:
    """Writes the picture as a PNG file and replaces an existing one; see `replace`."""
    replace_bytes(path, encoded(picture), is_one_of_many=is_one_of_many)


def grid(
    images: Any, row_names: Sequence[str] = (), title: str = "", *, numbers: Iterable[int] | None = None
) -> Any:
    """A picture of images in rows and columns.

    Args:
        images: Shape (rows, columns, c, h, w), values in [-1, 1].
        row_names: Row labels, drawn on the left.
        title: Drawn above the grid.
        numbers: Replace names that no font can draw, with a warning; None: the row indices.
    """
    library = _library()
    row_names, font = _drawable(row_names, range(len(row_names)) if numbers is None else numbers)
    cells = to_bytes(images)
    rows, columns, height, width = cells.shape[:4]
    factor = max(1, round(CELL / height))
    cells = cells.repeat(factor, axis=2).repeat(factor, axis=3)
    height, width = factor * height + GAP, factor * width + GAP
    left = MARGIN + max((int(font.getlength(name)) + MARGIN for name in row_names), default=0)
    top = MARGIN + (FONT_SIZE + MARGIN if title else 0)
    right = max(left + columns * width - GAP, left + int(font.getlength(title)))
    picture = library.new("RGB", (right + MARGIN, top + rows * height - GAP + MARGIN), "white")
    draw = extras.load("PIL.ImageDraw", "a picture").Draw(picture)
    for row in range(rows):
        for column in range(columns):
            cell = library.fromarray(cells[row, column])
            picture.paste(cell, (left + column * width, top + row * height))
    for row, name in enumerate(row_names):
        middle = top + row * height + (height - GAP) // 2
        draw.text((left - MARGIN, middle), name, fill="black", font=font, anchor="rm")
    draw.text((left, MARGIN), title, fill="black", font=font)
    return picture


def beside(pictures: Sequence[Any]) -> Any:
    """Joins the pictures from left to right."""
    size = sum(picture.width for picture in pictures), max(picture.height for picture in pictures)
    joined = _library().new("RGB", size, "white")
    left = 0
    for picture in pictures:
        joined.paste(picture, (left, 0))
        left += picture.width
    return joined


def _library() -> Any:
    return extras.load("PIL.Image", "a picture")


def _drawable(names: Sequence[str], numbers: Iterable[int]) -> tuple[list[str], Any]:
    """The names, with numbers for those that cannot be drawn, and a font for them."""
    names = [fonts.composed(name) for name in names]
    font, is_drawable = fonts.choose(names, FONT_SIZE)
    if not all(is_drawable):
        boxes = [name for name, fits in zip(names, is_drawable, strict=True) if not fits]
        fonts.warn(boxes, "no font has these class names; they are drawn as numbers; " + ADVICE)
    return [
        name if fits else str(number) for name, number, fits in zip(names, numbers, is_drawable, strict=True)
    ], font
