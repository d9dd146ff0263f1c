"""A training step of one process with several threads, and of as many processes with one thread each.

    python python/benchmarks/processes.py [--case NAME] [--rounds N] [--json FILE]

Every contender makes the same steps of the same global batch; they take turns, each time in fresh processes.
The first step of a turn, which lays out memory, does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import trainer_cases as cases
from rich.console import Console
from trainer_report import table

ENGINES = ("one", "gloo", "mpi")


def work(name: str, engine: str, threads: int, steps: int) -> None:
    """The steps of one process; rank 0 prints seconds of each."""
    import speediff

    case = cases.CASES[name]
    with speediff.distributed.current(engine) as group:
        sampler = speediff.TimestepSampler.speed(speediff.NoiseSchedule.linear(cases.STEPS))
        model = cases.network(case)
        trainer = speediff.Trainer(model, sampler, threads=threads, group=group, **case.data)
        batch, part = cases.batch(case, 0), group.part(case.batch)
        seconds = []
        for _ in range(steps + 1):
            begun = time.perf_counter()
            trainer.step(batch.x[part], batch.y[part])
            seconds.append(time.perf_counter() - begun)
        if group.rank == 0:
            print(json.dumps(seconds[1:]))


def turn(name: str, engine: str, processes: int, steps: int) -> list[float]:
    """Seconds of the steps of one contender."""
    tools = Path(sys.executable).parent
    alone = engine == "one"
    script = [__file__, "--work", engine, "--case", name, "--steps", str(steps)]
    launchers = {
        "one": [sys.executable],
        "gloo": [str(tools / "torchrun"), "--standalone", "--nproc-per-node", str(processes)],
        "mpi": [str(tools / "mpirun"), "-n", str(processes), sys.executable],
    }
    threads = processes if alone else 1
    command = [*launchers[engine], *script, "--threads", str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    seconds: list[float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def measure(name: str, processes: int, rounds: int, steps: int) -> dict[str, Any]:
    """Seconds by contender, and throughput over that of one process."""
    seconds: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    for _ in range(rounds):
        for engine in ENGINES:
            seconds[engine] += turn(name, engine, processes, steps)
    figures = {
        engine: {"min": min(s), "median": statistics.median(s), "steps": len(s)}
        for engine, s in seconds.items()
    }
    ratios = {
        engine: {what: figures["one"][what] / figures[engine][what] for what in ("min", "median")}
        for engine in ENGINES[1:]
    }
    return {"case": vars(cases.CASES[name]), "step_seconds": figures, "ratios": ratios}


def report(results: dict[str, Any], processes: int) -> None:
    """Prints the table."""
    rows = table(
        f"A step of {processes} processes with one thread each, beside one process with {processes} threads: "
        "ms (minimum / median), and throughput over the one's (asked: at least 0.9)",
        *("case", "one process", "gloo", "ratio", "MPI", "ratio"),
    )
    for name, found in results.items():
        cells = [cases.CASES[name].title, "{min:.0f} / {median:.0f}".format(**scaled(found, "one"))]
        for engine in ENGINES[1:]:
            cells.append("{min:.0f} / {median:.0f}".format(**scaled(found, engine)))
            cells.append("{min:.2f} / {median:.2f}".format(**found["ratios"][engine]))
        rows.add_row(*cells)
    Console(width=200).print(rows)


def scaled(found: dict[str, Any], engine: str) -> dict[str, float]:
    """Milliseconds."""
    return {what: found["step_seconds"][engine][what] * 1e3 for what in ("min", "median")}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", choices=list(cases.CASES), help="may be repeated")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6, help="of each turn")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--work", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measures and reports."""
    options = arguments()
    names = options.case or list(cases.CASES)
    if options.work:
        work(names[0], options.work, options.threads, options.steps)
        return
    for program in ("torchrun", "mpirun"):
        if shutil.which(program, path=str(Path(sys.executable).parent)) is None:
            sys.exit(f"{program} must be installed beside {sys.executable}: pip install -e 'python[dev]'")
    results = {}
    for name in names:
        print(f"{cases.CASES[name].title} …", file=sys.stderr)
        results[name] = measure(name, options.processes, options.rounds, options.steps)
    report(results, options.processes)
    if options.json:
        text = json.dumps({"processes": options.processes, "results": results}, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
