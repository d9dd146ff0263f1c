"""The drawings of Debian's package openclipart-png, in the public domain.

They lie in folders by subject, under 8,121 names for 6,900 files: a link stands for each further name. A file
counts once in each class that it is in. A drawing is composited on white, padded to a square and scaled. A
tenth is for tests. Near-duplicates, whose names differ in a number at the end, are on the same side. So are
all names of one file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._support import extras, progress, user_cache
from .._support.reading import reading
from ..errors import SpeeDiffError, SpeeDiffValueError
from . import arrays, picture_files
from .raw import Raw, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .raw import Values

FOLDER = Path("/usr/share/openclipart/png")
"""Install path of Debian's package openclipart-png."""
SIZE, LARGEST_SIZE = 32, 512
"""The default size of the images, and the limit. There, all drawings need 5 GB."""
LEAST = 50
"""Folders with fewer drawings are merged into one class."""
OTHER = "other"
SHARE = 10
"""One family of drawings in this many is for tests."""
SALT = b"3"
"""Of the hash. Families differ in size, so most salts give tests another mix of classes. Of 0 to 99, this one
comes nearest to a tenth of each class, by χ². Only names and classes chose it."""
LAST_NUMBER = re.compile(r"((?<=\w)[\W_]+|(?<=[^\W\d]))\d+[a-z]*_*$")
"""The last number of a name, such as _02 in `jazz_02`, 06step in `star_95pt06step` or 01r in `hat_01r`."""
MOST_PIXELS = 2 * (1 << 30) // 4 // 3
"""Pillow's default limit. Three drawings have more, and would need up to 5 GB of memory."""
FORMAT = 1
"""Of the kept arrays. Change it with the drawing of a picture."""


def read(part: str, size: int | None) -> Raw:
    """Reads the drawings of a part, (n, 3, size, size), and their classes.

    The first call of a size takes a minute or more. The result is kept in the user's cache folder.

    Args:
        part: `train` or `test`.
        size: Of the images; None: `SIZE`.

    Raises:
        SpeeDiffError: If the package or Pillow is missing, or a drawing is damaged.
        OSError: If a file cannot be read.
    """
    size = SIZE if size is None else size
    if not 0 < size <= LARGEST_SIZE:
        raise SpeeDiffValueError(f"--input-size must be in [1, {LARGEST_SIZE}] for openclipart, got {size}")
    if not FOLDER.is_dir():
        raise SpeeDiffError("openclipart needs Debian's package: apt-get install openclipart-png")
    collection = _Collection(FOLDER)
    images = collection.images(size)
    rows = [
        i for i, drawing in enumerate(collection.drawings) if is_for_tests(drawing.path) == (part == "test")
    ]
    chosen = [collection.drawings[i] for i in rows]
    files = np.array([collection.files[drawing.path] for drawing in chosen])
    labels = np.array([drawing.label for drawing in chosen])
    told = (
        f"{len(chosen)} of {counted(len(collection.drawings), 'drawing', 'drawings')}, for {_PURPOSES[part]}"
    )
    return Raw(images[files], labels, collection.classes, told, collection.notes)


_PURPOSES = {"train": "training", "test": "tests"}


def is_for_tests(path: str) -> bool:
    """Whether a drawing is for tests. It depends on its family only."""
    name = family(path).encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(name, digest_size=8, salt=SALT).digest()
    return int.from_bytes(digest, "big") % SHARE == 0


def family(path: str) -> str:
    """The name of a file without its last number: `jazz` for `…/jazz_02.png`."""
    stem = os.path.splitext(os.path.basename(path))[0].lower()
    return LAST_NUMBER.sub("", stem).rstrip("_-") or stem


class _Drawing(NamedTuple):
    """A drawing of a class."""

    path: str
    """The file, links resolved."""
    label: int


