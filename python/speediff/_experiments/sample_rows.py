"""Rows of samples, kept as small pictures beside the result files."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support import extras
from .._support.replacement import replace_bytes
from . import results

if TYPE_CHECKING:
    from pathlib import Path

    from .._runs.run import Run
    from .job import Job
    from .meter import Meter

    Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def check() -> None:
    """Raises SpeeDiffError if Pillow is missing."""
    extras.load("PIL.Image", "samples.png")


def is_due(step: int, every: int, last: int) -> bool:
    """Whether a row is drawn after a step: after 1, 2, 4, 8, … times `every` steps, and after the last one.

    So runs of different lengths have rows at the same steps.
    """
    times, rest = divmod(step, every)
    return step >= last or (rest == 0 and times & (times - 1) == 0)


def write(folder: Path, job: Job, step: int, meter: Meter, run: Run) -> None:
    """Draws a row and writes it."""
    images = meter.samples(run, meter.row_length).images
    strip = np.concatenate(list(images), axis=-1)  # (c, h, n·w)
    pixels = strip[0] if len(strip) == 1 else np.moveaxis(strip, 0, -1)
    file = io.BytesIO()
    extras.load("PIL.Image", "samples.png").fromarray(pixels).save(file, "PNG")
    path = _path(folder, job, step)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, file.getbuffer())


def read(folder: Path, job: Job) -> dict[int, Bytes]:
    """A run's rows by step, each (h, n·w, 3)."""
    library = extras.load("PIL.Image", "samples.png")
    found = {}
    example = _path(folder, job, 0)
    pattern = re.compile(re.escape(example.name).replace("0000000", r"(\d{7,})"))
    for path in sorted(example.parent.glob("*.png")) if example.parent.is_dir() else ():
        name = pattern.fullmatch(path.name)
        if name:
            with library.open(path) as picture:
                found[int(name[1])] = np.asarray(picture.convert("RGB"))
    return found


def _path(folder: Path, job: Job, step: int) -> Path:
    return results.path(folder, job, f"{step:07}.png")
