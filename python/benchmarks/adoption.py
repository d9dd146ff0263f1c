"""What `speediff.torch.adopt` adds to a step of the CPU trainer.

    python python/benchmarks/adoption.py [--case NAME] [--steps N] [--json FILE]

The network of the case as its authors' PyTorch module, with its average, AdamW and a scheduler of learning
rates, is adopted; each step's time is divided into that of the trainer's `step` and all around it.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import trainer_cases as cases
from rich.console import Console
from trainer_report import table

import speediff
from speediff.torch import TimestepSampler, adopt

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))


def module(case: cases.Case) -> torch.nn.Module:
    """The authors' module."""
    import official_dit
    import official_mdt

    shape = {
        "hidden_size": case.hidden_size,
        "depth": case.depth,
        "num_heads": case.num_heads,
        "patch_size": case.patch_size,
    }
    if case.decode_layer:
        masking = {"mask_ratio": case.mask_ratio, "decode_layer": case.decode_layer}
        return official_mdt.MDT(**shape, **masking, **case.data)
    return official_dit.DiT(**shape, **case.data)


def measure(case: cases.Case, steps: int, seed: int) -> dict[str, Any]:
    """Seconds of the trainer's steps, and of what comes on top."""
    model = module(case)
    optimizer = torch.optim.AdamW(model.parameters(), lr=cases.LEARNING_RATE, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=steps)
    sampler = TimestepSampler.speed(speediff.NoiseSchedule.linear(cases.STEPS), seed=seed)
    batch = cases.batch(case, seed)
    x, y = torch.from_numpy(batch.x), torch.from_numpy(batch.y)
    inner: list[float] = []
    added: list[float] = []
    with adopt(model, copy.deepcopy(model), optimizer, sampler, ema_decay=cases.EMA_DECAY) as adoption:
        step = adoption.trainer.step

        def timed(*arguments: Any) -> float:
            begun = time.perf_counter()
            loss = step(*arguments)
            inner.append(time.perf_counter() - begun)
            return loss

        adoption.trainer.step = timed  # type: ignore[method-assign]
        for _ in range(steps + 1):
            begun = time.perf_counter()
            adoption.step(x, y)
            added.append(time.perf_counter() - begun - inner[-1])
            scheduler.step()
    # The first one lays out memory.
    least, typical = min(inner[1:]), statistics.median(added[1:])
    return {
        "case": vars(case),
        "trainer_seconds": {"min": least, "median": statistics.median(inner[1:])},
        "added_seconds": {"min": min(added[1:]), "median": typical},
        "share": typical / least,
    }


def main() -> None:
    """Measures and reports."""
    about = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=about)
    parser.add_argument("--case", action="append", choices=list(cases.CASES), help="may be repeated")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    rows = table(
        "What adoption adds to a step: microseconds, minimum / median; the median over the trainer's "
        "least step (asked: below 1 %)",
        *("case", "trainer's step, ms", "added, µs", "share"),
    )
    results = {}
    for name in options.case or ["small", "DiT-S/8", "MDT-S/2"]:
        found = results[name] = measure(cases.CASES[name], options.steps, options.seed)
        trainer, added = found["trainer_seconds"], found["added_seconds"]
        rows.add_row(
            cases.CASES[name].title,
            f"{trainer['min'] * 1e3:.0f} / {trainer['median'] * 1e3:.0f}",
            f"{added['min'] * 1e6:.0f} / {added['median'] * 1e6:.0f}",
            f"{found['share']:.3%}",
        )
    Console(width=200).print(rows)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
