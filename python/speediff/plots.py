"""Pictures of plans. Needs matplotlib, without a display and without any global figure.

from speediff import plots
plots.save(plan, "plan.svg")                    # or plots.plan_figure(plan), a matplotlib Figure
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from .errors import SpeeDiffValueError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .plan import MethodPlan, Plan, Process

ENDINGS = (".png", ".svg", ".pdf")
AREA_COLORS = {"acceleration": "#fde3cf", "deceleration": "#fbf3cd", "convergence": "#e4e8ee"}
VARIANCE_COLOR, RATE_COLOR = "#222222", "#2b8a6b"
P_COLOR, W_COLOR = "#c8332b", "#1f5fa8"
METHOD_COLORS = ("#c8332b", "#1f5fa8", "#2b8a6b", "#8e4ea8", "#b8860b", "#444444", "#17a2b8")
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
LARGEST_RATIO = 100
"""Of weights that a linear axis still shows."""
_HALO = [withStroke(linewidth=2.5, foreground="white", alpha=0.8)]


def check_path(path: str | Path) -> None:
    """Raises SpeeDiffValueError if the file's ending is none that `save` knows."""
    if Path(path).suffix.lower() not in ENDINGS:
        raise SpeeDiffValueError(f"a picture's name must end in {', '.join(ENDINGS)}, got {str(path)!r}")


def save(plan: Plan, path: str | Path) -> None:
    """Draws the plan to a file, PNG, SVG or PDF by its ending. Equal plans give equal files.

    Raises:
        SpeeDiffValueError: If the ending is another one.
        OSError: If the file cannot be written.
    """
    check_path(path)
    ending = Path(path).suffix.lower()
    undated: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(ending, {})
    with mpl.rc_context(STYLE):
        plan_figure(plan).savefig(path, dpi=200, metadata=undated)


def plan_figure(plan: Plan) -> Figure:
    """The process with its three areas, P and w of the methods over t = 1…T, and their emphasis over λ.

    One method has P and w in one panel; several have a panel each for P and for w. Every line and
    every shaded area has a gid: `process.variance`, `speed.probabilities`, `speed.emphasis`,
    `area.convergence`, ….
    """
    with mpl.rc_context(STYLE):
        rows = 2 if len(plan.methods) == 1 else 3
        figure = Figure(figsize=(7.2, 7.2 if rows == 2 else 8.8), layout="constrained")
        FigureCanvasAgg(figure)
        *panels, last = figure.subplots(rows + 1, 1)
        _draw_process(panels[0], plan.process)
        if rows == 2:
            _draw_method(panels[1], panels[1].twinx(), plan)
        else:
            _draw_methods(panels[1], panels[2], plan)
        for panel in panels:
            _shade(panel, plan.process)
            panel.set_xlim(0.5, plan.process.steps + 0.5)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            panel.tick_params(labelbottom=panel is panels[-1])
        panels[-1].set_xlabel("time step t")
        _draw_emphasis(last, plan)
    return figure


def _shade(panel: Axes, process: Process) -> None:
    """Each step's place is [t-½, t+½], so that every step lies inside its own area."""
    for area in process.areas:
        if area.steps:
            color = AREA_COLORS[area.name]
            span = panel.axvspan(area.first - 0.5, area.last + 0.5, color=color, lw=0, zorder=0)
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
    title = f"{_literal(process.schedule)}, $T$ = {process.steps}"
    if process.r is None:
        return title
    return f"{title}, $r$ = {process.r:g}" + (": no convergence" if process.convergence_start is None else "")


def _literal(text: str) -> str:
    """The text with nothing in it that means mathematics."""
    return text.replace("$", "\\$")


def _name_areas(panel: Axes, process: Process) -> None:
    """Names across the top of wide areas, and upright in narrow ones, if there is room at all."""
    for area in process.areas:
        middle = (area.first + area.last) / 2
        if area.share >= 0.18:
            panel.text(middle, 1.2, area.name, ha="center", va="center")
        elif area.share >= 0.02:
            panel.text(middle, 0.5, area.name, ha="center", va="center", rotation=90, path_effects=_HALO)


def _mark_boundaries(panel: Axes, process: Process) -> None:
    """A line at t_ad and at τ, named above the panel; one label names both where they are close."""
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


