"""The cost of one batch's timesteps and weights, beside what a script would use instead, for every method.

    python python/benchmarks/per_step.py [--json FILE] [--repeats N]

All rivals run in one process, in turns, so that a slow spell of the machine meets them all. Each repeat times
enough calls to last about a millisecond. Figures are microseconds per batch; ratios are of minima.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import per_step_levels
import rich.box
import torch
from rich.console import Console
from rich.table import Table

import speediff
import speediff.torch
from speediff._native import c_api
from speediff._support import processor

if TYPE_CHECKING:
    from collections.abc import Callable

BATCHES = (16, 256, 4096)
STEPS = 1000
CENTER = 642
"""m of the official dual map for the linear schedule."""
BASELINE = "torch.randint"
SWIFT_BENCHMARK = Path(__file__).resolve().parents[2] / ".build-bench" / "release" / "DrawBenchmark"


class OfficialSpeeD:
    """The draw and the weights of SpeeD's released code, in its own torch operations."""

    def __init__(
        self, probabilities: np.ndarray[Any, Any], weights: np.ndarray[Any, Any], center: int
    ) -> None:
        self.probabilities = torch.from_numpy(probabilities.copy()).float()
        self.weights = torch.from_numpy(weights.copy()).float()
        self.center = center

    def draw(self, n: int) -> torch.Tensor:
        """Timesteps: drawn ones, then their duals."""
        t = torch.multinomial(self.probabilities, n // 2 + 1, replacement=True)
        dual = torch.where(t < self.center, self.center - t, t - self.center)
        return torch.cat([t, dual], dim=0)[:n]

    def sample(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Timesteps and weights."""
        t = self.draw(n)
        return t, self.weights[t]


def guided_diffusion(probabilities: np.ndarray[Any, Any], n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """guided-diffusion's `ScheduleSampler.sample`, whose weights are 1/(T·P)."""
    indices = np.random.choice(len(probabilities), size=(n,), p=probabilities)
    weights = 1 / (len(probabilities) * probabilities[indices])
    return torch.from_numpy(indices).long(), torch.from_numpy(weights).float()


def check_distribution(sampler: speediff.TimestepSampler) -> float:
    """The χ² statistic of a million draws, per degree of freedom; stops if it is out of the question."""
    counts = np.zeros(STEPS)
    for _ in range(250):
        t, w = sampler.sample(4000)
        counts += np.bincount(t, minlength=STEPS)
        if not np.array_equal(w, sampler.weights.astype(np.float32)[t]):
            sys.exit("the weights drawn are not those of the timesteps: no timing")
    expected = sampler.probabilities * counts.sum()
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    # Six standard deviations of χ² with T - 1 degrees of freedom.
    if abs(chi_square - (STEPS - 1)) > 6 * np.sqrt(2 * (STEPS - 1)):
        sys.exit(f"the draws do not follow P: chi-square {chi_square:.0f} of {STEPS - 1}: no timing")
    return chi_square / (STEPS - 1)


def check_paths(schedule: speediff.NoiseSchedule) -> None:
    """Stops unless the torch path and the official preset draw what they should."""
    ours, other = (
        kind.speed(schedule, seed=2) for kind in (speediff.TimestepSampler, speediff.torch.TimestepSampler)
    )
    official = speediff.TimestepSampler.speed(schedule, seed=2, preset="official")
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for n in BATCHES:
        for device in devices:
            t, w = ours.sample(n, step=0)
            other_t, other_w = other.sample(n, device, step=0)
            if not (np.array_equal(t, other_t.cpu()) and np.array_equal(w, other_w.cpu())):
                sys.exit(f"the torch path on {device} draws something else: no timing")
        t, w = official.sample(n)
        primaries = n // 2 + 1
        duals = np.abs(CENTER - t[: n - primaries])
        if not (
            np.array_equal(t[primaries:], duals) and np.array_equal(w, official.weights.astype(np.float32)[t])
        ):
            sys.exit("the official preset does not draw pairs: no timing")


def rivals(n: int) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    schedule = speediff.NoiseSchedule.linear(STEPS)
    on_numpy = speediff.TimestepSampler.speed(schedule, seed=0)
    on_torch = speediff.torch.TimestepSampler.speed(schedule, seed=0)
    official = speediff.TimestepSampler.speed(schedule, seed=0, preset="official")
    released = OfficialSpeeD(official.probabilities, official.weights, center=CENTER)
    p32 = torch.from_numpy(on_numpy.probabilities.copy()).float()
    p64 = on_numpy.probabilities
    timed: dict[str, Callable[[], Any]] = {
        "empty ctypes call": c_api.speediff_abi_version,
        "SpeeDiff, NumPy": lambda: on_numpy.sample(n),
        "SpeeDiff, torch CPU": lambda: on_torch.sample(n, "cpu"),
        "SpeeDiff official preset, NumPy": lambda: official.sample(n),
        BASELINE: lambda: torch.randint(0, STEPS, (n,)),
        "torch.multinomial": lambda: torch.multinomial(p32, n, replacement=True),
        "official SpeeD, draw": lambda: released.draw(n),
        "official SpeeD, draw and weights": lambda: released.sample(n),
        "guided-diffusion": lambda: guided_diffusion(p64, n),
    }
    if torch.cuda.is_available():
        on_cuda = speediff.torch.TimestepSampler.speed(schedule, seed=0)
        cuda = torch.device("cuda")
        gpu = OfficialSpeeD(official.probabilities, official.weights, center=CENTER)
        gpu.probabilities, gpu.weights = gpu.probabilities.to(cuda), gpu.weights.to(cuda)
        timed |= {
            "SpeeDiff, torch CUDA": lambda: on_cuda.sample(n, cuda),
            "torch.randint, CUDA": lambda: torch.randint(0, STEPS, (n,), device=cuda),
            "official SpeeD, CUDA": lambda: gpu.sample(n),
        }
    return timed


def measure(timed: dict[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, float]]:
    """Minimum and median of microseconds per call."""
    calls = {}
    for name, function in timed.items():
        for _ in range(50):
            function()
        start = time.perf_counter()
        for _ in range(50):
            function()
        # Batches are drawn ahead, up to 64 at a time: a shorter loop could miss the draw.
        calls[name] = max(64, int(0.001 * 50 / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(repeats):
        for name, function in timed.items():
            loop = range(calls[name])
            start = time.perf_counter()
            for _ in loop:
                function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times[name].append((time.perf_counter() - start) / calls[name] * 1e6)
    return {name: {"min": min(t), "median": statistics.median(t)} for name, t in times.items()}


def measure_swift() -> dict[int, dict[str, float]]:
    """The same draw from Swift itself, where its benchmark is built."""
    if not SWIFT_BENCHMARK.is_file():
        return {}
    lines = subprocess.run([SWIFT_BENCHMARK], capture_output=True, text=True, check=True).stdout.splitlines()
    rows = (line.split() for line in lines)
    return {int(n): {"min": float(least), "median": float(median)} for n, least, median in rows}


def measure_methods(repeats: int) -> dict[str, dict[str, float]]:
    """Every method at batch 256 on NumPy arrays, and what changing a table costs."""
    schedule = speediff.NoiseSchedule.linear(STEPS)
    names = [(method.kind, method.name) for method in speediff.methods() if method.cls]
    # Blends whose tables stay as they are for long: what a new table costs is counted apart.
    slow = {
        "clts": speediff.sampling.CLTS(end_step=10**9),
        "blend": speediff.sampling.Blend(end_step=10**9),
    }

    def make(kind: str, name: str) -> speediff.TimestepSampler:
        methods = {kind: slow.get(name, name)}
        return speediff.TimestepSampler(schedule, prediction="v", seed=0, **methods)

    timed: dict[str, Callable[[], Any]] = {
        f"{kind} {name}": functools.partial(make(kind, name).sample, 256) for kind, name in names
    }
    blend = speediff.TimestepSampler(schedule, speediff.sampling.CLTS(end_step=1000), seed=0)
    steps = itertools.cycle(range(1, 1000))
    timed["clts, one batch with a new table"] = lambda: blend.sample(256, step=next(steps))
    timed["clts, one batch with the old table"] = lambda: blend.sample(256, step=2000)
    t, losses = np.arange(STEPS), np.linspace(1, 2, STEPS, dtype=np.float32)
    for kind, name in names:
        learner = make(kind, name)
        if learner.learns:
            for _ in range(10):
                learner.update(t, losses)
            timed[f"{name}, update with a batch"] = functools.partial(learner.update, t[:256], losses[:256])
    return measure(timed, repeats)


def measure_building() -> dict[str, dict[str, float]]:
    """Milliseconds to make each sampler, the least of a few."""
    times: dict[str, dict[str, float]] = {}
    for steps, tries in ((1000, 20), (1_000_000, 2)):
        schedule = speediff.NoiseSchedule.linear(steps)
        for method in speediff.methods():
            if method.cls:
                least = float("inf")
                for _ in range(tries):
                    start = time.perf_counter()
                    speediff.TimestepSampler(schedule, prediction="v", **{method.kind: method.name})
                    least = min(least, time.perf_counter() - start)
                times.setdefault(f"{method.kind} {method.name}", {})[str(steps)] = least * 1e3
    return times


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cpu": processor.name(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "speediff": speediff.__version__,
    }


def method_table(methods: dict[str, dict[str, float]], building: dict[str, dict[str, float]]) -> Table:
    """What each method costs a batch and once, beside asymmetric sampling."""
    base = methods["sampling asymmetric"]["min"]
    table = Table(
        title=f"Every method, batch 256, NumPy, T = {STEPS}: µs per batch (minimum / median), the ratio of "
        "minima to asymmetric, and ms to make the sampler",
        box=rich.box.MARKDOWN,
    )
    for header in ("method", "µs", "ratio", f"made, T = {STEPS}", "made, T = 10⁶"):
        table.add_column(header, justify="left" if header == "method" else "right")
    for name, figures in methods.items():
        made = building.get(name, {})
        table.add_row(
            name,
            f"{figures['min']:.2f} / {figures['median']:.2f}",
            f"{figures['min'] / base:.2f}×",
            *(f"{made[steps]:.2f}" if made else "" for steps in ("1000", "1000000")),
        )
    return table


def main() -> None:
    """Checks the draws, times all rivals, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--repeats", type=int, default=200, help="how often each rival is timed")
    arguments = parser.parse_args()

    schedule = speediff.NoiseSchedule.linear(STEPS)
    chi_square = check_distribution(speediff.TimestepSampler.speed(schedule, seed=1))
    check_paths(schedule)
    per_step_levels.check()
    results = {n: measure(rivals(n), arguments.repeats) for n in BATCHES}
    for n, figures in measure_swift().items():
        results[n]["SpeeDiff from Swift"] = figures
    levels = {n: measure(per_step_levels.rivals(n, STEPS), arguments.repeats) for n in BATCHES}
    methods = measure_methods(arguments.repeats)
    building = measure_building()

    description = machine()
    table = Table(
        title=f"µs per batch (minimum / median), and the ratio of minima to {BASELINE}\n"
        f"{description['cpu']}, {description['cores']} cores, torch {description['torch']}; "
        f"T = {STEPS}, chi-square per degree of freedom {chi_square:.3f}",
        box=rich.box.MARKDOWN,
    )
    table.add_column("per batch of")
    for n in BATCHES:
        table.add_column(str(n), justify="right")
    for name in results[BATCHES[0]]:
        cells = []
        for n in BATCHES:
            figures, base = results[n][name], results[n][BASELINE]
            cells.append(
                f"{figures['min']:.2f} / {figures['median']:.2f} ({figures['min'] / base['min']:.2f}×)"
            )
        table.add_row(name, *cells)
    console = Console(width=120)
    console.print(table)
    console.print(per_step_levels.table(levels))
    console.print(method_table(methods, building))
    if arguments.json:
        report = {"machine": description, "chi_square_per_dof": chi_square, "microseconds": results}
        report |= {
            "levels_microseconds": levels,
            "methods_microseconds": methods,
            "building_milliseconds": building,
        }
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
