"""A grid of samples from a trained network, one row per class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support import arguments
from . import picture_grids

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from .._data.raw import Labels
    from .run import Run

MAX_ROWS = 10
"""The largest number of rows; with more classes, only some are shown."""
LEARNED_VARIANCE: dict[str, Any] = {"method": "ddpm"}
SMALL_VARIANCE: dict[str, Any] = {"method": "ddim", "eta": 1.0}
"""Ancestral sampling with the posterior variance instead of β: less grain with few steps."""


@dataclass(frozen=True)
class Rows:
    """The rows of a grid."""

    labels: Labels | None
    """The label of each, int64; None for an unconditional network."""
    names: list[str]
    """The name of each; empty for an unconditional network."""

    @staticmethod
    def of(labels: Labels | None, class_names: Sequence[str] | None) -> Rows:
        """Rows for these labels, named by number if there are no class names."""
        shown = () if labels is None else labels
        return Rows(labels, [str(label) if class_names is None else class_names[label] for label in shown])


def add_to(parser: argparse.ArgumentParser) -> None:
    """Adds the flags for the sample grid."""
    group = parser.add_argument_group("samples.png")
    group.add_argument(
        "--samples", metavar="N", type=int, default=8, help="images per class, 0 for none (default: 8)"
    )
    group.add_argument(
        "--sample-steps", metavar="N", type=int, default=50, help="denoising steps, ancestral (default: 50)"
    )
    group.add_argument(
        "--cfg-scale", metavar="X", type=float, default=2.0, help="guidance scale, 1 for none (default: 2)"
    )


def check(options: argparse.Namespace) -> None:
    """Raises if the flags are invalid or Pillow is missing."""
    arguments.integer("--samples", options.samples, least=0)
    arguments.integer("--sample-steps", options.sample_steps, least=2)
    if options.samples:
        picture_grids.grid(np.zeros((1, 1, 1, 8, 8), np.float32))


def rehearse(run: Run, options: argparse.Namespace) -> None:
    """Raises if the grid cannot be drawn or encoded. Called before training."""
    rows = _rows(run, options)
    if rows is not None:
        shape = (len(rows.names) or MAX_ROWS, options.samples, *run.data.values.shape[1:])
        picture_grids.encoded(_grid(run, np.zeros(shape, np.float32), rows))


def draw(run: Run, options: argparse.Namespace) -> Any:
    """A grid of the run's samples; None if it is disabled or the data are latents."""
    rows = _rows(run, options)
    if rows is None:
        return None
    trainer, count = run.trainer, len(rows.names) or MAX_ROWS
    labels = None if rows.labels is None else np.repeat(rows.labels, options.samples)
    guided = labels is not None and run.settings["label_dropout"] > 0
    images = trainer.generate(
        labels,
        n=None if labels is not None else count * options.samples,
        steps=min(options.sample_steps, trainer.schedule.steps),
        clip=True,
        **(LEARNED_VARIANCE if trainer.learn_sigma else SMALL_VARIANCE),
        cfg_scale=options.cfg_scale if guided else 1.0,
        seed=run.settings["seed"],
        progress=True,
    )
    return _grid(run, images.reshape(count, options.samples, *images.shape[1:]), rows)


def write(run: Run, options: argparse.Namespace, name: str) -> Path | None:
    """Draws the grid to a file in the run's folder; None if there is no grid."""
    picture = draw(run, options)
    if picture is None:
        return None
    path = run.folder / name
    picture_grids.write(picture, path)
    return path


def _rows(run: Run, options: argparse.Namespace) -> Rows | None:
    """The rows of the grid; None if no grid is drawn."""
    if not options.samples or not run.data.is_images:
        return None
    classes = run.trainer.num_classes
    if classes is None:
        return Rows.of(None, None)
    shown = np.unique(np.linspace(0, classes - 1, min(classes, MAX_ROWS)).astype(np.int64))
    return Rows.of(shown, run.data.class_names)


def _grid(run: Run, images: Any, rows: Rows) -> Any:
    title = f"{run.settings['method']}, {run.step} steps"
    return picture_grids.grid(images, rows.names, title, numbers=rows.labels)
