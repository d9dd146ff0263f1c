"""`speediff train`: a DiT or an MDT on images or latents, on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _arguments, _progress, _samples, _subcommand, _training_flags, _training_loop
from ._run import open_run

if TYPE_CHECKING:
    import argparse

    from ._run import Run

DESCRIPTION = """\
Trains a DiT or an MDT on the CPU, and writes a folder: run.safetensors, a checkpoint with all that a
bit-exact continuation and `speediff generate` need, whose weights are those of the official PyTorch code;
run.json, its settings; loss.csv; and samples.png. Ctrl-C saves and stops; --resume continues.
"""
EPILOG = """\
A resumed run has its own settings; a flag that contradicts them is an error. --steps may grow.
--method is as for `speediff plan`: speed, official, a sampling, a weighting, or sampling+weighting.

examples:
  speediff train fashion-mnist --out runs/fashion
  speediff train fashion-mnist --out runs/fashion --steps 20000 --resume
  speediff train pictures/ --input-size 32 --flip --method 'speed(k=2)' --out runs/pictures
  speediff train latents.npz --model DiT-S/2 --learn-sigma --ema-decay 0.9999 --out runs/latents
"""


def add_to(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Adds the sub-command to the command line."""
    parser = _subcommand.add(
        subparsers,
        "train",
        run,
        summary="train a DiT or an MDT on the CPU",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument(
        "--method",
        metavar="METHOD",
        help="chooses time steps and weights: speed, official, … (default: speed)",
    )
    _training_flags.add_to(parser, out="runs/train")
    _samples.add_to(parser)
    parser.add_argument(
        "--sample-every", metavar="N", type=int, help="also write samples-STEP.png every N steps"
    )


def run(options: argparse.Namespace) -> None:
    """Trains, then writes samples."""
    _progress.check()
    _samples.check(options)
    _arguments.integer("--checkpoint-every", options.checkpoint_every, least=1)
    if options.sample_every is not None:
        _arguments.integer("--sample-every", options.sample_every, least=1)
    run = open_run(
        Path(options.out), options.data, vars(options), threads=options.threads, resume=options.resume
    )
    with run.trainer:

        def after_step(run: Run) -> None:
            if options.sample_every and run.step % options.sample_every == 0:
                _write_samples(run, options, f"samples-{run.step:07}.png")

        begun, seconds = run.step, run.seconds
        _training_loop.train(run, checkpoint_every=options.checkpoint_every, after_step=after_step)
        _report(run, run.step - begun, run.seconds - seconds)
        picture = _write_samples(run, options, "samples.png")
    for path in (run.checkpoint, run.losses.path, picture):
        if path is not None:
            print(path)


def _write_samples(run: Run, options: argparse.Namespace, name: str) -> Path | None:
    """The picture that was written, if one was."""
    title = f"{run.settings['method']}, {run.step} steps"
    picture = _samples.draw(run, options, title)
    if picture is None:
        return None
    path = run.folder / name
    picture.save(path)
    return path


def _report(run: Run, steps: int, seconds: float) -> None:
    """One line about what was just trained."""
    if steps == 0:
        print(f"{run.checkpoint} has {run.step} steps: nothing to train")
        return
    images = steps * run.settings["batch_size"] / seconds
    print(f"{run.settings['method']}: {run.step} steps, {images:.0f} images/s, {seconds:.0f} s")
