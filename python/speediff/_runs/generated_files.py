"""The output of `speediff generate`: a grid, an array, or a folder of pictures."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support import replacement
from ..errors import SpeeDiffValueError
from . import picture_grids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .samples import Rows

PICTURE_CHANNELS = (1, 3)


class GeneratedFiles:
    """Files for generated images. The suffix of --out selects the format."""

    def __init__(self, name: str) -> None:
        """Parses --out.

        Raises:
            SpeeDiffValueError: If the suffix is unknown.
            SpeeDiffError: If the format needs Pillow and Pillow is missing.
        """
        self.path = Path(name)
        ending = self.path.suffix.lower()
        self._is_folder = name.endswith("/") or self.path.is_dir() or not ending
        if not self._is_folder and ending not in (".png", ".npy"):
            raise SpeeDiffValueError(f"--out must be a folder or end in .png or .npy, got {name!r}")
        self._is_array = not self._is_folder and ending == ".npy"
        if not self._is_array:
            picture_grids.grid(np.zeros((1, 1, 1, 8, 8), np.float32))  # Raises without Pillow.

    @property
    def folder(self) -> Path:
        """The folder that contains the files."""
        return self.path if self._is_folder else self.path.parent

    def rehearse(self, shape: tuple[int, ...], rows: Rows, first_seed: int) -> None:
        """Raises if images of this shape cannot be written, as far as can be checked in advance.

        Args:
            shape: (n, c, h, w).
            rows: As for `write`.
            first_seed: As for `write`.
        """
        if shape[1] not in PICTURE_CHANNELS and not self._is_array:
            raise SpeeDiffValueError(
                f"--out must end in .npy for images of {shape[1]} channels, got {str(self.path)!r}"
            )
        if self._is_folder:
            # One per row is enough: names in a row have the same length.
            for path in islice(self._paths(shape[0], rows, first_seed), 0, None, _columns(shape[0], rows)):
                replacement.check(path)
            return
        replacement.check(self.path)
        if not self._is_array:
            blank = np.broadcast_to(np.float32(1), shape)
            picture_grids.encoded(_grid(blank, rows))

    def write(self, images: Any, rows: Rows, first_seed: int) -> None:
        """Writes the images (n, c, h, w).

        Args:
            images: Values in [-1, 1].
            rows: Rows of equal length; without labels, ten images each.
            first_seed: The seed of image 0; image i has first_seed + i.
        """
        if self._is_array:
            # np.save to a real file raises errors that hide the cause.
            replacement.replace(self.path, lambda file: np.save(SimpleNamespace(write=file.write), images))
        elif self._is_folder:
            for image, path in zip(images, self._paths(len(images), rows, first_seed), strict=True):
                picture_grids.write(picture_grids.single(image), path, is_one_of_many=True)
        else:
            picture_grids.write(_grid(images, rows), self.path)

    def _paths(self, count: int, rows: Rows, first_seed: int) -> Iterator[Path]:
        """The path of each image in the folder."""
        columns = _columns(count, rows)
        for index in range(count):
            name = f"-{rows.names[index // columns].replace('/', '-')}" if rows.names else ""
            yield self.path / f"{index:05}{name}-seed{first_seed + index}.png"


def _columns(count: int, rows: Rows) -> int:
    return count // len(rows.names) if rows.names else min(count, 10)


def _grid(images: Any, rows: Rows) -> Any:
    columns = _columns(len(images), rows)
    lines = -(-len(images) // columns)
    blank = np.ones((lines * columns - len(images), *images.shape[1:]), images.dtype)
    cells = np.concatenate((images, blank)).reshape(lines, columns, *images.shape[1:])
    return picture_grids.grid(cells, rows.names, numbers=rows.labels)
