"""What is the same in every example, and not about training: flags, checkpoints, images, pictures.

It needs NumPy alone (and Pillow and Matplotlib where pictures are read and drawn), so that --help is quick.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import math
import os
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

# ---- Flags ---------------------------------------------------------------------------------------

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # Debian: dataset-fashion-mnist
# A resumed run may change these. All others determine the outcome of a step, and must stay.
_FREE = {
    "steps", "out", "resume", "tiny", "checkpoint_every", "data", "device", "threads",
    "sample_steps", "cfg_scale", "columns", "validation_images",
}  # fmt: skip


def _number(kind: type, what: str, fits: Callable[[Any], bool], rule: str) -> Callable[[str], Any]:
    """An argparse type."""

    def convert(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {what}, got {text!r}") from None
        if not fits(value):
            raise argparse.ArgumentTypeError(f"must be {rule}, got {text}")
        return value

    return convert


def integer(least: int, most: float = math.inf) -> Callable[[str], int]:
    """An argparse type: an integer in [least, most]."""
    rule = f"at least {least}" if most == math.inf else f"in [{least}, {most}]"
    return _number(int, "an integer", lambda value: least <= value <= most, rule)


def real(least: float, below: float = math.inf, *, open_: bool = False) -> Callable[[str], float]:
    """An argparse type: a number in [least, below), or in (least, below) if ``open_``."""
    rule = f"in {'(' if open_ else '['}{least:g}, {below:g})"
    return _number(float, "a number", lambda x: least <= x < below and not (open_ and x == least), rule)


def flags(
    description: str | None, *, data: Path | None = FASHION_MNIST, guidance: bool = True
) -> argparse.ArgumentParser:
    """The flags that every example has; it adds its own, and calls :func:`parse`.

    Without ``data`` there is no ``--data``; ``guidance`` is about the classifier-free one.
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
    add("--ema-decay", type=real(0, 1), default=0.999, metavar="X", help="of the EMA; lower at the start")
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
    args.script = script
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if args.batch_size % world_size:
        parser.error(f"argument --batch-size: must be a multiple of {world_size}, got {args.batch_size}")
    if args.threads is None:
        # Half the logical cores: threads that wait for one which another program holds slow all others down.
        processes = 2 if world_size == 1 else int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        args.threads = max(1, len(os.sched_getaffinity(0)) // processes)
    if args.out is None:
        # A method may have parameters, but a folder's name should have neither parentheses nor blanks.
        method = "".join(c if c.isalnum() or c in "+.-_" else "_" for c in args.method).strip("_")
        args.out = Path("runs") / f"{script.removeprefix('train_')}_{method}{'_tiny' if args.tiny else ''}"
    return args


def config(args: argparse.Namespace) -> dict[str, Any]:
    """What decides the outcome of a step: a resumed run must have the same."""
    values = {name: value for name, value in vars(args).items() if name not in _FREE}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def check_resumed(path: Path, saved: Mapping[str, Any], done: int, args: argparse.Namespace) -> None:
    """End the program with a message unless ``args`` continue the checkpoint at ``path``.

    It holds ``done`` steps of a run whose :func:`config` was ``saved``.
    """
    now = config(args)
    if not args.resume:
        raise SystemExit(f"{path} exists: add --resume, or take another --out")
    if saved["script"] != now["script"]:
        raise SystemExit(f"{path} was written by {saved['script']}, not by {now['script']}")
    differences = [
        f"--{name.replace('_', '-')} was {saved.get(name)}, is {value}"
        for name, value in sorted(now.items())
        if saved.get(name) != value
    ]
    if differences:
        raise SystemExit(f"{path} belongs to another run: {'; '.join(differences)}")
    if done > args.steps:
        raise SystemExit(f"{path} is at step {done}, past --steps {args.steps}")


def save(path: Path, checkpoint: dict[str, Any]) -> None:
    """Replace the checkpoint: a kill or a power cut leaves the old one or the new one, whole."""
    import torch

    with path.with_suffix(".tmp").open("wb") as file:
        torch.save(checkpoint, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(file.name, path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)  # Without it, the new name could be lost, too.
    os.close(folder)


# ---- Images --------------------------------------------------------------------------------------

CLASS_NAMES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
_HELD_OUT = 20  # one of so many pictures, where the folder has no validation part


class Images:
    """Labelled images in memory.

    Args:
        pixels: uint8 (n, channels, height, width).
        labels: int64 (n,), places in ``class_names``. Their number stands for "no class given".
        class_names: One for each label.
    """

    def __init__(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.int64], class_names: Sequence[str] = CLASS_NAMES
    ) -> None:
        self.pixels, self.labels, self.class_names = pixels, labels, tuple(class_names)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Some of the images, float32 in [-1, 1], and their labels."""
        return self._read(chosen).astype(np.float32) / 127.5 - 1, self.labels[chosen]

    def _read(self, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pixels[chosen]


class PictureFolder(Images):
    """Pictures in color on white, read as they are needed, cropped to their middle and scaled to one size."""

    def __init__(self, pictures: Sequence[tuple[Path, int]], class_names: Sequence[str], size: int) -> None:
        super().__init__(np.empty(0, np.uint8), np.array([label for _, label in pictures]), class_names)
        self.paths, self.size = [path for path, _ in pictures], size

    def _read(self, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
        from PIL import Image, ImageOps

        pixels = np.empty((len(chosen), 3, self.size, self.size), np.uint8)
        for place, index in enumerate(chosen.tolist()):
            with Image.open(self.paths[index]) as picture:
                if picture.mode.startswith(("I", "F")):  # Pillow would cut off what is above 255.
                    raise SystemExit(f"{self.paths[index]} must have 8 bits per channel: convert it first")
                colors = picture.convert("RGBA")
                shown = Image.alpha_composite(Image.new("RGBA", colors.size, "white"), colors)
                square = ImageOps.fit(shown.convert("RGB"), (self.size, self.size), Image.Resampling.LANCZOS)
            pixels[place] = np.asarray(square).transpose(2, 0, 1)
        return pixels


def load_images(folder: Path, size: int | None = None) -> tuple[Images, Images]:
    """Images for training and for validation: Fashion-MNIST, or with a ``size`` a folder of pictures, too.

    It has a sub-folder for each class, or ``train`` and ``val`` with those in them, as ImageNet has.
    Where it has no such parts, one picture of each twenty is held out.
    """
    kinds = "images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"
    files = [folder / f"{part}-{kind}" for part in ("train", "t10k") for kind in kinds]
    if all(path.is_file() for path in files):
        return _fashion_mnist(*files[:2]), _fashion_mnist(*files[2:])
    parts = folder / "train", folder / "val"
    named = parts[0] if all(part.is_dir() for part in parts) else folder
    names = [path.name for path in _shown(named) if path.is_dir()]
    pictures = _pictures(named, names) if size is not None else []
    if named == folder:
        train = [picture for place, picture in enumerate(pictures) if place % _HELD_OUT]
        validation = pictures[::_HELD_OUT]
    else:
        train, validation = pictures, _pictures(parts[1], names)
    if size is None or not train or not validation:
        what = "Fashion-MNIST" if size is None else "Fashion-MNIST, nor enough pictures,"
        raise SystemExit(f"no {what} in {folder}: apt-get install dataset-fashion-mnist, or give --data")
    # They are sorted by class, and the first of them must stand for all.
    order = random_numbers(0, "validation pictures", 0).permutation(len(validation))
    return PictureFolder(train, names, size), PictureFolder([validation[i] for i in order], names, size)


def _fashion_mnist(images: Path, labels: Path) -> Images:
    """After a header of 16 bytes for images, of 8 for labels: a byte for each value."""
    pixels = np.frombuffer(gzip.decompress(images.read_bytes()), np.uint8, offset=16)
    classes = np.frombuffer(gzip.decompress(labels.read_bytes()), np.uint8, offset=8)
    return Images(pixels.reshape(-1, 1, 28, 28), classes.astype(np.int64))


def _pictures(folder: Path, names: Sequence[str]) -> list[tuple[Path, int]]:
    """Every picture with its label, in an order that no file system decides."""
    found = [(path, label) for label, name in enumerate(names) for path in _shown(folder / name)]
    return [(path, label) for path, label in found if path.suffix.lower() in _SUFFIXES]


def _shown(folder: Path) -> list[Path]:
    """What is in a folder, but for what a notebook, an archive of a Mac, or the like has left there."""
    return sorted(p for p in folder.glob("*") if not p.name.startswith(".") and p.name != "__MACOSX")


# ---- Randomness that is a function of seed, purpose and index: nothing to save, nothing to restore -------


def random_numbers(seed: int, purpose: str, index: int) -> np.random.Generator:
    """A generator that depends on its arguments alone; ``index`` is a step or an epoch."""
    return np.random.default_rng([seed, index, *purpose.encode()])


def validation_noise(shape: Sequence[int]) -> NDArray[np.float32]:
    """Standard normal noise, not of ``--seed``, but the same for every run."""
    return random_numbers(0, "validation noise", 0).standard_normal(tuple(shape), dtype=np.float32)


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return random_numbers(seed, "data order", epoch).permutation(count)


def batch_indices(seed: int, step: int, batch_size: int, count: int) -> NDArray[np.int64]:
    """Which of ``count`` images are the global batch of ``step``, shape (batch_size,).

    The batches follow one another through a new permutation per epoch, and may straddle two:
    every image is seen exactly once per epoch.
    """
    epochs, places = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), count)
    pairs = zip(epochs.tolist(), places.tolist(), strict=True)
    return np.array([_epoch_order(seed, epoch, count)[place] for epoch, place in pairs])


def training_batch(
    args: argparse.Namespace,
    images: Images,
    step: int,
    part: slice,
    *,
    flip: bool = True,
    noise_shape: Sequence[int] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """One process's ``part`` of the global batch of ``step``: images, labels and standard normal noise.

    All is drawn for the global batch and then cut. So a resumed run goes on as an uninterrupted one
    would, and several processes divide among them what one would have drawn. The noise of an image
    has its shape, or ``noise_shape``.
    """
    n = args.batch_size
    draws = random_numbers(args.seed, "training batch", step)
    flipped = (draws.random(n) < 0.5 if flip else np.zeros(n, bool))[part]
    dropped = (draws.random(n) < getattr(args, "label_dropout", 0.0))[part]
    x, labels = images.take(batch_indices(args.seed, step, n, len(images))[part])
    x = np.where(flipped[:, None, None, None], x[..., ::-1], x)
    draws = random_numbers(args.seed, "training noise", step)
    noise = draws.standard_normal((n, *(noise_shape or x.shape[1:])), dtype=np.float32)[part]
    return x, np.where(dropped, len(images.class_names), labels), noise


# ---- Results -------------------------------------------------------------------------------------

# The parts that SpeeD divides 1000 steps with linear betas into: acceleration, rapid change,
# convergence. Other schedules get the same three, so that the columns keep their meaning.
BANDS = {"t<220": (0, 220), "220<=t<700": (220, 700), "t>=700": (700, 1000)}


def in_bands(
    losses: Sequence[float], levels: NDArray[Any], bands: Mapping[str, tuple[float, float]]
) -> dict[str, float]:
    """The mean loss ``overall`` and of the levels in each range [low, high)."""
    values = np.asarray(losses, np.float64)
    means = {name: values[(levels >= low) & (levels < high)] for name, (low, high) in bands.items()}
    return {name: float(part.mean()) for name, part in {"overall": values, **means}.items()}


def report(
    args: argparse.Namespace,
    title: str,
    losses: Sequence[float],
    seconds: float,
    samples: NDArray[np.float32],
    row_names: Sequence[str],
    validation: Mapping[str, float],
) -> None:
    """Write ``loss.csv``, ``loss.png`` and ``samples.png`` to ``--out``, and print one line of results.

    The ``losses`` of all steps took so many ``seconds``; ``samples`` are (rows, columns, channels,
    height, width) in [-1, 1], where one channel is gray; :func:`in_bands` gives ``validation``.
    """
    paths = [args.out / name for name in ("loss.csv", "loss.png", "samples.png")]
    # A moving average of about 50 steps, divided by the sum of its weights: it does not start at zero.
    sums = accumulate(losses, lambda average, loss: 0.98 * average + (1 - 0.98) * loss, initial=0.0)
    smooth = [average / (1 - 0.98**step) for step, average in enumerate(sums) if step > 0]
    title = f"{title}: {args.method}, {args.steps} steps"
    with paths[0].open("w", newline="") as file:
        csv.writer(file).writerow(["step", "loss", "smoothed_loss"])
        csv.writer(file).writerows(zip(range(1, len(losses) + 1), losses, smooth, strict=True))
    _plot_losses(paths[1], f"{title}\n(not comparable between methods)", losses, smooth)
    _save_grid(paths[2], samples, row_names, title)
    print(*paths, sep="\n")
    bands = ", ".join(f"{loss:.5f} at {band}" for band, loss in validation.items() if band != "overall")
    print(
        f"{args.method}: {len(losses)} steps, {args.batch_size * len(losses) / seconds:.0f} images/s, "
        f"training loss {smooth[-1]:.4f}, validation loss {validation['overall']:.5f} ({bands})"
    )


def _plot_losses(path: Path, title: str, losses: Sequence[float], smooth: Sequence[float]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes, steps = figure.add_subplot(), np.arange(1, len(losses) + 1)
    axes.plot(steps, losses, color="tab:blue", alpha=0.25, linewidth=0.8, label="batch")
    axes.plot(steps, smooth, color="tab:blue", linewidth=1.8, label="moving average")
    axes.set(title=title, xlabel="optimizer step", ylabel="weighted training loss", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def _save_grid(path: Path, samples: NDArray[np.float32], row_names: Sequence[str], title: str) -> None:
    from matplotlib.figure import Figure

    rows, columns, channels, height, width = samples.shape
    grid = np.pad(samples.clip(-1, 1) / 2 + 0.5, ((0, 0), (0, 0), (0, 0), (1, 1), (1, 1)), constant_values=1)
    grid = grid.transpose(0, 3, 1, 4, 2).reshape(rows * (height + 2), columns * (width + 2), channels)
    names = max(map(len, row_names)) / 9  # inches
    figure = Figure(figsize=(0.55 * columns + names + 0.2, 0.55 * rows + 0.4), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(grid[..., 0] if channels == 1 else grid, cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=10)
    axes.set_yticks((height + 2) * (np.arange(rows) + 0.5), row_names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.savefig(path, dpi=150)
