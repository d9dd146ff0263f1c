"""The cost of a training step on the CPU: SpeeDiff's trainer, PyTorch's, and what the machine can do.

    python python/benchmarks/trainer.py [--quick] [--compile] [--growth] [--case NAME] [--json FILE]

Every contender has the same weights, batch and threads, in a process of its own; losses and gradients of
three steps with t, noise and weights given must agree before anything is timed. Then they take turns, so that
a slow spell of the machine meets them all. Ratios are PyTorch's time over SpeeDiff's: of minima, and of
medians. The floor is the operations of the network's matrix products over the best rate of sgemm that either
library reaches in the same turns, and the bytes of AdamW and EMA over the memory's bandwidth.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import trainer_cases as cases
import trainer_report as report
from trainer_floor import BFLOAT16, LIBRARIES, floor
from trainer_turns import check, start, summary, take_turns, take_turns_updating

from speediff._support import processor

if TYPE_CHECKING:
    from trainer_contenders import Contender


FLOORS = {"floor": LIBRARIES.keys() - {BFLOAT16}, "bf16_floor": {BFLOAT16}}
"""The libraries whose products are the floor in float32 and in bfloat16."""


def measure(case: cases.Case, kinds: list[str], threads: int, seed: int, rounds: int) -> dict[str, Any]:
    """All that is known of a case."""
    with ExitStack() as stack:
        contenders = start(stack, kinds, case, threads, seed)
        libraries = start(stack, list(LIBRARIES), case, threads, seed)
        checked = check(case, contenders)
        seconds, faults, products, sustained = take_turns(contenders, libraries, rounds)
        memory = {kind: contender.ask("memory") for kind, contender in contenders.items()}
        if memory["speediff"]["torch"]:
            sys.exit("SpeeDiff's process has imported torch: its memory means nothing")
        updates, bandwidth = take_turns_updating(contenders, libraries["torch.mm"], max(2, rounds // 3))
        parameters = {contender.about["parameters"] for contender in contenders.values()}
        if len(parameters) > 1:
            sys.exit(f"{case.title}: networks of {parameters} parameters: no report")
        least = {kind: [min(times) for times in zip(*rows, strict=True)] for kind, rows in products.items()}
        count = parameters.pop()

        def floor_of(kinds: set[str]) -> dict[str, Any]:
            some, long = ({kind: one[kind] for kind in kinds} for one in (least, sustained))
            return floor(case, count, some, long, bandwidth)

        figures = {kind: summary(s) for kind, s in seconds.items()}
        return {
            "case": vars(case),
            "versions": merged(contenders, libraries),
            "parameters": count,
            "check": checked,
            "step_seconds": figures,
            "ratios": ratios(figures, "speediff"),
            "bf16_ratios": ratios(figures, "speediff_bf16"),
            "page_faults_per_step": faults,
            "memory_bytes": memory,
            "update_seconds": {kind: summary(s) for kind, s in updates.items()},
            **{name: floor_of(kinds) for name, kinds in FLOORS.items() if kinds <= least.keys()},
        }


def ratios(figures: dict[str, Any], to: str) -> dict[str, dict[str, float]]:
    """The times of all contenders over those of one of SpeeDiff's; empty if it is not among them."""
    if to not in figures:
        return {}
    others = [kind for kind in figures if not kind.startswith("speediff")]
    return {
        kind: {what: figures[kind][what] / figures[to][what] for what in ("min", "median")} for kind in others
    }


def merged(*groups: dict[str, Contender]) -> dict[str, str]:
    """The versions that contenders tell."""
    versions: dict[str, str] = {}
    for group in groups:
        for contender in group.values():
            versions |= contender.about["versions"]
    return versions


def measure_start(threads: int, seed: int, tries: int) -> dict[str, Any]:
    """Seconds to import, to create DiT-S/2, and to take the first step, in fresh processes."""
    case = cases.CASES["DiT-S/2"]
    result: dict[str, dict[str, list[float]]] = {}
    for _ in range(tries):
        for kind in ("speediff", "eager"):
            with ExitStack() as stack:
                contender = start(stack, [kind], case, threads, seed)[kind]
                found = {name: contender.about[f"{name}_seconds"] for name in ("import", "create")}
                found["first_step"] = contender.ask("check")["first_seconds"]
                for name, value in found.items():
                    result.setdefault(kind, {}).setdefault(name, []).append(value)
    return {kind: {name: summary(s) for name, s in figures.items()} for kind, figures in result.items()}