def _draw_method(left: Axes, right: Axes, plan: Plan) -> None:
    """P in red on the left axis, w in blue on the right one."""
    method = plan.methods[0]
    _draw_probabilities(left, method, P_COLOR, "P(t)")
    _draw_uniform(left, plan)
    _draw_weights(right, method, W_COLOR, "w(t)")
    left.set_title(_literal(f"{method.name}: {method.summary}"), fontsize=9)
    # Room above each, and more above w, so that their maxima do not run into each other.
    _scale_probabilities(left, plan)
    low, high = float(method.weights.min()), float(method.weights.max())
    if not _scale_weights(right, plan):
        room = high - low if high > low else high
        right.set_ylim(low - 0.06 * room, high + 0.24 * room)
    left.set_ylabel("probability P(t)", color=P_COLOR)
    right.set_ylabel(_weight_label(plan), color=W_COLOR)
    left.tick_params(axis="y", colors=P_COLOR)
    right.tick_params(axis="y", colors=W_COLOR)
    lines = [*left.get_lines(), *right.get_lines()]
    left.legend(
        handles=lines, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=len(lines), frameon=False
    )


def _draw_methods(upper: Axes, lower: Axes, plan: Plan) -> None:
    """A color for each method, the same in both panels."""
    for index, method in enumerate(plan.methods):
        color = METHOD_COLORS[index % len(METHOD_COLORS)]
        width = _width(plan, index)
        _draw_probabilities(upper, method, color, method.name, width)
        _draw_weights(lower, method, color, method.name, width)
    _draw_uniform(upper, plan)
    _scale_probabilities(upper, plan)
    _scale_weights(lower, plan)
    upper.set_ylabel("probability P(t)")
    lower.set_ylabel(_weight_label(plan))
    lines = upper.get_lines()
    lower.legend(
        handles=lines,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.26),
        ncols=min(len(lines), 4),
        frameon=False,
    )


def _draw_probabilities(panel: Axes, method: MethodPlan, color: str, label: str, width: float = 1.6) -> None:
    t = np.arange(1, len(method.marginal) + 1)
    if method.has_marginal:
        drawn = f"{label}, drawn with N = {method.batch}"
        (line,) = panel.plot(t, method.marginal, color, drawstyle="steps-mid", lw=width, label=drawn)
        line.set_gid(f"{method.name}.marginal")
        label, style = f"{label}, nominal", ":"
    else:
        style = "-"
    (line,) = panel.plot(
        t, method.probabilities, color, ls=style, lw=width, drawstyle="steps-mid", label=label
    )
    line.set_gid(f"{method.name}.probabilities")
    panel.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)


def _scale_probabilities(panel: Axes, plan: Plan) -> None:
    tables = [table for method in plan.methods for table in (method.probabilities, method.marginal)]
    panel.set_ylim(0, 1.1 * max(float(table.max()) for table in tables))


def _width(plan: Plan, index: int) -> float:
    """Earlier methods have wider lines, which show behind later ones that cover them."""
    return min(3.0, 1.4 + 0.6 * (len(plan.methods) - 1 - index))


def _scale_weights(panel: Axes, plan: Plan) -> bool:
    """A logarithmic axis, where weights span orders of magnitude; entries of 0 are then not shown."""
    positive = np.concatenate([method.weights[method.weights > 0] for method in plan.methods])
    if len(positive) == 0 or positive.max() / positive.min() <= LARGEST_RATIO:
        return False
    panel.set_yscale("log")
    return True


def _draw_emphasis(panel: Axes, plan: Plan) -> None:
    """E over λ, with noise to the right, as in the panels above."""
    ends = []
    for index, method in enumerate(plan.methods):
        color = P_COLOR if len(plan.methods) == 1 else METHOD_COLORS[index % len(METHOD_COLORS)]
        width = _width(plan, index)
        (line,) = panel.plot(method.log_snr, method.emphasis, color, lw=width, label=method.name)
        line.set_gid(f"{method.name}.emphasis")
        share = np.cumsum(method.emphasis * np.abs(np.gradient(method.log_snr)))
        ends.append(np.interp([0.002, 0.998], share, method.log_snr))
    panel.set_xlim(max(end[0] for end in ends), min(end[1] for end in ends))
    panel.set_ylim(bottom=0)
    panel.set_xlabel("log-SNR $\\lambda$ (noise grows to the right)")
    panel.set_ylabel("emphasis E(λ)")


def _draw_weights(panel: Axes, method: MethodPlan, color: str, label: str, width: float = 1.6) -> None:
    t = np.arange(1, len(method.weights) + 1)
    marker = "." if len(t) <= 64 else ""
    (line,) = panel.plot(t, method.weights, color, lw=width, marker=marker, label=label)
    line.set_gid(f"{method.name}.weights")


def _weight_label(plan: Plan) -> str:
    return "weight w(t), over E[w]" if all(method.normalized for method in plan.methods) else "weight w(t)"


def _draw_uniform(panel: Axes, plan: Plan) -> None:
    if any(method.name == "uniform" for method in plan.methods):
        return
    steps = plan.process.steps
    line = panel.axhline(1 / steps, color="#555555", lw=1, ls="--", label="uniform P, 1/T")
    line.set_gid("uniform")
