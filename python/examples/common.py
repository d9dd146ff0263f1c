"""The flags that every example has. This file imports only the standard library, so that --help is quick.

The training loop is in ``loop.py``, ``--method`` in ``methods.py``, images and all randomness in
``data.py``, validation loss and samples in ``evaluation.py``, files and pictures in ``report.py``,
checkpoints and processes in ``checkpoint.py`` and ``processes.py``.
"""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # Debian: dataset-fashion-mnist
CLASS_NAMES = (
    "T-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
# A resumed run may change these. All others determine the outcome of a step, and must stay.
_FREE = {
    "steps", "out", "resume", "tiny", "checkpoint_every", "data", "device", "threads",
    "sample_steps", "cfg_scale", "columns", "validation_images",
}  # fmt: skip


def integer(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """An argparse type: an integer in [minimum, maximum]."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be an integer, got {text!r}") from None
        if value < minimum or (maximum is not None and value > maximum):
            bounds = f"at least {minimum}" if maximum is None else f"in [{minimum}, {maximum}]"
            raise argparse.ArgumentTypeError(f"must be {bounds}, got {value}")
        return value

    return convert


def real(minimum: float, below: float = math.inf, *, open_: bool = False) -> Callable[[str], float]:
    """An argparse type: a number in [minimum, below), or in (minimum, below) if ``open_``."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None
        if not minimum <= value < below or (open_ and value == minimum):  # NaN fails, too
            interval = f"{'(' if open_ else '['}{minimum:g}, {below:g})"
            raise argparse.ArgumentTypeError(f"must be in {interval}, got {text}")
        return value

    return convert


def flags(
    description: str | None, *, data: Path | None = FASHION_MNIST, guidance: bool = True
) -> argparse.ArgumentParser:
    """The flags common to every example; an example adds its own, then calls :func:`parse`.

    An example overrides defaults with ``parser.set_defaults``.

    Args:
        description: The description of the script, for ``--help``.
        data: The default of ``--data``; None: no such flag.
        guidance: Whether to add the flags of classifier-free guidance.
    """

    class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
        def _get_help_string(self, action: argparse.Action) -> str | None:
            return super()._get_help_string(action) if action.default else action.help

    parser = argparse.ArgumentParser(description=description, formatter_class=Formatter)
    add = parser.add_argument_group("run").add_argument
    method = (
        "how to choose timesteps and loss weights: speed, official, any sampling or weighting of "
        "`speediff methods`, with parameters as in 'laplace(scale=1)', or sampling+weighting"
    )
    add("--method", default="speed", metavar="METHOD", help=method)
    add("--steps", type=integer(1), default=2500, metavar="N", help="total number of optimizer steps")
    add("--out", type=Path, metavar="DIR", help="output folder")
    add("--resume", action="store_true", help="continue the checkpoint in --out, if there is one")
    add("--tiny", action="store_true", help="small defaults, for a smoke test")
    add("--seed", type=integer(0, 2**63 - 1), default=0, metavar="N", help="seed of all randomness")
    add("--checkpoint-every", type=integer(1), default=250, metavar="N", help="save every N steps")
    if data is not None:
        add("--data", type=Path, default=data, metavar="DIR", help="folder with Fashion-MNIST's idx.gz files")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto uses cuda if available")
    add("--threads", type=integer(1), metavar="N", help="per process (default: a share of the cores)")
    add = parser.add_argument_group("training").add_argument
    add("--batch-size", type=integer(1), default=32, metavar="N", help="total over all processes")
    add("--lr", type=real(0, open_=True), default=5e-3, metavar="X", help="peak learning rate of AdamW")
    add(
        "--ema-decay",
        type=real(0, 1),
        default=0.999,
        metavar="X",
        help="decay of the EMA; lower at the start",
    )
    if guidance:
        add("--label-dropout", type=real(0, 1), default=0.1, metavar="X", help="label dropout, for guidance")
    add = parser.add_argument_group("results").add_argument
    add("--sample-steps", type=integer(1, 1000), default=50, metavar="N", help="denoising steps per sample")
    if guidance:
        add("--cfg-scale", type=real(0), default=2.0, metavar="X", help="guidance scale; 1 is none")
    add("--columns", type=integer(1), default=10, metavar="N", help="samples per row")
    add("--validation-images", type=integer(3, 10_000), default=2000, metavar="N", help="at most 10,000")
    return parser


def parse(parser: argparse.ArgumentParser, tiny: dict[str, Any], script: str) -> argparse.Namespace:
    """Parse the command line; ``--tiny`` only changes defaults, so explicit flags still win."""
    if parser.parse_known_args()[0].tiny:
        parser.set_defaults(**tiny)
    args = parser.parse_args()
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if args.batch_size % world_size:
        parser.error(
            f"argument --batch-size: must be a multiple of the {world_size} processes, got {args.batch_size}"
        )
    if args.out is None:
        # A method may have parameters, but a folder's name should have neither parentheses nor blanks.
        method = "".join(c if c.isalnum() or c in "+.-_" else "_" for c in args.method).strip("_")
        args.out = Path("runs") / f"{script.removeprefix('train_')}_{method}{'_tiny' if args.tiny else ''}"
    return args


def fashion_mnist_files(folder: Path, part: str) -> tuple[Path, Path]:
    """Images and labels of ``part``, which is ``train`` or ``t10k``."""
    return folder / f"{part}-images-idx3-ubyte.gz", folder / f"{part}-labels-idx1-ubyte.gz"


def is_fashion_mnist(folder: Path) -> bool:
    """Whether ``folder`` holds all four files of the data set."""
    parts = ("train", "t10k")
    return all(path.is_file() for part in parts for path in fashion_mnist_files(folder, part))


def has_pictures(folder: Path) -> bool:
    """Whether ``folder``, or its part ``train``, has a sub-folder with a picture in it."""
    patterns = ("*/*", "train/*/*")
    return any(path.suffix.lower() in PICTURES for pattern in patterns for path in folder.glob(pattern))


def check_fashion_mnist(parser: argparse.ArgumentParser, folder: Path) -> None:
    """End the program with a message unless ``folder`` holds Fashion-MNIST."""
    if not is_fashion_mnist(folder):
        parser.error(
            f"no Fashion-MNIST in {folder}: apt-get install dataset-fashion-mnist, "
            "or name another folder with --data"
        )


def config(args: argparse.Namespace) -> dict[str, Any]:
    """What decides the outcome of a step: a resumed run must have the same."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(args).items()
        if name not in _FREE
    }
