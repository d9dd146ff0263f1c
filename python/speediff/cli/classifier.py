"""`speediff classifier`: trains a small classifier, whose features `speediff evaluate` compares images in."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._data.pictures import WHITE, color
from .._distributed import launchers
from .._runs import schedule_flags, validation
from .._support import arguments, extras, progress, replacement
from . import allocation, subcommand, training_flags

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Trains a small convolutional classifier of labelled images. `speediff evaluate --features classifier=FILE`
compares images in its features. The package has one of fashion-mnist and one of openclipart.

It needs PyTorch, and is made for images of up to 32 pixels. The accuracy is that on the data's test images,
or on a tenth kept back. The same seed, threads and PyTorch give the same file.
"""
EPILOG = """\
examples:
  speediff classifier digits
  speediff classifier pictures/ --input-size 32 --flip --out pictures.safetensors
"""


def add_to(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Adds the sub-command to the command line."""
    parser = subcommand.add(
        subparsers,
        "classifier",
        run,
        summary="train a small classifier, for `speediff evaluate`",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    training_flags.add_source(parser)
    parser.add_argument("--flip", action="store_true", help="mirror half of the batches")
    parser.add_argument("--steps", metavar="N", type=int, help="batches of 128 images (default: 2340)")
    parser.add_argument(
        "--seed", metavar="N", type=int, default=0, help="seed of all randomness (default: 0)"
    )
    parser.add_argument("--threads", metavar="N", type=int, help="threads (default: PyTorch's choice)")
    parser.add_argument(
        "--out",
        metavar="FILE",
        default="classifier.safetensors",
        help="the file to write (default: classifier.safetensors)",
    )


def run(options: argparse.Namespace) -> None:
    """Trains a classifier and writes it."""
    launchers.check_alone("speediff classifier")
    progress.check()
    training = extras.load_own(
        "torch._evaluation.classifier_training", "a classifier", install=extras.EVALUATE
    )
    files = extras.load_own("torch._evaluation.classifier", "a classifier", install=extras.EVALUATE)
    out = Path(options.out)
    steps = training.STEPS if options.steps is None else options.steps
    arguments.integer("--steps", steps, least=training.LEAST_STEPS)
    arguments.integer("--seed", options.seed, least=0, end=training.SEEDS)
    if options.threads is not None:
        arguments.integer("--threads", options.threads, least=1)
    replacement.check(out)
    background = WHITE if options.background is None else color(options.background)
    settings = {"input_size": options.input_size, "background": background, "unconditional": False}
    data, test = validation.split(options.data, settings, out)
    allocation.reuse_memory()
    trained = training.train(
        data,
        test,
        name=options.data,
        seed=options.seed,
        steps=steps,
        flip=options.flip,
        threads=options.threads,
        command=_command(options),
    )
    files.save(out, trained.classifier.facts, trained.tensors)
    print(f"{out}: {trained.classifier.label}")


def _command(options: argparse.Namespace) -> str:
    """The command, with the flags that change the weights."""
    parts = ["speediff", "classifier", options.data]
    for name in ("input_size", "background", "steps", "seed", "threads"):
        value = getattr(options, name)
        parts += [] if value is None else [schedule_flags.flag(name), str(value)]
    return shlex.join([*parts, "--flip"] if options.flip else parts)
