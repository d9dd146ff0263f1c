"""`speediff train`: a DiT or an MDT on images or latents, on the CPU."""

from __future__ import annotations

import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import distributed
from .._runs import samples, schedule_flags, training_loop
from .._runs.folders import TakenFolder
from .._runs.run import open_run
from .._support import arguments, progress
from ..errors import SpeeDiffError, SpeeDiffValueError
from . import subcommand, training_flags

if TYPE_CHECKING:
    import argparse
    from contextlib import AbstractContextManager

    from .._runs.interrupt import StopRequest
    from .._runs.run import Run
    from ..distributed import Group

SAMPLES = "samples.png"
DESCRIPTION = """\
Trains a DiT or an MDT on the CPU and writes a folder:

  run.safetensors  the checkpoint, for --resume (bit for bit) and `speediff generate`; its weights have the
                   names and shapes of the official PyTorch code
  run.json         the settings
  loss.csv         the loss of every step
  samples.png      generated images

Ctrl-C, SIGTERM and SIGHUP save and stop; --resume continues. The process count may change on resume.
"""
EPILOG = """\
A resumed run keeps its settings. A flag that contradicts them is an error, but --steps may grow.
--method is as in `speediff plan`: speed, official, a sampling, a weighting, or sampling+weighting.

examples:
  speediff train fashion-mnist --out runs/fashion
  speediff train fashion-mnist --out runs/fashion --steps 20000 --resume
  speediff train pictures/ --input-size 32 --flip --method 'speed(k=2)' --out runs/pictures
  speediff train latents.npz --model DiT-S/2 --learn-sigma --ema-decay 0.9999 --out runs/latents

on several processes, which share each batch:
  torchrun --nproc-per-node 2 -m speediff train fashion-mnist --out runs/fashion
  mpirun -n 2 python -m speediff train fashion-mnist --out runs/fashion
"""


def add_to(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Adds the sub-command to the command line."""
    parser = subcommand.add(
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
        help="how to choose timesteps and weights: speed, official, … (default: speed)",
    )
    training_flags.add_to(parser, out="runs/train")
    samples.add_to(parser)
    parser.add_argument(
        "--sample-every", metavar="N", type=int, help="also write samples-STEP.png every N steps"
    )
    parser.add_argument(
        "--engine",
        metavar="NAME",
        help=f"how processes communicate: {', '.join(distributed.ENGINES)} (default: as they were started)",
    )


def run(options: argparse.Namespace) -> None:
    """Trains, then writes samples. Only rank 0 prints."""
    if options.engine is not None:
        arguments.choice("--engine", options.engine, distributed.ENGINES)
    group = distributed.current(options.engine)
    try:
        with group:
            _train(options, group)
    except SpeeDiffError as error:
        if error.on_all_ranks and group.rank > 0:
            sys.exit(2)
        if group.world_size > 1 and not error.on_all_ranks:
            error.args = (f"rank {group.rank}: {error}",)
        raise


def refuse() -> None:
    """Tells the other processes that this one rejected its flags, so that they exit too."""

    def fail() -> None:
        raise SpeeDiffValueError("the flags must be those of `speediff train`, got others")

    group = distributed.current()
    if group.world_size > 1:
        with group, suppress(SpeeDiffError):
            group.together("flags", fail)


def _train(options: argparse.Namespace, group: Group) -> None:
    if group.rank > 0:
        progress.hide()
    group.together("the flags", lambda: _check(options))
    with group.together("the folder", lambda: _taken(options, group)):
        run = group.together("the start", lambda: _open(options, group))
        with run.trainer:
            _train_and_draw(run, options)


def _check(options: argparse.Namespace) -> None:
    """Checks the flags that are not settings of the run."""
    progress.check()
    samples.check(options)
    arguments.integer("--checkpoint-every", options.checkpoint_every, least=1)
    if options.sample_every is not None:
        arguments.integer("--sample-every", options.sample_every, least=1)


def _taken(options: argparse.Namespace, group: Group) -> AbstractContextManager[Any]:
    """Rank 0 locks the folder for all processes."""
    return TakenFolder(Path(options.out)) if group.rank == 0 else nullcontext()


def _open(options: argparse.Namespace, group: Group) -> Run:
    names = ("checkpoint_every", "sample_every", "samples", "sample_steps")
    group.agree({schedule_flags.flag(name): getattr(options, name) for name in names})
    run = open_run(
        Path(options.out),
        options.data,
        vars(options),
        threads=options.threads,
        resume=options.resume,
        group=group,
        files=_pictures(options),
    )
    if group.rank == 0:
        training_flags.tell_precision(options, run.trainer.precision)
        samples.rehearse(run, options)
    return run


def _pictures(options: argparse.Namespace) -> list[str]:
    """Names of pictures for checks: the final one, and one example of those written during training."""
    return [SAMPLES, _name_at(0)][: bool(options.samples) * (2 if options.sample_every else 1)]


def _train_and_draw(run: Run, options: argparse.Namespace) -> None:
    def after_step(run: Run, stop: StopRequest) -> None:
        if options.sample_every and run.step % options.sample_every == 0:
            run.group.together("samples", lambda: stop.unless_made(lambda: draw_once(_name_at(run.step))))

    def draw_once(name: str) -> None:
        is_there = run.saved_step == run.step and (run.folder / name).exists()
        if run.group.rank == 0 and not is_there:
            samples.write(run, options, name)

    begun, seconds = run.step, run.seconds
    training_loop.train(run, checkpoint_every=options.checkpoint_every, after_step=after_step)
    if run.group.rank > 0:
        return
    _report(run, run.step - begun, run.seconds - seconds)
    picture = samples.write(run, options, SAMPLES)
    for path in (run.checkpoint, run.losses.path, picture):
        if path is not None:
            print(path)


def _name_at(step: int) -> str:
    """The file name of the samples after a step."""
    return f"samples-{step:07}.png"


def _report(run: Run, steps: int, seconds: float) -> None:
    """Prints one line about the training."""
    if steps == 0:
        print(f"{run.checkpoint} has {run.step} steps: nothing to train")
        return
    images = steps * run.settings["batch_size"] / seconds
    print(f"{run.settings['method']}: {run.step} steps, {images:.0f} images/s, {seconds:.0f} s")
