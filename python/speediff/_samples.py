"""What a trained network generates, as a grid with a row for each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arguments, _pictures

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from ._run import Run

MAX_ROWS = 10
"""More classes than this are shown by some of them."""
LEARNED_VARIANCE: dict[str, Any] = {"method": "ddpm"}
SMALL_VARIANCE: dict[str, Any] = {"method": "ddim", "eta": 1.0}
"""Ancestral sampling, too, with the posterior's variance instead of β: less grain after few steps."""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the grid that is drawn at the end."""
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
    """Raises if the flags are wrong, or a picture could not be drawn at the end."""
    _arguments.integer("--samples", options.samples, least=0)
    _arguments.integer("--sample-steps", options.sample_steps, least=2)
    if options.samples:
        _pictures.grid(np.zeros((1, 1, 1, 8, 8), np.float32))


def draw(run: Run, options: argparse.Namespace, title: str) -> Any:
    """A grid of the run's samples; None where it is not wanted, or what is generated is no picture."""
    if not options.samples or not run.data.is_images:
        return None
    trainer, classes = run.trainer, run.trainer.num_classes
    if classes is None:
        labels, names = None, []
    else:
        shown = np.unique(np.linspace(0, classes - 1, min(classes, MAX_ROWS)).astype(np.int64))
        labels = np.repeat(shown, options.samples)
        names = [label_name(label, run.data.class_names) for label in shown]
    rows = len(names) or MAX_ROWS
    guided = classes is not None and run.settings["label_dropout"] > 0
    images = trainer.generate(
        labels,
        n=None if labels is not None else rows * options.samples,
        steps=min(options.sample_steps, trainer.schedule.steps),
        clip=True,
        **(LEARNED_VARIANCE if trainer.learn_sigma else SMALL_VARIANCE),
        cfg_scale=options.cfg_scale if guided else 1.0,
        seed=run.settings["seed"],
        progress=True,
    )
    return _pictures.grid(images.reshape(rows, options.samples, *images.shape[1:]), names, title)


def label_name(label: int, class_names: Sequence[str] | None) -> str:
    """What to call a class."""
    return str(label) if class_names is None else class_names[label]
