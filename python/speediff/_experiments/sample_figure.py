"""The samples of all arms side by side: a row per arm, a group of columns per step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._runs import picture_grids
from . import sample_rows

if TYPE_CHECKING:
    from .analysis import Analysis
    from .sample_rows import Bytes

GROUPS = 3
"""Steps that are shown, the last common one among them."""


def picture(analysis: Analysis) -> Any:
    """The picture of each arm's first seed; None without samples. Images of a column have the same noise."""
    rows: dict[str, dict[int, Bytes]] = {}
    for arm, runs in analysis.runs.items():
        for job, _ in runs[:1]:
            found = sample_rows.read(analysis.experiment.folder, job)
            if found:
                rows[arm] = found
    common = sorted(set.intersection(*(set(found) for found in rows.values()))) if rows else []
    if not common:
        return None
    shown = [step for step in common if step <= common[-1]][-GROUPS:]
    # Images are square. Their number may have changed.
    length = min(row.shape[1] // row.shape[0] for found in rows.values() for row in found.values())
    grids = []
    for index, step in enumerate(shown):
        # (arms, n, c, h, w) in [-1, 1], which is what a grid takes.
        cells = np.stack([_images(found[step], length) for found in rows.values()])
        grids.append(picture_grids.grid(cells, list(rows) if index == 0 else (), f"{step} steps"))
    return picture_grids.beside(grids)


def _images(row: Bytes, length: int) -> Any:
    """The first images of a row, (length, 3, h, w)."""
    side = row.shape[0]
    images = row[:, : length * side].reshape(side, length, side, 3).transpose(1, 3, 0, 2)
    return images.astype(np.float32) / 127.5 - 1
