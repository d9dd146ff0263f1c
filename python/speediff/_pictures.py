"""Generated images as picture files: one each, or many in a labelled grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _extras

if TYPE_CHECKING:
    from collections.abc import Sequence

    Bytes = np.ndarray[Any, np.dtype[np.uint8]]

CELL = 56
"""Small images are enlarged by a whole number, to about so many pixels."""
GAP, MARGIN, FONT_SIZE = 2, 8, 13


def to_bytes(images: Any) -> Bytes:
    """Images (…, c, h, w) of -1…1, c being 1 or 3, as bytes (…, h, w, 3); what is beyond is cut off."""
    scaled = np.rint((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)
    color = np.moveaxis(scaled, -3, -1)
    return np.repeat(color, 3, axis=-1) if color.shape[-1] == 1 else color


def save(image: Any, path: Any) -> None:
    """Writes one image (c, h, w), gray or in color, by the ending of the file."""
    pixels = to_bytes(image)
    picture = _library().fromarray(pixels[..., 0] if image.shape[0] == 1 else pixels)
    picture.save(path)


def grid(images: Any, row_names: Sequence[str] = (), title: str = "") -> Any:
    """A picture of images in rows and columns.

    Args:
        images: Shape (rows, columns, c, h, w), values in [-1, 1].
        row_names: Stand on the left.
        title: Stands above.
    """
    library, font = _library(), _font()
    pixels = to_bytes(images)
    rows, columns, height, width = pixels.shape[:4]
    factor = max(1, round(CELL / height))
    pixels = pixels.repeat(factor, axis=2).repeat(factor, axis=3)
    height, width = factor * height + GAP, factor * width + GAP
    left = MARGIN + max((int(font.getlength(name)) + MARGIN for name in row_names), default=0)
    top = MARGIN + (FONT_SIZE + MARGIN if title else 0)
    right = max(left + columns * width - GAP, left + int(font.getlength(title)))
    picture = library.new("RGB", (right + MARGIN, top + rows * height - GAP + MARGIN), "white")
    draw = _extras.load("PIL.ImageDraw", "a picture").Draw(picture)
    for row in range(rows):
        for column in range(columns):
            cell = library.fromarray(pixels[row, column])
            picture.paste(cell, (left + column * width, top + row * height))
    for row, name in enumerate(row_names):
        middle = top + row * height + (height - GAP) // 2
        draw.text((left - MARGIN, middle), name, fill="black", font=font, anchor="rm")
    draw.text((left, MARGIN), title, fill="black", font=font)
    return picture


def beside(pictures: Sequence[Any]) -> Any:
    """The pictures in one, from left to right."""
    size = sum(picture.width for picture in pictures), max(picture.height for picture in pictures)
    joined = _library().new("RGB", size, "white")
    left = 0
    for picture in pictures:
        joined.paste(picture, (left, 0))
        left += picture.width
    return joined


def _library() -> Any:
    return _extras.load("PIL.Image", "a picture")


def _font() -> Any:
    return _extras.load("PIL.ImageFont", "a picture").load_default(FONT_SIZE)
