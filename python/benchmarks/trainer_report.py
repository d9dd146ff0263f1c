"""The tables of `trainer.py`."""

from __future__ import annotations

from typing import Any

import rich.box
from rich.console import Console
from rich.table import Table
from trainer_cases import Case
from trainer_contenders import NAMES
from trainer_floor import LIBRARIES

PEAKS = ("peak_flops_per_second", "square_flops_per_second", "sustained_flops_per_second")


def table(title: str, *headers: str, words: int = 1) -> Table:
    """A table whose first columns are words and the others figures."""
    result = Table(title=title, box=rich.box.MARKDOWN, title_justify="left")
    for i, header in enumerate(headers):
        result.add_column(header, justify="left" if i < words else "right", no_wrap=True)
    return result


def milliseconds(figures: dict[str, Any]) -> str:
    """Minimum, median, and how far the quartiles are apart, in percent of the median."""
    spread = (figures["upper_quartile"] - figures["lower_quartile"]) / figures["median"]
    return f"{figures['min'] * 1e3:.1f} / {figures['median'] * 1e3:.1f} ({spread:.0%})"


def step_table(results: dict[str, Any]) -> Table:
    result = table(
        "A training step: ms (minimum / median, distance of the quartiles), PyTorch's time over SpeeDiff's "
        "(minima / medians; in brackets what was asked for), over its bf16's, relative error of losses of "
        "three steps",
        *("case", "contender", "ms", "images/s", "ratio", "to bf16", "losses off by"),
        words=2,
    )
    for found in results.values():
        case = Case(**found["case"])
        for kind, figures in found["step_seconds"].items():
            pairs = (found[name].get(kind) for name in ("ratios", "bf16_ratios"))
            ratio, to_bf16 = ("{min:.2f}× / {median:.2f}×".format(**pair) if pair else "" for pair in pairs)
            error = ""
            if kind != "speediff":
                error = f"{found['check'][kind]['losses_error']:.0e}"
            if kind == "eager":
                ratio += f" (≥ {case.to_reach})"
            cells = (milliseconds(figures), f"{case.batch / figures['min']:.1f}", ratio, to_bf16, error)
            result.add_row(case.title, NAMES[kind], *cells)
    return result


def memory_table(results: dict[str, Any]) -> Table:
    result = table(
        "The same processes: peak memory in MB with imports, its share of PyTorch eager's (asked: ≤ 0.70), "
        "the peak less what the imports left, and minor page faults of one step",
        *("case", "contender", "peak MB", "of eager's", "less imports", "of eager's", "page faults"),
        words=2,
    )
    for found in results.values():
        memory = found["memory_bytes"]
        own = {kind: m["peak"] - m["imports"] for kind, m in memory.items()}
        for kind, figures in memory.items():
            whole, part = figures["peak"] / memory["eager"]["peak"], own[kind] / own["eager"]
            cells = (f"{figures['peak'] / 1e6:.0f}", f"{whole:.2f}", f"{own[kind] / 1e6:.0f}", f"{part:.2f}")
            faults = str(found["page_faults_per_step"][kind])
            result.add_row(Case(**found["case"]).title, NAMES[kind], *cells, faults)
    return result


def floor_table(results: dict[str, Any]) -> Table:
    result = table(
        "The floor of SpeeDiff's step: operations of the network's products at the best sgemm (then: each "
        "linear layer at the best rate of its own shape), bytes of AdamW + EMA at the best bandwidth; minima",
        *("case", "GFLOP", "best sgemm, GFLOP/s", "products, ms", "by shape", "update, ms", "floor", "step"),
        *("share of best sgemm", "of the square's", "of the square's over as long as a step", "floor / step"),
    )
    rows = [
        (found, name, kind)
        for found in results.values()
        for name, kind in (("floor", "speediff"), ("bf16_floor", "speediff_bf16"))
        if name in found and kind in found["step_seconds"]
    ]
    for found, name, kind in rows:
        f, step = found[name], found["step_seconds"][kind]["min"]
        total = f["products_seconds"] + f["update_seconds"]
        seconds = (f["products_seconds"], f["products_by_shape_seconds"], f["update_seconds"], total, step)
        result.add_row(
            f"{Case(**found['case']).title}{', bf16' if name == 'bf16_floor' else ''}",
            f"{f['flops'] / 1e9:.1f}",
            f"{f['peak_flops_per_second'] / 1e9:.0f}, {f['peak_library']}",
            *(f"{s * 1e3:.1f}" for s in seconds),
            *(f"{f['flops'] / step / f[peak]:.0%}" for peak in PEAKS),
            f"{total / step:.0%}",
        )
    return result


