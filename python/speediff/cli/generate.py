"""`speediff generate`: images from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._distributed import launchers
from .._runs import description as run_description
from .._runs import run as runs
from .._runs.folders import NewFolder
from .._runs.generated_files import GeneratedFiles
from .._runs.samples import MAX_ROWS, Rows
from .._support import arguments, progress, text_names
from .._trainer.options import PRECISIONS
from ..errors import SpeeDiffValueError
from . import subcommand

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from .._data.raw import Labels
    from .._runs.run_settings import Settings
    from ..training import Trainer

METHODS = ("ddpm", "ddim")
DESCRIPTION = """\
Generates images from a checkpoint of `speediff train`, with the EMA weights. Image i has the seed --seed + i
and is the same whatever else is in the batch.
"""
EPILOG = """\
examples:
  speediff generate runs/fashion/run.safetensors
  speediff generate runs/fashion/run.safetensors --classes 'coat,ankle boot' --n 4 --cfg-scale 3
  speediff generate runs/fashion/run.safetensors --labels 0,1,2 --method ddim --steps 50 --out images/
  speediff generate runs/latents/run.safetensors --n 16 --out latents.npy
"""


def add_to(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Adds the sub-command to the command line."""
    parser = subcommand.add(
        subparsers,
        "generate",
        run,
        summary="generate images from a checkpoint",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("checkpoint", metavar="RUN.safetensors", help="a checkpoint of `speediff train`")
    what = parser.add_argument_group("what")
    labels = what.add_mutually_exclusive_group()
    labels.add_argument("--labels", metavar="0,1,…", help="labels by number (default: all)")
    labels.add_argument(
        "--classes",
        metavar="NAME,…",
        help="labels by name, as in run.json; put a name that contains a comma in double quotes",
    )
    what.add_argument(
        "--n",
        metavar="N",
        type=int,
        default=8,
        help="images per label, or in all without labels (default: 8)",
    )
    what.add_argument("--seed", metavar="N", type=int, default=0, help="seed of the first image (default: 0)")
    how = parser.add_argument_group("how")
    how.add_argument("--method", metavar="NAME", default="ddpm", help="ddpm or ddim (default: ddpm)")
    how.add_argument("--steps", metavar="N", type=int, help="denoising steps (default: 250, or T if less)")
    how.add_argument("--eta", metavar="X", type=float, default=0.0, help="noise of ddim (default: 0)")
    how.add_argument(
        "--cfg-scale", metavar="X", type=float, default=1.0, help="guidance scale; 1 is none (default: 1)"
    )
    how.add_argument("--clip", action="store_true", help="clip each step's prediction of x₀ to [-1, 1]")
    how.add_argument("--no-ema", action="store_true", help="use the raw weights instead of the EMA weights")
    how.add_argument(
        "--threads", metavar="N", type=int, help="threads (default: the processors available to this process)"
    )
    how.add_argument(
        "--precision", metavar="NAME", help=f"{', '.join(PRECISIONS)} (default: that of the run)"
    )
    parser.add_argument(
        "--out",
        metavar="PATH",
        default="samples.png",
        help="a grid (.png), an array (.npy), or a folder of one PNG per image (default: samples.png)",
    )


def run(options: argparse.Namespace) -> None:
    """Generates images and writes them."""
    launchers.check_alone("speediff generate")
    progress.check()
    arguments.integer("--n", options.n, least=1)
    arguments.choice("--method", options.method, METHODS)
    out = GeneratedFiles(options.out)
    path = Path(options.checkpoint)
    names, settings = _known(path)
    with runs.load_trainer(path, settings, threads=options.threads, precision=options.precision) as trainer:
        if names is not None and len(names) != trainer.num_classes:
            raise SpeeDiffValueError(
                f"{path.with_name(run_description.NAME)} must name the {trainer.num_classes} classes of "
                f"{path.name}, got {len(names)}"
            )
        rows = Rows.of(_labels(options, trainer, names), names)
        labels = None if rows.labels is None else np.repeat(rows.labels, options.n)
        count, size = options.n if labels is None else len(labels), trainer.input_size
        with NewFolder(out.folder):
            out.rehearse((count, trainer.in_channels, size, size), rows, options.seed)
            out.write(_generated(trainer, labels, options), rows, options.seed)
    print(options.out)


def _known(checkpoint: Path) -> tuple[Sequence[str] | None, Settings | None]:
    """The run's class names and settings, if known."""
    try:
        description = run_description.read(checkpoint)
    except FileNotFoundError:
        return None, None
    return description["data"]["class_names"], description["settings"]


def _generated(trainer: Trainer, labels: Labels | None, options: argparse.Namespace) -> Any:
    return trainer.generate(
        labels,
        n=options.n if labels is None else None,
        steps=min(250, trainer.schedule.steps) if options.steps is None else options.steps,
        method=options.method,
        eta=options.eta,
        cfg_scale=options.cfg_scale,
        seed=options.seed,
        ema=not options.no_ema,
        clip=options.clip,
        progress=True,
    )


def _labels(options: argparse.Namespace, trainer: Trainer, names: Sequence[str] | None) -> Labels | None:
    """The requested labels, one per row of the grid; None for an unconditional network."""
    if trainer.num_classes is None:
        for flag in ("labels", "classes"):
            if getattr(options, flag) is not None:
                raise SpeeDiffValueError(f"--{flag} does not apply to a network without labels")
        return None
    if options.classes is not None:
        if names is None:
            raise SpeeDiffValueError(
                "--classes needs the class names of run.json, which has none: use --labels"
            )
        classes = text_names.split("--classes", options.classes)
        return np.array([text_names.find("--classes", name, names) for name in classes])
    if options.labels is not None:
        return np.array([_label(text, trainer.num_classes) for text in options.labels.split(",")])
    if trainer.num_classes > 10 * MAX_ROWS:
        raise SpeeDiffValueError(f"--labels must be given for a network of {trainer.num_classes} classes")
    return np.arange(trainer.num_classes)


def _label(text: str, classes: int) -> int:
    if not text.strip().isdecimal() or int(text) >= classes:
        raise SpeeDiffValueError(f"--labels must be numbers in [0, {classes}), got {text!r}")
    return int(text)