def measure_growth(
    kind: str, sizes: list[cases.Case], threads: int, seed: int, rounds: int
) -> dict[str, Any]:
    """Step times of one contender at several sizes, and the straight line through them.

    Seconds = fixed + slope · operations; fitted to minima, relative errors weighing alike.
    """
    with ExitStack() as stack:
        contenders = {str(i): start(stack, [kind], size, threads, seed)[kind] for i, size in enumerate(sizes)}
        for contender in contenders.values():
            contender.ask("check")
        seconds, *_ = take_turns(contenders, {}, rounds)
        updates: list[float] = []
        for _ in range(rounds):
            updates += contenders["0"].ask("update", 2)["seconds"]
    figures = [summary(s) for s in seconds.values()]
    least = np.array([f["min"] for f in figures])
    operations = np.array([cases.flops(size) for size in sizes], float)
    columns = np.stack([np.ones_like(operations), operations], axis=1) / least[:, None]
    fixed, slope = np.linalg.lstsq(columns, np.ones_like(least), rcond=None)[0]
    rows = [
        {
            "case": vars(size),
            "tokens": size.tokens,
            "flops": cases.flops(size),
            "attention_flops": cases.attention_flops(size),
            "step_seconds": f,
            "fitted_seconds": fixed + slope * cases.flops(size),
        }
        for size, f in zip(sizes, figures, strict=True)
    ]
    line = {"fixed_seconds": fixed, "flops_per_second": 1 / slope, "update_seconds": summary(updates)}
    return {"kind": kind, "line": line, "rows": rows}


def growth_sizes(quick: bool) -> list[cases.Case]:
    """DiT-S/4 at batch 1 … 16, then S/8, S/4 and S/2 at batch 8."""
    s8, s4, s2 = (vars(cases.CASES[name]) for name in ("DiT-S/8", "DiT-S/4", "DiT-S/2"))
    batches = (1, 2, 4) if quick else (1, 2, 4, 8, 16)
    patches = (s8, s4) if quick else (s8, s4, s2)
    by_batch = [cases.Case(**{**s4, "batch": n}) for n in batches]
    by_patch = [cases.Case(**{**fields, "batch": 2 if quick else 8}) for fields in patches]
    return list({(case.name, case.batch): case for case in by_batch + by_patch}.values())


def machine(threads: int) -> dict[str, Any]:
    """What the figures depend on, apart from the versions that the contenders tell."""
    return {
        "cpu": processor.name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load_before": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "compiler": compiler(),
    }


def compiler() -> str | None:
    """The C++ compiler that torch.compile would call."""
    return shutil.which(os.environ.get("CXX", "g++"))


def available_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def arguments() -> argparse.Namespace:
    about = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=about)
    parser.add_argument("--case", action="append", choices=list(cases.CASES), help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="DiT-S/8 and small, three rounds")
    parser.add_argument("--compile", action="store_true", help="torch.compile too; it takes minutes")
    parser.add_argument("--growth", action="store_true", help="also step time against batch and tokens")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each contender (15)")
    parser.add_argument("--threads", type=int, default=available_processors(), help="of every contender")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batch and draws")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    return parser.parse_args()


def save(result: dict[str, Any], path: Path | None) -> None:
    """Writes what there is so far."""
    if path:
        path.write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    """Measures the chosen cases, and prints the tables."""
    chosen = arguments()
    rounds = chosen.rounds or (3 if chosen.quick else 15)
    names = chosen.case or (["DiT-S/8", "small"] if chosen.quick else list(cases.CASES))
    # SpeeDiff's bf16 is left out where the processor has none.
    kinds = ["speediff", "speediff_bf16", "eager", "bf16"]
    if chosen.compile and compiler():
        kinds += ["compile", "compile_bf16"]
    elif chosen.compile:
        print("torch.compile is left out: there is no C++ compiler", file=sys.stderr)
    result: dict[str, Any] = {"machine": machine(chosen.threads), "seed": chosen.seed, "rounds": rounds}
    result["cases"] = {}
    for name in names:
        print(f"{cases.CASES[name].title} …", file=sys.stderr)
        found = measure(cases.CASES[name], kinds, chosen.threads, chosen.seed, rounds)
        result["machine"] |= found.pop("versions")
        result["cases"][name] = found
        save(result, chosen.json)
    print("start-up …", file=sys.stderr)
    result["start"] = measure_start(chosen.threads, chosen.seed, 2 if chosen.quick else 5)
    save(result, chosen.json)
    if chosen.growth:
        print("growth …", file=sys.stderr)
        sizes = growth_sizes(chosen.quick)
        result["growth"] = [
            measure_growth(kind, sizes, chosen.threads, chosen.seed, max(2, rounds // 2))
            for kind in ("speediff", "eager")
        ]
        save(result, chosen.json)
    report.show(result)


if __name__ == "__main__":
    main()
