"""`speediff compare`: the same network trained by several methods, and what each area gains or loses."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._distributed import launchers
from .._runs import samples, schedule_flags, training_loop, validation
from .._runs.folders import TakenFolder
from .._runs.run import check_run, open_run
from .._runs.step_log import StepLog
from .._support import arguments, progress
from ..errors import SpeeDiffValueError
from . import compare_report, subcommand, training_flags
from .compare_result import Result

if TYPE_CHECKING:
    import argparse

    from .._data.datasets import Dataset
    from .._runs.interrupt import StopRequest
    from .._runs.run import Run
    from .._runs.run_settings import Settings

VALIDATION = "validation.csv"
DESCRIPTION = """\
Trains the same network once per method, with the same initial weights, data, data order and seed. Measures
the unweighted noise-prediction error of the EMA weights on test images at evenly spaced timesteps, over all
timesteps and in each area of the process. Writes curves.png, samples.png, results.csv, results.json, and one
folder per method, like that of `speediff train`. Ctrl-C, SIGTERM and SIGHUP save and stop. --resume
continues.
"""
EPILOG = """\
Data sets with test images use them (fashion-mnist, idx files, CIFAR-10). Otherwise a tenth of the data is
held out. One seed says little: seeds can differ by more than methods do.

examples:
  speediff compare fashion-mnist --methods uniform,speed --out runs/compare
  speediff compare digits --methods 'uniform,laplace(scale=1)+min_snr,official' --steps 2000 --out runs/digits
"""


def add_to(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Adds the sub-command to the command line."""
    parser = subcommand.add(
        subparsers,
        "compare",
        run,
        summary="train with several methods, and compare them by area",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument(
        "--methods",
        metavar="METHOD,…",
        default="uniform,speed",
        help="methods as in `speediff plan` (default: uniform,speed)",
    )
    training_flags.add_to(parser, out="runs/compare")
    group = parser.add_argument_group("validation")
    group.add_argument(
        "--validate-every", metavar="N", type=int, default=250, help="validate every N steps (default: 250)"
    )
    group.add_argument(
        "--validation-images", metavar="N", type=int, default=2000, help="at most N images (default: 2000)"
    )
    samples.add_to(parser)


def run(options: argparse.Namespace) -> None:
    """Trains with each method in turn, then writes the report."""
    launchers.check_alone("speediff compare")
    progress.check()
    samples.check(options)
    compare_report.check()
    for name in ("checkpoint_every", "validate_every", "validation_images"):
        arguments.integer(schedule_flags.flag(name), getattr(options, name), least=1)
    methods = split_methods(options.methods)
    folder = Path(options.out)
    with ExitStack() as taken:
        for path in (folder, *(folder / folder_name(method) for method in methods)):
            taken.enter_context(TakenFolder(path))
        results, pictures = _train_all(methods, folder, options)
        for path in compare_report.write(folder, results, pictures):
            print(path)
    print(compare_report.table(results))


def _train_all(
    methods: list[str], folder: Path, options: argparse.Namespace
) -> tuple[list[Result], list[Any]]:
    """Trains with each method in turn; returns the results and the sample grids, if enabled."""
    data, results, pictures = _Parts(options), [], []
    flags = {method: {**vars(options), "method": method} for method in methods}
    for method in methods:  # Check all methods before the first one trains.
        check_run(folder / folder_name(method), flags[method], resume=options.resume, files=[VALIDATION])
    compare_report.check_files(folder, has_samples=bool(options.samples))
    for index, method in enumerate(methods, 1):
        run = open_run(
            folder / folder_name(method),
            options.data,
            flags[method],
            threads=options.threads,
            resume=options.resume,
            load=data.training,
        )
        with run.trainer:
            if index == 1:
                training_flags.tell_precision(options, run)
            samples.rehearse(run, options)
            questions = data.questions(run)
            results.append(_train(run, questions, options, label=f"{method} ({index} of {len(methods)})"))
            pictures.append(samples.draw(run, options))
    return results, [picture for picture in pictures if picture is not None]


def split_methods(text: str) -> list[str]:
    """Splits a list at its commas, except those within parentheses."""
    methods, depth = [""], 0
    for letter in "".join(text.split()):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            methods.append("")
        else:
            methods[-1] += letter
    names = [folder_name(method) for method in methods]
    if len(set(names)) < len(names) or not all(names):
        raise SpeeDiffValueError(f"--methods must be different methods, got {text!r}")
    return methods


def folder_name(method: str) -> str:
    """The method's text as a folder name."""
    return re.sub(r"[^\w.+-]+", "_", method).strip("_")


def _train(
    run: Run, questions: validation.ValidationSet, options: argparse.Namespace, *, label: str
) -> Result:
    """Trains a run and measures the validation loss at intervals."""
    log = StepLog(run.folder / VALIDATION, ("seconds", *validation.COLUMNS))
    run.keep(log)

    def after_step(run: Run, stop: StopRequest) -> None:
        is_due = run.step % options.validate_every == 0 or run.step >= run.settings["steps"]
        if not is_due or (log.rows and log.rows[-1][0] == run.step):
            return
        errors = stop.unless_made(lambda: questions.measure(run.trainer, run.settings["batch_size"]))
        if errors is not None:
            log.append(run.step, round(run.seconds, 3), *errors)

    training_loop.train(run, checkpoint_every=options.checkpoint_every, label=label, after_step=after_step)
    return Result(run.settings, run.data.fingerprint, len(questions), questions.process, log.rows)


class _Parts:
    """Training and validation data, shared by all methods and read once."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._parts: tuple[Dataset, Dataset] | None = None

    def training(self, source: str, settings: Settings, _: Path) -> Dataset:
        """The training data. Files in the output folder are not data."""
        if self._parts is None:
            self._parts = validation.split(source, settings, Path(self._options.out))
        return self._parts[0]

    def questions(self, run: Run) -> validation.ValidationSet:
        """The validation set."""
        assert self._parts is not None
        settings, count = run.settings, self._options.validation_images
        return validation.ValidationSet(self._parts[1], run.trainer.schedule, settings["prediction"], count)
