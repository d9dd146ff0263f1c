"""A folder of pictures, one sub-folder per class as in ImageNet, read as they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from common import PICTURES
from data import Images, random_numbers
from torch import Tensor

if TYPE_CHECKING:
    from pathlib import Path

_HELD_OUT = 20  # one of so many pictures, where the folder has no validation part


class PictureFolder:
    """Pictures in color on white, cropped to their middle and scaled to one size; a `data.LabelledImages`."""

    def __init__(self, pictures: list[tuple[Path, int]], class_names: tuple[str, ...], size: int) -> None:
        """Take paths with labels, the names of the classes, and the size in pixels."""
        self.paths, self.size = [path for path, _ in pictures], size
        self.labels: Tensor = torch.tensor([label for _, label in pictures])
        self.class_names = class_names

    def pixels_at(self, chosen: Tensor) -> Tensor:
        """Some of the pictures, uint8 (n, 3, size, size)."""
        from PIL import Image, ImageOps

        pixels = np.empty((len(chosen), 3, self.size, self.size), np.uint8)
        for place, index in enumerate(chosen.tolist()):
            with Image.open(self.paths[index]) as picture:
                if picture.mode.startswith(("I", "F")):  # Pillow would cut off what is above 255.
                    raise SystemExit(f"{self.paths[index]} must have 8 bits per channel: convert it first")
                colors = picture.convert("RGBA")
                shown = Image.alpha_composite(Image.new("RGBA", colors.size, "white"), colors)
                square = ImageOps.fit(shown.convert("RGB"), (self.size, self.size), Image.Resampling.LANCZOS)
            pixels[place] = np.asarray(square).transpose(2, 0, 1)
        return torch.from_numpy(pixels)

    def first(self, n: int) -> Images:
        """The first ``n`` of them, in memory."""
        chosen = torch.arange(min(n, len(self.paths)))
        return Images(self.pixels_at(chosen), self.labels[chosen], self.class_names)


def read_folder(folder: Path, size: int) -> tuple[PictureFolder, PictureFolder]:
    """The pictures for training and for validation.

    These are the parts ``train`` and ``val`` where ``folder`` has both, as ImageNet does; else one
    picture of each twenty is held out.
    """
    if (folder / "train").is_dir() and (folder / "val").is_dir():
        names = _class_names(folder / "train")
        train, validation = (_pictures(folder / part, names) for part in ("train", "val"))
    else:
        names = _class_names(folder)
        pictures = _pictures(folder, names)
        validation = pictures[::_HELD_OUT]
        train = [picture for place, picture in enumerate(pictures) if place % _HELD_OUT]
    if not train or not validation:
        raise SystemExit(f"{folder} has too few pictures: some must be left for validation")
    # They are sorted by class, and the first of them must stand for all.
    order = random_numbers(0, "validation pictures", 0).permutation(len(validation))
    return PictureFolder(train, names, size), PictureFolder([validation[i] for i in order], names, size)


def _class_names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not _is_hidden(path)))


def _pictures(folder: Path, names: tuple[str, ...]) -> list[tuple[Path, int]]:
    """Every picture with its label, in an order that no file system decides."""
    return [
        (path, label)
        for label, name in enumerate(names)
        for path in sorted((folder / name).glob("*"))
        if path.suffix.lower() in PICTURES and not _is_hidden(path)
    ]


def _is_hidden(path: Path) -> bool:
    """Whether a notebook, an archive of a Mac, or the like has left it."""
    return path.name.startswith(".") or path.name == "__MACOSX"
