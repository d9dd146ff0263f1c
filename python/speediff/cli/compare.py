"""`speediff compare`: arms, seeds and tuning as one experiment, with speed-ups and their spread."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._distributed import launchers, processors
from .._experiments import analysis, plan, report, report_text, sample_rows
from .._experiments.experiment import Experiment
from .._runs import schedule_flags
from .._runs.folders import TakenFolder
from .._support import arguments, progress
from ..errors import SpeeDiffValueError
from . import compare_plan, subcommand, training_flags

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Trains the same network by several methods, with several seeds, and measures the EMA weights at the same
steps. Runs of one seed have the same initial weights, data and data order. Reports the quality at equal
steps, and the speed-up over the first method: its steps to a quality over those of another method, with the
spread over the seeds.

Writes report.md, curves.png, samples.png, results.csv, results.json and more to --out. Checkpoints are in
`runs`; `results` has small files, from which --report draws everything again. Ctrl-C, SIGTERM and SIGHUP
save and stop. --resume continues, also after a kill. It can add methods, seeds, steps and values of --tune.
"""
EPILOG = """\
The loss needs no more than this package. fd, kid and accuracy are of generated images and need PyTorch:
pip install 'speediff[evaluate]'. One seed says little: seeds can differ by more than methods do. A file of
--arms has settings of `speediff train` by arm: {"uniform": {}, "fast": {"method": "speed", "lr": 0.002}}.

examples:
  speediff compare fashion-mnist --methods uniform,speed --out runs/compare
  speediff compare fashion-mnist --methods uniform,speed --seeds 0,1,2 --tune lr=1e-3,2e-3 --out runs/tuned
  speediff compare digits --methods 'uniform,laplace(scale=1)+min_snr,official' --steps 2000 --out runs/digits
  speediff compare --report runs/digits
"""


def add_to(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Adds the sub-command to the command line."""
    parser = subcommand.add(
        subparsers,
        "compare",
        run,
        summary="train by several methods and seeds, and compare them",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    compare_plan.add_to(parser)
    training_flags.add_to(parser, out="runs/compare", is_data_needed=False, threads="1 for each run")
    group = parser.add_argument_group("processes")
    group.add_argument(
        "--jobs",
        metavar="N",
        type=int,
        help="runs side by side, each in a process of its own "
        "(default: as many as use all processors available to this process)",
    )
    group = parser.add_argument_group("report")
    group.add_argument(
        "--baseline", metavar="NAME", help="the arm that others are compared with (default: the first)"
    )
    group.add_argument(
        "--report", metavar="FOLDER", help="train nothing: draw the report of FOLDER from its result files"
    )


def run(options: argparse.Namespace) -> None:
    """Trains what is not finished, then writes the report."""
    launchers.check_alone("speediff compare")
    if options.report is not None:
        _report_only(options)
        return
    if options.data is None:
        raise SpeeDiffValueError("DATA must be given, as in `speediff compare fashion-mnist`")
    progress.check()
    report.check()
    if options.checkpoint_every is not None:
        arguments.integer(schedule_flags.flag("checkpoint_every"), options.checkpoint_every, least=1)
    if options.jobs is not None:
        arguments.integer("--jobs", options.jobs, least=1)
    folder = Path(options.out)
    with TakenFolder(folder):
        is_there = (folder / plan.NAME).exists()
        if is_there and not options.resume:
            raise SpeeDiffValueError(f"{folder / plan.NAME} exists: add --resume, or choose another --out")
        drafted = compare_plan.draft(options, plan.read(folder) if is_there else None)
        training_flags.tell_precision(options, drafted.settings["precision"])
        if drafted.measuring["samples"]:
            sample_rows.check()
        report.check_files(
            folder,
            has_samples=bool(drafted.measuring["samples"]),
            has_areas="loss" in drafted.measuring["measure"],
        )
        experiment = Experiment(folder, drafted)
        found = analysis.Analysis(experiment, options.baseline)  # Checks the name before any training.
        experiment.open()
        experiment.train(count=_jobs(options, drafted), checkpoint_every=options.checkpoint_every)
        found = analysis.Analysis(experiment, options.baseline)
        for path in report.write(found):
            print(path)
    print(report_text.terminal(found))


def _report_only(options: argparse.Namespace) -> None:
    report.check()
    folder = Path(options.report)
    found = analysis.Analysis(Experiment(folder, plan.read(folder)), options.baseline)
    if not any(found.runs.values()):
        raise SpeeDiffValueError(f"{folder} has no results yet: --resume its `speediff compare`")
    for path in report.write(found):
        print(path)
    print(report_text.terminal(found))


def _jobs(options: argparse.Namespace, drafted: plan.Plan) -> int:
    """The number of runs side by side."""
    if options.jobs is not None:
        return int(options.jobs)
    return max(1, processors.share([processors.available()], 0) // int(drafted.measuring["threads"]))
