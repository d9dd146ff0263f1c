"""Saved statistics: mean and covariance in a .npz file, as FID programs write it.

    mu        (d,)
    sigma     (d, d)

`pytorch-fid --save-stats`, dgm-eval and edm write these. SpeeDiff adds what the numbers stand for:

    n         the number of images
    about     JSON: the extractor's label, the data, and the floor with its number of images
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..._data import arrays, npy_files
from ..._support.reading import reading
from ..._support.replacement import replace_bytes
from ...errors import SpeeDiffValueError
from .metrics import Statistics
from .reference import Reference

if TYPE_CHECKING:
    from pathlib import Path

    from .extractor import Extractor

MEMBERS = {"mu.npy", "sigma.npy"}
WHAT = "a file with mu and sigma of real images"


class Saved(NamedTuple):
    """A file of statistics."""

    reference: Reference
    about: dict[str, Any]
    """`extractor`, `data`, and `floor` with `fd`, `n` and `what`; empty in files of other programs."""


def is_one(path: Path) -> bool:
    """Whether a file holds statistics."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(4) not in arrays.ARCHIVE:
            return False
    with reading(path, npy_files.WHOLE), zipfile.ZipFile(path) as archive:
        return set(archive.namelist()) >= MEMBERS


def write(path: Path, statistics: Statistics, about: dict[str, Any]) -> None:
    """Writes a file that other programs also read."""
    content = io.BytesIO()
    np.savez(
        content,
        mu=statistics.mu,
        sigma=statistics.sigma,
        n=np.array(statistics.n),
        about=np.array(json.dumps(about)),
    )
    replace_bytes(path, content.getbuffer())


def read(path: Path, extractor: Extractor) -> Saved:
    """Reads a file.

    Args:
        path: The file.
        extractor: What the features of the images to evaluate come from.

    Raises:
        SpeeDiffValueError: If the file is damaged, or its numbers are those of another extractor.
        OSError: If it cannot be read.
    """
    with reading(path, WHAT), zipfile.ZipFile(path) as archive:
        found = {
            name: npy_files.parse(path, file, archive.getinfo(name).file_size)
            for name in archive.namelist()
            if name in MEMBERS | {"n.npy", "about.npy"}
            for file in [archive.open(name)]
        }
        mu, sigma = found["mu.npy"], found["sigma.npy"]
        about = json.loads(str(found["about.npy"])) if "about.npy" in found else {}
        n = int(found["n.npy"]) if "n.npy" in found else 0
        label = about.get("extractor", extractor.label)
    _check(path, mu, sigma)
    if label != extractor.label:
        raise SpeeDiffValueError(f"{path} must hold statistics of {extractor.label}, got those of {label}")
    if len(mu) != extractor.dimension:
        raise SpeeDiffValueError(
            f"{path} must hold statistics of {extractor.dimension} numbers, as {extractor.label} extracts, "
            f"got {len(mu)}"
        )
    statistics = Statistics(mu, sigma, n)
    return Saved(Reference(n, known_statistics=statistics), about)


def _check(path: Path, mu: Any, sigma: Any) -> None:
    for name, value in (("mu", mu), ("sigma", sigma)):
        if value.dtype not in (np.float32, np.float64) or not np.isfinite(value).all():
            raise SpeeDiffValueError(
                f"{path} must hold {name} as finite float32 or float64, got {value.dtype}"
            )
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
        raise SpeeDiffValueError(
            f"{path} must hold mu (d,) and sigma (d, d), got {mu.shape} and {sigma.shape}"
        )
