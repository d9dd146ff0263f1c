"""How many runs an hour `speediff compare` makes: two side by side of one thread each, or one of two threads.

    python python/benchmarks/jobs.py                        # the default network on Fashion-MNIST
    python python/benchmarks/jobs.py --data digits --steps 20

Both make the same four runs, in turns. The time is that of the whole command, from start to report.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = {"2 jobs of 1 thread": (2, 1), "1 job of 2 threads": (1, 2)}
RUNS = 4


def seconds(data: str, steps: int, jobs: int, threads: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "speediff", "compare", data, "--out", str(Path(folder) / "out")]
        words += ["--methods", "uniform,speed", "--seeds", "0,1", "--steps", str(steps), "--samples", "0"]
        words += ["--measure-every", str(steps), "--validation-images", "500"]
        words += ["--jobs", str(jobs), "--threads", str(threads)]
        begun = time.perf_counter()
        subprocess.run(words, check=True, capture_output=True)
        return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--steps", type=int, default=300, help="steps of a run (default: 300)")
    parser.add_argument("--turns", type=int, default=3, help="times that each way is taken (default: 3)")
    options = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(options.turns):
        for name, (jobs, threads) in WAYS.items():
            taken[name].append(seconds(options.data, options.steps, jobs, threads))
    print(f"{RUNS} runs of {options.steps} steps on {options.data}, median of {options.turns} [range]")
    for name, found in taken.items():
        middle = statistics.median(found)
        print(
            f"{name}: {middle:.1f} s [{min(found):.1f}, {max(found):.1f}], "
            f"{3600 * RUNS / middle:.0f} runs an hour"
        )


if __name__ == "__main__":
    main()
