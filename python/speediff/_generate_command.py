"""`speediff generate`: images from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arguments, _launchers, _pictures, _progress, _run, _subcommand
from ._samples import MAX_ROWS, label_name
from .errors import SpeeDiffValueError, unknown_name

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from ._dataset_arrays import Labels
    from .training import Trainer

METHODS = ("ddpm", "ddim")
PICTURE_CHANNELS = (1, 3)
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
    parser = _subcommand.add(
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
        help="labels by name, as in the run's run.json; put a name with a comma in double quotes",
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
    parser.add_argument(
        "--out",
        metavar="PATH",
        default="samples.png",
        help="a grid (.png), an array (.npy), or a folder of one PNG per image (default: samples.png)",
    )


def run(options: argparse.Namespace) -> None:
    """Generates, and writes what was generated."""
    _launchers.check_alone("speediff generate")
    _progress.check()
    _arguments.integer("--n", options.n, least=1)
    _arguments.choice("--method", options.method, METHODS)
    out = _Output(options.out)
    path = Path(options.checkpoint)
    description = path.parent / _run.DESCRIPTION
    names, settings = None, None
    if description.exists():
        told = _run.read_description(description)
        names, settings = told["data"]["class_names"], told["settings"]
    with _run.load_trainer(path, settings, threads=options.threads) as trainer:
        out.check(trainer)
        if names is not None and len(names) != trainer.num_classes:
            raise SpeeDiffValueError(
                f"{description} must name the {trainer.num_classes} classes of {path.name}, got {len(names)}"
            )
        rows = _labels(options, trainer, names)
        labels = None if rows is None else np.repeat(rows, options.n)
        images = trainer.generate(
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
    row_names = [] if rows is None else [label_name(label, names) for label in rows]
    out.write(images, row_names, options.seed)
    print(options.out)


def _labels(options: argparse.Namespace, trainer: Trainer, names: Sequence[str] | None) -> Labels | None:
    """The labels that are asked for, a row of the grid each; None where the network knows none."""
    if trainer.num_classes is None:
        for flag in ("labels", "classes"):
            if getattr(options, flag) is not None:
                raise SpeeDiffValueError(f"--{flag} does not apply to a network without labels")
        return None
    if options.classes is not None:
        if names is None:
            raise SpeeDiffValueError("--classes must be names in run.json, which has none: use --labels")
        return np.array([_class(name.strip(), names) for name in options.classes.split(",")])
    if options.labels is not None:
        return np.array([_label(text, trainer.num_classes) for text in options.labels.split(",")])
    if trainer.num_classes > 10 * MAX_ROWS:
        raise SpeeDiffValueError(f"--labels must be given for a network of {trainer.num_classes} classes")
    return np.arange(trainer.num_classes)


def _class(name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise unknown_name("--classes", name, names)
    return names.index(name)


def _label(text: str, classes: int) -> int:
    if not text.strip().isdecimal() or int(text) >= classes:
        raise SpeeDiffValueError(f"--labels must be numbers in [0, {classes}), got {text!r}")
    return int(text)


class _Output:
    """Where the images go, and in which form: by the ending of the name."""

    def __init__(self, name: str) -> None:
        self.path = Path(name)
        ending = self.path.suffix.lower()
        self.is_folder = name.endswith("/") or self.path.is_dir() or not ending
        if not self.is_folder and ending not in (".png", ".npy"):
            raise SpeeDiffValueError(f"--out must be a folder or end in .png or .npy, got {name!r}")
        self.is_array = not self.is_folder and ending == ".npy"
        if not self.is_array:
            _pictures.grid(np.zeros((1, 1, 1, 8, 8), np.float32))  # Raises without Pillow.

    def check(self, trainer: Trainer) -> None:
        """Raises if what the trainer generates cannot go there."""
        if trainer.in_channels not in PICTURE_CHANNELS and not self.is_array:
            raise SpeeDiffValueError(
                f"--out must end in .npy for {trainer.in_channels} channels, which are no picture, "
                f"got {str(self.path)!r}"
            )
        folder = self.path if self.is_folder else self.path.parent
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, images: Any, row_names: Sequence[str], first_seed: int) -> None:
        """Writes the images; as a grid they have a row for each name, or rows of ten."""
        if self.is_array:
            np.save(self.path, images)
            return
        columns = len(images) // len(row_names) if row_names else min(len(images), 10)
        if self.is_folder:
            for index, image in enumerate(images):
                name = f"-{row_names[index // columns].replace('/', '-')}" if row_names else ""
                _pictures.save(image, self.path / f"{index:05}{name}-seed{first_seed + index}.png")
            return
        rows = -(-len(images) // columns)
        blank = np.ones((rows * columns - len(images), *images.shape[1:]), images.dtype)
        cells = np.concatenate((images, blank)).reshape(rows, columns, *images.shape[1:])
        _pictures.grid(cells, row_names).save(self.path)
