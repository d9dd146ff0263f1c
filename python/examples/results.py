"""What the class-conditional examples show in the end: samples of every class, and their losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import common
import evaluation
import report
import torch

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from loop import Trained
    from torch import Tensor

_MOST_ROWS = 10


def show_classes(
    args: argparse.Namespace,
    trained: Trained,
    title: str,
    predict: evaluation.Predict,
    scheduler: Any,
    validation: Mapping[str, float],
    device: torch.device,
    *,
    shape: Sequence[int] = (1, 28, 28),
    class_names: Sequence[str] = common.CLASS_NAMES,
    decode: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Draw samples of every class with guidance, then write and print everything.

    Args:
        args: Those of the example.
        trained: What its run gave.
        title: What was trained, and on what.
        predict: The network with its EMA weights.
        scheduler: The one of the training, for DDPM or flow matching.
        validation: The loss ``overall`` and in bands.
        device: The network's.
        shape: That of one sample.
        class_names: One for each label; the first ten are drawn.
        decode: Makes images of latents.
    """
    names = class_names[:_MOST_ROWS]
    labels = torch.arange(len(names), device=device).repeat_interleave(args.columns)
    null = torch.full_like(labels, len(class_names))
    samples = evaluation.generate(
        evaluation.guided(predict, labels, null, args.cfg_scale),
        (len(labels), *shape), scheduler, args.sample_steps, args.seed, device,
    )  # fmt: skip
    images = samples if decode is None else decode(samples)
    grid = images.unflatten(0, (len(names), args.columns))
    report.show(args, trained, title, grid, names, validation)