class _Collection:
    """What the folder holds."""

    def __init__(self, folder: Path) -> None:
        found = picture_files.find(str(folder), {".png"}, (), None)
        self._folder = folder
        groups, merged = _merged({name: _files(paths) for name, paths in found.classes.items()})
        self.classes = tuple(groups)
        """Their names, by label."""
        self.drawings: list[_Drawing] = []
        """The drawings of each class, class by class."""
        pixels = {path: _pixels(path) for paths in groups.values() for path in paths}
        left_out = picture_files.Some()
        for label, paths in enumerate(groups.values()):
            for path in paths:
                if pixels[path] <= MOST_PIXELS:
                    self.drawings.append(_Drawing(path, label))
                else:
                    left_out.add(os.path.relpath(path, folder))
        usable = sorted({drawing.path for drawing in self.drawings})
        self.files = {path: i for i, path in enumerate(usable)}
        """The place of each file among `images`."""
        self.notes = (*merged, *left_out.note(f"left out (more than {MOST_PIXELS} pixels)"))
        """What was merged and left out, one line each."""

    def images(self, size: int) -> Values:
        """The drawing of each file, uint8 (n, 3, size, size)."""
        paths = list(self.files)

        def read_kept(path: Path) -> Values:
            values = arrays.read(path).values
            if values.shape != (len(paths), 3, size, size) or values.dtype != np.uint8:
                raise SpeeDiffValueError(f"{path} must hold {len(paths)} images, got {values.shape}")
            return values

        return user_cache.kept(
            f"openclipart-{size}-{self._key(paths)}", read_kept, lambda: _drawn(paths, size)
        )

    def _key(self, paths: Sequence[str]) -> str:
        """Changes with the files and with Pillow."""
        pillow = extras.load("PIL", "openclipart").__version__
        files = [
            (os.path.relpath(path, self._folder), status.st_size, status.st_mtime_ns)
            for path in paths
            for status in [os.stat(path)]
        ]
        return hashlib.blake2b(json.dumps([FORMAT, pillow, files]).encode(), digest_size=8).hexdigest()


def _files(paths: Sequence[str]) -> list[str]:
    """The files, links resolved. Each is there once: 118 gradients link to one white picture."""
    return list(dict.fromkeys(map(os.path.realpath, paths)))


def _merged(subjects: dict[str, list[str]]) -> tuple[dict[str, list[str]], list[str]]:
    """Subjects with `LEAST` drawings or more, then the others as one, and a note about those."""
    groups = {name: paths for name, paths in subjects.items() if len(paths) >= LEAST}
    small = {name: paths for name, paths in subjects.items() if name not in groups}
    if not small:
        return groups, []
    groups[OTHER] = _files([path for paths in (groups.get(OTHER, []), *small.values()) for path in paths])
    names = ", ".join(f"{name} {len(paths)}" for name, paths in small.items())
    return groups, [f"{OTHER}: folders of fewer than {LEAST} drawings ({names})"]


def _pixels(path: str) -> int:
    """The number of pixels, from a PNG's header."""
    with open(path, "rb") as file:
        header = file.read(24)
    if len(header) < 24 or header[12:16] != b"IHDR":
        raise SpeeDiffValueError(f"{path} must be a PNG, got {header[:8]!r}")
    width, height = struct.unpack(">II", header[16:])
    return int(width * height)


def _drawn(paths: Sequence[str], size: int) -> Values:
    images = np.empty((len(paths), 3, size, size), np.uint8)
    for i, path in enumerate(progress.bar(paths, "drawing openclipart, once", unit="drawing", delay=1)):
        images[i] = draw(path, size).transpose(2, 0, 1)
    return images


def draw(path: str, size: int) -> Values:
    """A drawing on white: the longer side scaled to `size`, the shorter one padded on both ends.

    Colors are multiplied by alpha first, so that scaling mixes no color of transparent pixels in. The filter
    is Lanczos's, over all pixels that an output pixel covers.

    Returns:
        uint8 (size, size, 3).
    """
    image = extras.load("PIL.Image", "openclipart")
    with reading(path, "a picture that Pillow reads"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with image.open(path, formats=("PNG",)) as opened:
            straight = opened if opened.mode == "RGBA" else opened.convert("RGBA")
            premultiplied = straight.convert("RGBa")
        side = max(premultiplied.size)
        width, height = (max(1, round(length * size / side)) for length in premultiplied.size)
        scaled = np.asarray(premultiplied.resize((width, height), image.Resampling.LANCZOS)).astype(np.int32)
    drawing = np.full((size, size, 3), 255, np.uint8)
    left, top = (size - width) // 2, (size - height) // 2
    on_white = np.minimum(scaled[:, :, :3] + 255 - scaled[:, :, 3:], 255)
    drawing[top : top + height, left : left + width] = on_white
    return drawing
