"""Pictures of plans. Needs matplotlib, but no display and no global figure.

from speediff import plots
plots.save(plan, "plan.svg")                    # or plots.plan_figure(plan), a matplotlib Figure
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._plans import backend
from ._plans.backend import Figure, FigureCanvasAgg, MaxNLocator, literal, mpl, withStroke
from ._plans.panels import draw_emphasis, draw_method, draw_methods
from ._support.replacement import replace_bytes
from .errors import SpeeDiffValueError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .plan import Plan, Process

ENDINGS = (".png", ".svg", ".pdf")
AREA_COLORS = {"acceleration": "#fde3cf", "deceleration": "#fbf3cd", "convergence": "#e4e8ee"}
VARIANCE_COLOR, RATE_COLOR = "#222222", "#2b8a6b"
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.linewidth": 0.7,
    "axes.labelsize": 9,
    "axes.titlesize": 10,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "speediff",
    "text.usetex": False,
}
_HALO = [withStroke(linewidth=2.5, foreground="white", alpha=0.8)]


def check_path(path: str | Path) -> None:
    """Raises SpeeDiffValueError if `save` does not support the file's suffix."""
    if Path(path).suffix.lower() not in ENDINGS:
        raise SpeeDiffValueError(f"a picture's name must end in {', '.join(ENDINGS)}, got {str(path)!r}")


def save(plan: Plan, path: str | Path) -> None:
    """Draws the plan to a PNG, SVG or PDF file, chosen by suffix. Equal plans give equal files.

    Replaces an existing file atomically.

    Raises:
        SpeeDiffValueError: If the suffix is unsupported.
        OSError: If the file cannot be written.
    """
    check_path(path)
    ending = Path(path).suffix.lower()
    undated: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(ending, {})
    with mpl.rc_context(STYLE):
        content = backend.encoded(plan_figure(plan), ending, dpi=200, metadata=undated)
    replace_bytes(Path(path), content)


def plan_figure(plan: Plan) -> Figure:
    """Draws the process with its three areas, the methods' P and w over t = 1…T, and their emphasis over λ.

    A single method has P and w in one panel. Several methods share a panel for P and one for w. Every line
    and every shaded area has a gid: `process.variance`, `speed.probabilities`, `speed.emphasis`,
    `area.convergence`, ….
    """
    with mpl.rc_context(STYLE):
        rows = 2 if len(plan.methods) == 1 else 3
        figure = Figure(figsize=(7.2, 7.4 if rows == 2 else 8.8), layout="constrained")
        FigureCanvasAgg(figure)
        *panels, last = figure.subplots(rows + 1, 1)
        _draw_process(panels[0], plan.process)
        if rows == 2:
            draw_method(panels[1], panels[1].twinx(), plan)
        else:
            draw_methods(panels[1], panels[2], plan)
        for panel in panels:
            _shade(panel, plan.process)
            panel.set_xlim(0.5, plan.process.steps + 0.5)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            panel.tick_params(labelbottom=panel is panels[-1])
        panels[-1].set_xlabel("timestep t")
        draw_emphasis(last, plan)
        _shade_log_snr(last, plan)
    return figure


def _shade(panel: Axes, process: Process) -> None:
    """Step t covers [t-½, t+½], so every step lies inside its own area."""
    for area in process.areas:
        if area.steps:
            color = AREA_COLORS[area.name]
            span = panel.axvspan(area.first - 0.5, area.last + 0.5, color=color, lw=0, zorder=0)
            span.set_gid(f"area.{area.name}")


def _shade_log_snr(panel: Axes, plan: Plan) -> None:
    """Each step covers λ up to the midpoints to its neighbours. A last step with S = 0 is omitted."""
    log_snr = plan.methods[0].log_snr
    edges = np.concatenate((log_snr[:1], (log_snr[1:] + log_snr[:-1]) / 2, log_snr[-1:]))
    for area in plan.process.areas:
        last = min(area.last, len(log_snr))
        if area.first <= last:
            color = AREA_COLORS[area.name]
            span = panel.axvspan(edges[area.first - 1], edges[last], color=color, lw=0, zorder=0)
            span.set_gid(f"area.{area.name}")


def _draw_process(panel: Axes, process: Process) -> None:
    t = np.arange(1, process.steps + 1)
    marker = "." if process.steps <= 64 else ""
    (variance,) = panel.plot(
        t[:-1],
        process.variance / 2,
        VARIANCE_COLOR,
        marker=marker,
        label="variance $\\Psi_t$, over its limit 2",
    )
    variance.set_gid("process.variance")
    rate = process.rate / process.rate.max()
    (line,) = panel.plot(
        t, rate, RATE_COLOR, marker=marker, label="rate $\\partial_t(1-\\bar{\\alpha}_t)$, over its maximum"
    )
    line.set_gid("process.rate")
    panel.set_ylim(0, 1.3)
    panel.set_yticks([0, 0.5, 1])
    panel.set_ylabel("process, normalized")
    panel.set_title(_title(process), pad=20)
    _name_areas(panel, process)
    _mark_boundaries(panel, process)
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.03), ncols=2, frameon=False)


def _title(process: Process) -> str:
    title = f"{literal(process.schedule)}, $T$ = {process.steps}"
    if process.r is None:
        return title
    return f"{title}, $r$ = {process.r:g}" + (": no convergence" if process.convergence_start is None else "")


def _name_areas(panel: Axes, process: Process) -> None:
    """Draws area names: horizontal in wide areas, vertical in narrow ones, none if there is no room."""
    for area in process.areas:
        middle = (area.first + area.last) / 2
        if area.share >= 0.18:
            panel.text(middle, 1.2, area.name, ha="center", va="center")
        elif area.share >= 0.02:
            panel.text(middle, 0.5, area.name, ha="center", va="center", rotation=90, path_effects=_HALO)


def _mark_boundaries(panel: Axes, process: Process) -> None:
    """Draws lines at t_ad and τ with labels above the panel; one label for both if they are close."""
    marks = [(process.acceleration_end, f"$t_{{ad}}$ = {process.acceleration_end}")]
    if process.convergence_start is not None:
        marks.append((process.convergence_start, f"$\\tau$ = {process.convergence_start}"))
    marks.sort()
    for step, _ in marks:
        panel.axvline(step, color="#666666", lw=0.8, ls=(0, (4, 3)), zorder=1)
    steps = process.steps
    places = [float(step) for step, _ in marks]
    names = [name for _, name in marks]
    if max(places) - min(places) < 0.18 * steps:
        places, names = [sum(places) / len(places)], [",  ".join(names)]
    for place, name in zip(places, names, strict=True):
        side = "left" if place < 0.12 * steps else "right" if place > 0.88 * steps else "center"
        anchor = {"left": 0.5, "right": steps + 0.5}.get(side, place)
        panel.annotate(
            name,
            (anchor, 1),
            (0, 3),
            xycoords=panel.get_xaxis_transform(),
            textcoords="offset points",
            ha=side,
        )
