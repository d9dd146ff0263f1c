"""What an evaluation costs: 1,000 images of 28×28 by the small DiT, 50 DDIM steps, features and FD.

    python python/benchmarks/evaluation.py [--n N] [--rounds N] [--threads N] [--json FILE]

The network of `speediff train fashion-mnist` generates the images. Sampling is compared with the forward
pass alone, at the batch size that sampling uses: forward passes of 64 images, divided by the steps. Both take
turns. The features of the reference, which one instrument extracts once, are timed apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from trainer_report import table

import speediff
from speediff._data import datasets
from speediff._runs import run_settings
from speediff._support import processor
from speediff._trainer import sample_sets
from speediff.torch._evaluation.extractors import extractor
from speediff.torch._evaluation.instrument import Instrument

STEPS, BATCH = 50, 64
LIMIT, SHARE = 28.0, 0.9
"""What is asked: seconds of an evaluation, and sampling's share of the forward pass's rate."""


def seconds_of(work: Any) -> tuple[float, Any]:
    """How long a function took, and what it returned."""
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def forward_rate(trainer: speediff.Trainer, passes: int) -> float:
    """Images per second through the network, from the averaged weights."""
    generator = np.random.default_rng(0)
    shape = (BATCH, trainer.in_channels, trainer.input_size, trainer.input_size)
    x = generator.standard_normal(shape).astype(np.float32)
    t = generator.integers(0, trainer.schedule.steps, BATCH)
    y = generator.integers(0, trainer.num_classes or 1, BATCH)
    trainer.forward(x, t, y, ema=True)
    seconds, _ = seconds_of(lambda: [trainer.forward(x, t, y, ema=True) for _ in range(passes)])
    return passes * BATCH / seconds


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds by part, and the rates."""
    data, test = datasets.load("fashion-mnist"), datasets.load_test("fashion-mnist")
    settings = run_settings.resolve({}, None)
    trainer = run_settings.make_trainer(settings, data, threads=options.threads)
    network = extractor(options.features)
    reference, instrument = seconds_of(lambda: Instrument(data, test, network, ("fd",)))
    _ = instrument.reference.statistics
    rounds: list[dict[str, float]] = []
    for _ in range(options.rounds):
        rate = forward_rate(trainer, options.n * STEPS // BATCH // 5)
        sampling, made = seconds_of(
            lambda: sample_sets.generate(trainer, options.n, like=data.labels, steps=STEPS, progress=False)
        )
        rest, _ = seconds_of(lambda made=made: instrument.measure(made.images, made.labels))
        sampled = options.n * STEPS / sampling
        rounds.append(
            {
                "sampling": sampling,
                "features_and_fd": rest,
                "evaluation": sampling + rest,
                "forward_images_per_second": rate,
                "sampling_share": sampled / rate,
            }
        )
    figures = {
        name: {
            "min": min(r[name] for r in rounds),
            "median": statistics.median(r[name] for r in rounds),
            "max": max(r[name] for r in rounds),
        }
        for name in rounds[0]
    }
    return {"n": options.n, "features": network.label, "reference_seconds": reference, **figures}


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "cpu": processor.name(),
        "speediff": speediff.__version__,
        "library": speediff.library_path(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
    }


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of the trainer (default: as it chooses)")
    parser.add_argument("--features", default="classifier")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    found = {"machine": machine(), **measure(options)}
    rows = table(
        f"{options.n} images of 28×28, {STEPS} DDIM steps ({found['machine']['cpu']})",
        *("", "minimum", "median", "maximum", "asked"),
    )
    asked = {"evaluation": f"at most {LIMIT:g}", "sampling_share": f"at least {SHARE:g}"}
    for name, figure in found.items():
        if isinstance(figure, dict) and "median" in figure:
            values = [f"{figure[what]:.3g}" for what in ("min", "median", "max")]
            rows.add_row(name.replace("_", " "), *values, asked.get(name, ""))
    Console(width=120).print(rows)
    print(f"features of the reference, once: {found['reference_seconds']:.1f} s")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if found["evaluation"]["max"] > LIMIT or found["sampling_share"]["min"] < SHARE:
        sys.exit("slower than what is asked")


if __name__ == "__main__":
    main()