def sgemm_table(results: dict[str, Any]) -> Table:
    """What the libraries reach on each shape."""
    result = table("Products, GFLOP/s", "case", "product", *LIBRARIES, words=2)
    for found in results.values():
        floors = (found.get(name, {}) for name in ("floor", "bf16_floor"))
        rates = {kind: rate for each in floors for kind, rate in each.get("flops_per_second", {}).items()}
        for name in rates["torch.mm"]:
            found_rates = (rates.get(kind, {}).get(name) for kind in LIBRARIES)
            cells = [f"{rate / 1e9:.0f}" if rate else "" for rate in found_rates]
            result.add_row(Case(**found["case"]).title, name, *cells)
    return result


def update_table(results: dict[str, Any]) -> Table:
    result = table(
        "AdamW and EMA alone (SpeeDiff's also takes the gradient's norm): ms, and GB/s at 36 bytes per "
        "parameter as a share of the best bandwidth",
        *("case", "parameters", "bandwidth, GB/s", "SpeeDiff, ms", "GB/s", "PyTorch, ms", "GB/s"),
    )
    for found in results.values():
        f = found["floor"]
        best, by_name = max(f["bandwidth_bytes_per_second"].items(), key=lambda item: item[1])[::-1], []
        for kind in ("speediff", "eager"):
            figures = found["update_seconds"][kind]
            rate = f["update_bytes"] / figures["min"]
            by_name += [milliseconds(figures), f"{rate / 1e9:.1f} ({rate / best[0]:.0%})"]
        title, count = Case(**found["case"]).title, f"{found['parameters'] / 1e6:.1f} M"
        result.add_row(title, count, f"{best[0] / 1e9:.1f}, {best[1]}", *by_name)
    return result


def start_table(start: dict[str, Any]) -> Table:
    result = table(
        "Start-up with DiT-S/2: ms, minimum / median (asked for: created within 1 s)",
        *("contender", "import", "create", "first step, batch 8"),
    )
    for kind, figures in start.items():
        cells = (milliseconds(figures[key]) for key in ("import", "create", "first_step"))
        result.add_row(NAMES[kind], *cells)
    return result


def growth_table(growth: dict[str, Any]) -> Table:
    line = growth["line"]
    result = table(
        f"Growth, {NAMES[growth['kind']]}: the line is {line['fixed_seconds'] * 1e3:.1f} ms + operations at "
        f"{line['flops_per_second'] / 1e9:.0f} GFLOP/s; AdamW and EMA alone take "
        f"{line['update_seconds']['min'] * 1e3:.1f} ms",
        *("case", "tokens", "GFLOP", "of it attention", "ms", "on the line, ms", "off by", "ms per image"),
    )
    for row in growth["rows"]:
        case, least = Case(**row["case"]), row["step_seconds"]["min"]
        result.add_row(
            *(case.title, str(row["tokens"]), f"{row['flops'] / 1e9:.2f}"),
            *(f"{row['attention_flops'] / row['flops']:.1%}", milliseconds(row["step_seconds"])),
            *(f"{row['fitted_seconds'] * 1e3:.1f}", f"{least / row['fitted_seconds'] - 1:+.0%}"),
            f"{least / case.batch * 1e3:.1f}",
        )
    return result


def show(result: dict[str, Any]) -> None:
    """Prints all tables, and what the figures depend on."""
    console = Console(width=200, highlight=False)
    about = "; ".join(f"{key} {value}" for key, value in result["machine"].items())
    console.print(f"{about}; seed {result['seed']}, {result['rounds']} rounds\n")
    kinds = (step_table, memory_table, floor_table, update_table, sgemm_table)
    tables = [make(result["cases"]) for make in kinds]
    tables += [start_table(result["start"]), *(growth_table(growth) for growth in result.get("growth", []))]
    for each in tables:
        console.print(each, "")
