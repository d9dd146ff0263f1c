"""A plan in the terminal, in 80 columns."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    from ..plan import Area, MethodPlan, Plan, Process, Table

STYLES = {"acceleration": "dark_orange", "deceleration": "gold3", "convergence": "bright_black"}
SHORT_NAMES = {"acceleration": "accel.", "deceleration": "decel.", "convergence": "conv."}
CURVE_COLUMNS = 56
BARS = "▁▂▃▄▅▆▇█"


def print_plan(plan: Plan) -> None:
    """Prints the schedule's areas and each method's shares and curves."""
    # Only ranges of six or more digits need more than 80 columns.
    width = 80 if plan.process.steps < 100_000 else 96
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    process = plan.process
    console.print(Text(process.schedule, "bold") + Text(f"  {_table_facts(process)}"), soft_wrap=True)
    console.print(_boundaries(process))
    for method in plan.methods:
        console.print()
        console.print(Text(method.name, "bold") + Text(f"  {method.summary}"), overflow="fold")
        console.print(_shares(process, method))
        if not console.options.ascii_only:
            console.print(_curves(process, method))
        for line in _notes(process, method):
            console.print(line)


def _table_facts(process: Process) -> str:
    return f"T = {process.steps}, β from {process.betas[0]:.4g} to {process.betas[-1]:.4g}"


def _boundaries(process: Process) -> RichTable:
    grid = RichTable.grid(padding=(0, 2))
    for _ in range(3):
        grid.add_column(no_wrap=True)
    closed = process.closed_form
    note = "the process changes fastest" + (f"; closed form {closed.acceleration_end:.2f}" if closed else "")
    grid.add_row("t_ad", str(process.acceleration_end), note)
    grid.add_row(*_convergence(process))
    last = float(process.magnitude[-1])
    grid.add_row("1/ᾱ at T", f"{last:.6g}", "" if np.isfinite(last) else "zero terminal SNR")
    return grid


def _convergence(process: Process) -> tuple[str, str, str]:
    start, closed = process.convergence_start, process.closed_form
    if process.r is None and start is not None:
        return "τ", str(start), f"as given; 1/ᾱ is {process.magnitude[start - 1]:.6g} there"
    name = f"τ = t_dc({process.r:g})"
    if start is None:
        return name, "none", "1/ᾱ stays below r: no convergence area"
    if start == process.steps:
        return name, str(start), "1/ᾱ > r only at the last step: no convergence area"
    note = f"first t with 1/ᾱ > {process.r:g}"
    if closed and closed.convergence_start is not None:
        note += f"; closed form {closed.convergence_start:.2f}"
    return name, str(start), note


def _shares(process: Process, method: MethodPlan) -> RichTable:
    """One row per area; shares in percent, and their ratio to uniform training's."""
    table = RichTable(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    headers = ["area", "t", "steps", "steps\n%", "drawn\n%", "vs\nunif.", "mean\nw", "P·w\n%", "vs\nunif."]
    if method.has_marginal:
        headers.insert(4, "nom.\n%")
    for header in headers:
        left = header in ("area", "t")
        table.add_column(
            header, justify="left" if left else "right", vertical="bottom", no_wrap=True, min_width=6
        )
    for area, share in zip(process.areas, method.areas, strict=True):
        nominal = [_percent(share.nominal)] if method.has_marginal else []
        table.add_row(
            Text(area.name, STYLES[area.name]),
            f"{area.first}–{area.last}" if area.steps else "none",
            str(area.steps),
            _percent(area.share),
            *nominal,
            _percent(share.drawn),
            _ratio(share.drawn_ratio),
            "–" if share.mean_weight is None else f"{share.mean_weight:.4f}",
            _percent(share.objective),
            _ratio(share.objective_ratio),
        )
    mean = 1.0 if method.normalized else method.expected_weight
    nominal = ["100.0"] if method.has_marginal else []
    steps = process.steps
    table.add_row(
        "all",
        f"1–{steps}",
        str(steps),
        "100.0",
        *nominal,
        "100.0",
        "",
        f"{mean:.4f}",
        "100.0",
        "",
        style="bold",
    )
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _ratio(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}×"


def _notes(process: Process, method: MethodPlan) -> list[str]:
    notes = [f"E[w] = {method.expected_weight:.4f}"]
    if method.has_marginal:
        notes[0] += f" with a batch of {method.batch} a call"
        acting = "" if method.acting_k is None else f", k acts as {method.acting_k:.1f}"
        notes.append(
            f"draws come in pairs: E[w] is {method.nominal_expected_weight:.4f} under the nominal P{acting}"
        )
    if method.normalized:
        notes[0] += "; the weights above are divided by it"
    notes.extend(_emphasis(method))
    if method.changes:
        notes.append(f"P changes during training: this is step {method.step} (--at-step)")
    if method.learns:
        notes.append("learns from losses: this is the start of training")
    if method.tau is not None and method.tau != process.convergence_start:
        notes.append(f"τ = {method.tau}: this method suppresses the steps beyond it")
    return notes


def _emphasis(method: MethodPlan) -> list[str]:
    """The quartiles of the emphasis in log-SNR, and the areas' shares if the table lacks them."""
    if method.log_snr_quartiles is None:
        return ["no emphasis: only steps with SNR 0 have weight"]
    first, median, third = method.log_snr_quartiles
    lines = [f"emphasis: half of it lies at log-SNR {first:.2f} to {third:.2f}, median {median:.2f}"]
    if method.prediction != "epsilon":
        shares = ", ".join(_percent(area.emphasis or 0) for area in method.areas)
        lines.append(
            f"weights for the {method.prediction} loss; on the ε loss the areas get {shares} % of P·w"
        )
    return lines


def _curves(process: Process, method: MethodPlan) -> RichTable:
    """P and w over t from their smallest to their largest value, below a ruler of the areas."""
    grid = RichTable.grid(padding=(0, 1))
    for _ in range(3):
        grid.add_column(no_wrap=True)
    ruler = Text()
    for area in process.areas:
        ruler.append(_ruler(area, process.steps), STYLES[area.name])
    grid.add_row("", ruler, "")
    for label, values in (("T·P", process.steps * method.marginal), ("w", method.weights)):
        low, high = f"{values.min():.3f}", f"{values.max():.3f}"
        grid.add_row(label, _bars(values), low if low == high else f"{low} to {high}")
    return grid


def _ruler(area: Area, steps: int) -> str:
    begin, end = (round(CURVE_COLUMNS * step / steps) for step in (area.first - 1, area.last))
    columns = end - begin
    if columns < 2:
        return "│" * columns
    fitting = [name for name in (area.name, SHORT_NAMES[area.name]) if len(name) <= columns - 2]
    return "├" + (fitting[0] if fitting else "").center(columns - 2, "─") + "┤"


def _bars(values: Table) -> str:
    """The curve as a bar chart with eight levels."""
    edges = np.arange(CURVE_COLUMNS + 1) * len(values) // CURVE_COLUMNS
    means = np.array([values[a : max(b, a + 1)].mean() for a, b in pairwise(edges)])
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-12 * abs(high):
        return BARS[3] * CURVE_COLUMNS
    return "".join(BARS[min(7, int(8 * (mean - low) / (high - low)))] for mean in means)
