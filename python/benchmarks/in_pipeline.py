"""What SpeeDiff costs inside a PyTorch training step: the draw of a batch's timesteps and weights.

    python python/benchmarks/in_pipeline.py [--json FILE] [--rounds N]

The step is that of DiT-S/8 on the CPU, batch 16, latents of 32×32×4 with learned variance, and of DiT-XL/2 at
batch 32 on a GPU where there is one. Rivals take turns from step to step, so that each draw comes after a
whole step of the network, with the caches as that leaves them; in a loop of draws alone the same calls cost a
fraction of it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import per_step
import rich.box
import torch
import trainer_cases as cases
from rich.console import Console
from rich.table import Table
from trainer_contenders import PyTorch

import speediff
import speediff.torch

if TYPE_CHECKING:
    from collections.abc import Callable

CPU_CASE = cases.CASES["DiT-S/8"]
GPU_CASE = cases.Case("DiT-XL/2", 32, hidden_size=1152, depth=28, num_heads=16, patch_size=2)

NOTHING = "nothing: a function that returns the same tensors"
"""What taking the time costs, after a step that has left nothing of the interpreter in the caches."""


def rivals(batch: int, device: torch.device) -> dict[str, Callable[[], Any]]:
    """What gives a step its timesteps and weights, by name."""
    schedule = speediff.NoiseSchedule.linear(cases.STEPS)
    kinds: dict[str, dict[str, Any]] = {
        "SpeeDiff": {},
        "SpeeDiff, prefetch=64": {"prefetch": 64},
        "SpeeDiff, prefetch=1": {"prefetch": 1},
    }
    timed: dict[str, Callable[[], Any]] = {}
    for name, options in kinds.items():
        sampler = speediff.torch.TimestepSampler.speed(schedule, seed=0, **options)
        timed[name] = lambda sampler=sampler: sampler.sample(batch, device)
    official = speediff.TimestepSampler.speed(schedule, preset="official")
    released = per_step.OfficialSpeeD(official.probabilities, official.weights, per_step.CENTER)
    released.probabilities = released.probabilities.to(device)
    released.weights = released.weights.to(device)
    timed["official SpeeD"] = lambda: released.sample(batch)

    def uniform() -> tuple[torch.Tensor, torch.Tensor]:
        t = torch.randint(0, cases.STEPS, (batch,), device=device)
        return t, released.weights[t]

    timed["torch.randint and a table"] = uniform
    fixed = uniform()
    timed[NOTHING] = lambda: fixed
    return timed


class OnGPU:
    """A training step of the network in bfloat16 on the GPU."""

    def __init__(self, case: cases.Case, device: torch.device) -> None:
        import reference_dit

        network = reference_dit.DiT(
            case.hidden_size, case.depth, case.num_heads, case.patch_size, **case.data
        )
        self.network = network.to(device)
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.0, fused=True)
        shape = (case.batch, case.in_channels, case.input_size, case.input_size)
        self.x, self.noise = torch.randn(2, *shape, device=device)
        self.y = torch.zeros(case.batch, dtype=torch.int64, device=device)

    def step(self, t: torch.Tensor, weights: torch.Tensor) -> None:
        """Forward, backward, AdamW."""
        with torch.autocast("cuda", torch.bfloat16):
            output = self.network(self.x + self.noise, t, self.y)
        error = (output[:, :4].float() - self.noise) ** 2
        (weights * error.mean(dim=(1, 2, 3))).mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def measure(
    timed: dict[str, Callable[[], Any]], step: Callable[[Any, Any], None], rounds: int
) -> dict[str, Any]:
    """Microseconds of each draw between whole steps, and those of a step."""
    draws: dict[str, list[float]] = {name: [] for name in timed}
    steps: list[float] = []
    for turn in range(-3, rounds):
        for name, draw in timed.items():
            start = time.perf_counter()
            t, weights = draw()
            drawn = time.perf_counter()
            step(t, weights)
            if weights.is_cuda:
                torch.cuda.synchronize()
            done = time.perf_counter()
            del t, weights
            if turn >= 0:
                # Giving up the tensors is part of the cost.
                draws[name].append((drawn - start + time.perf_counter() - done) * 1e6)
                steps.append((done - drawn) * 1e6)
    return {
        "step": {"min": min(steps), "median": statistics.median(steps)},
        "draws": {
            name: {"mean": statistics.mean(values), "median": statistics.median(values), "min": min(values)}
            for name, values in draws.items()
        },
    }


def check_synchronisation(timed: dict[str, Callable[[], Any]]) -> None:
    """Stops if a draw of SpeeDiff's makes the host wait for the GPU."""
    for name, draw in timed.items():
        if name.startswith("SpeeDiff"):
            draw()
            torch.cuda.set_sync_debug_mode("error")
            for _ in range(200):
                draw()
            torch.cuda.set_sync_debug_mode("default")


def show(title: str, result: dict[str, Any], console: Console) -> None:
    """The table of one case; shares are of what is beyond doing nothing."""
    step = result["step"]["median"]
    floor = result["draws"][NOTHING]["mean"]
    table = Table(
        title=f"{title}: a step takes {step / 1e3:.1f} ms; µs per draw, and the mean's share of a step",
        box=rich.box.MARKDOWN,
    )
    for header in ("", "mean", "median", "least", "share"):
        table.add_column(header, justify="right" if header else "left")
    for name, figures in result["draws"].items():
        columns = (f"{figures[key]:.2f}" for key in ("mean", "median", "min"))
        table.add_row(name, *columns, f"{100 * (figures['mean'] - floor) / step:.4f} %")
    console.print(table)


def main() -> None:
    """Measures both devices, where there are two, and prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--rounds", type=int, default=130, help="steps with each rival")
    arguments = parser.parse_args()
    console, results = Console(width=120), {}

    trainer = PyTorch(CPU_CASE, torch.get_num_threads(), 0, "eager")
    y, noise = trainer.batch.y, trainer.batch.noise

    def on_cpu(t: torch.Tensor, weights: torch.Tensor) -> None:
        trainer.backward(t, weights, (noise, y, None)).item()
        trainer.update()

    results["cpu"] = measure(rivals(CPU_CASE.batch, torch.device("cpu")), on_cpu, arguments.rounds)
    show(f"{CPU_CASE.title}, CPU", results["cpu"], console)
    alone = per_step.measure(rivals(CPU_CASE.batch, torch.device("cpu")), 200)
    results["alone"] = alone
    for name, figures in alone.items():
        console.print(f"{name}, in a loop of draws alone: {figures['min']:.2f} / {figures['median']:.2f} µs")
    if torch.cuda.is_available():
        device = torch.device("cuda")
        timed = rivals(GPU_CASE.batch, device)
        check_synchronisation(timed)
        results["cuda"] = measure(timed, OnGPU(GPU_CASE, device).step, arguments.rounds)
        show(f"{GPU_CASE.title}, {torch.cuda.get_device_name()}", results["cuda"], console)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": per_step.machine(), **results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
