"""Training data in memory: images as bytes, latents as floats.

from speediff._data import datasets
data = datasets.load("fashion-mnist")
x, y = data.batch(np.arange(64))            # float32 (64, 1, 28, 28) in [-1, 1], int64 (64,)
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support import extras, text_names
from ..errors import SpeeDiffError, SpeeDiffTypeError, SpeeDiffValueError, unknown_name
from . import arrays, cifar, idx, openclipart, pictures
from .pictures import WHITE
from .raw import Raw, counted

if TYPE_CHECKING:
    from .raw import Labels, Values

    Floats = np.ndarray[Any, np.dtype[np.float32]]

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Install path of Debian's package dataset-fashion-mnist."""
FASHION_MNIST_CLASSES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
KINDS = ("fashion-mnist", "openclipart", "digits", "a folder", "a .npy or .npz file")
SHOWN_CLASSES = 10
MAX_CLASSES = 1 << 16
"""The limit of classes. More are surely a mistake and need an embedding table of gigabytes."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Square images or latents, with or without labels."""

    values: Values
    """uint8 (n, c, h, w) for images; float32 or float16 for latents."""
    labels: Labels | None = None
    """int64 (n,), in [0, num_classes)."""
    num_classes: int | None = None
    """The number of classes; None without labels."""
    class_names: tuple[str, ...] | None = None
    """One name per class; None without names or labels."""
    summary: tuple[str, ...] = ()
    """What was read, left out and changed, one line each."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_images(self) -> bool:
        """Whether these are images rather than latents."""
        return bool(self.values.dtype == np.uint8)

    @property
    def fingerprint(self) -> str:
        """Identifies the data: the shape and a checksum of values and labels."""
        checksum = zlib.crc32(np.ascontiguousarray(self.values).data)
        if self.labels is not None:
            checksum = zlib.crc32(self.labels.data, checksum)
        return f"{'×'.join(map(str, self.values.shape))} {checksum:08x}"

    def batch(self, indices: Any, flipped: Any = None) -> tuple[Floats, Labels | None]:
        """Some entries of the data, as new arrays.

        Args:
            indices: The entries, int64 (n,).
            flipped: Which of them to mirror left to right, bool (n,); None: none.

        Returns:
            float32 (n, c, h, w), with bytes 0…255 mapped to -1…1, and the labels.
        """
        x = self.values[indices].astype(np.float32)
        if self.is_images:
            x /= 127.5
            x -= 1
        if flipped is not None:
            x[flipped] = x[flipped, :, :, ::-1]
        return x, None if self.labels is None else self.labels[indices]

    def part(self, indices: Any) -> Dataset:
        """The data restricted to these indices."""
        labels = None if self.labels is None else self.labels[indices]
        return Dataset(self.values[indices], labels, self.num_classes, self.class_names)

    def without_labels(self) -> Dataset:
        """The same data without labels."""
        return Dataset(self.values)


def load(
    source: str, *, input_size: int | None = None, background: str = WHITE, out: Path | None = None
) -> Dataset:
    """Reads training data.

    Args:
        source: `fashion-mnist`, `openclipart`, `digits`, a folder (idx files, CIFAR-10's, or pictures), or a
            .npy or .npz file.
        input_size: Pictures of a folder are center-cropped and scaled to this size. None: they must have the
            same size. Drawings of openclipart are padded and scaled to it. None: to 32. Other data keep their
            size, and any other value is an error.
        background: The color behind transparent pictures of a folder, by name or as #rrggbb.
        out: An output folder, which may lie within the source; its pictures are not data.

    Raises:
        SpeeDiffError: If the data are invalid; the error names the file and the fault.
        OSError: If a file cannot be read.
    """
    return _check(source, _read_training(source, input_size, background, out), input_size)


def load_test(source: str, *, input_size: int | None = None) -> Dataset | None:
    """Reads the test part of the data, as `load` does; None if there is none."""
    folder = FASHION_MNIST if source == "fashion-mnist" else Path(source)
    raw: Raw
    if source == "openclipart":
        raw = openclipart.read("test", input_size)
    elif idx.is_present(folder, "test"):
        raw = _with_names(idx.read(folder, "test"), source)
    elif cifar.is_present(folder, "test"):
        raw = cifar.read(folder, "test")
    else:
        return None
    return _check(source, raw, input_size)


def _read_training(source: str, input_size: int | None, background: str, out: Path | None) -> Raw:
    if _is_pictures(source):
        return pictures.read(Path(source), input_size, background, out)
    if background != WHITE:
        raise SpeeDiffValueError(f"--background applies only to a folder of pictures, got {source}")
    if source == "fashion-mnist":
        if not idx.is_present(FASHION_MNIST, "train"):
            raise SpeeDiffError(
                "fashion-mnist needs Debian's package: apt-get install dataset-fashion-mnist, "
                "or pass the folder with its idx files"
            )
        return _with_names(idx.read(FASHION_MNIST, "train"), source)
    if source == "openclipart":
        return openclipart.read("train", input_size)
    if source == "digits":
        return _digits()
    path = Path(source)
    if path.is_dir():
        if idx.is_present(path, "train"):
            return idx.read(path, "train")
        return cifar.read(path, "train")
    if path.suffix in (".npy", ".npz"):
        return arrays.read(path)
    raise unknown_name("DATA", source, KINDS)


def _is_pictures(source: str) -> bool:
    """Whether this is a folder without idx or CIFAR-10 files."""
    path = Path(source)
    return (
        source not in ("fashion-mnist", "openclipart", "digits")
        and path.is_dir()
        and not (idx.is_present(path, "train") or cifar.is_present(path, "train"))
    )


def _with_names(raw: Raw, source: str) -> Raw:
    return raw._replace(names=FASHION_MNIST_CLASSES) if source == "fashion-mnist" else raw


def _digits() -> Raw:
    """scikit-learn's 1797 digits of 8×8 pixels with values 0…16."""
    bunch = extras.load("sklearn.datasets", "digits", install="scikit-learn").load_digits()
    values = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    return Raw(values[:, None], bunch.target, tuple(map(str, range(10))))


def _check(source: str, raw: Raw, input_size: int | None) -> Dataset:
    """Checks that a trainer can use the data."""
    values, labels, names = raw[:3]
    if values.ndim != 4 or 0 in values.shape:
        shape = "(n, c, h, w)"
        raise SpeeDiffValueError(f"{source} must hold images or latents of shape {shape}, got {values.shape}")
    height, width = values.shape[2:]
    if height != width:
        raise SpeeDiffValueError(f"{source} must hold square images or latents, got {height}×{width}")
    if input_size not in (None, height):
        raise SpeeDiffValueError(f"--input-size must be {height}, the size of {source}, got {input_size}")
    values = np.ascontiguousarray(values)
    if values.dtype.kind == "f":
        _check_finite(source, values)
    num_classes = None
    if labels is not None:
        labels = _check_labels(source, labels, len(values), MAX_CLASSES if names is None else len(names))
        num_classes = int(labels.max()) + 1 if names is None else len(names)
    first = text_names.one_line(f"{source}: {_described(raw, values, labels, num_classes)}")
    return Dataset(values, labels, num_classes, names, (first, *raw.notes))


def _described(raw: Raw, values: Values, labels: Labels | None, num_classes: int | None) -> str:
    """The summary: counts, kind and classes."""
    count, channels, height, width = values.shape
    is_images = values.dtype == np.uint8
    kind = ("gray" if channels == 1 else "in color") if is_images else f"{channels} channels"
    nouns = ("image", "images") if is_images else ("latent", "latents")
    parts = [raw.counted or counted(count, *nouns), f"{height}×{width}", kind]
    if labels is None:
        return ", ".join([*parts, "no labels"])
    counts = np.bincount(labels, minlength=num_classes or 0)[:SHOWN_CLASSES]
    names = map(str, range(len(counts))) if raw.names is None else raw.names
    shown = ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=False))
    more = ", …" if len(counts) < (num_classes or 0) else ""
    return ", ".join([*parts, f"{counted(num_classes or 0, 'class', 'classes')} ({shown}{more})"])


def _check_finite(source: str, values: Values) -> None:
    for index, value in enumerate(
        values
    ):  # One at a time: a table of bools would need a quarter more memory.
        finite = np.isfinite(value)
        if not finite.all():
            raise SpeeDiffValueError(
                f"{source} must hold finite numbers, got {value[~finite][0]} in entry {index}"
            )


def _check_labels(source: str, labels: Labels, count: int, classes: int) -> Labels:
    if labels.dtype.kind not in "iu":
        raise SpeeDiffTypeError(f"labels of {source} must be integers, got {labels.dtype}")
    if labels.shape != (count,):
        raise SpeeDiffValueError(f"labels of {source} must have the shape ({count},), got {labels.shape}")
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        index = int(wrong.argmax())
        raise SpeeDiffValueError(
            f"labels of {source} must be in [0, {classes}), got {labels[index]} for entry {index}"
        )
    return labels.astype(np.int64)
