"""A plan's panels for methods: P and w over t, and the emphasis over log-SNR."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from .backend import literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..plan import MethodPlan, Plan

P_COLOR, W_COLOR, EMPHASIS_COLOR, UNIFORM_COLOR = "#c8332b", "#1f5fa8", "#8e4ea8", "#555555"
METHOD_COLORS = ("#c8332b", "#1f5fa8", "#2b8a6b", "#8e4ea8", "#b8860b", "#444444", "#17a2b8")
LARGEST_RATIO, SHOWN_RATIO = 100, 1e8
"""The largest weight ratio for a linear axis, and for a logarithmic one."""
TITLE_LETTERS, LEGEND_LETTERS = 88, 110
"""Characters that fit on a line."""
UNSEEN = 0.002
"""The share of each method's emphasis that may lie beyond each end of the panel."""


def draw_method(left: Axes, right: Axes, plan: Plan) -> None:
    """Draws P in red on the left axis and w in blue on the right one."""
    method = plan.methods[0]
    _draw_probabilities(left, method, "P(t)", color=P_COLOR)
    _draw_uniform(left, plan)
    _draw_weights(right, method, "w(t)", color=W_COLOR)
    title = textwrap.fill(f"{method.name}: {method.summary}", TITLE_LETTERS)
    left.set_title(literal(title), fontsize=9)
    # Headroom above each, with more above w, so that their maxima do not overlap.
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


def draw_methods(upper: Axes, lower: Axes, plan: Plan) -> None:
    """Draws P and w of several methods. Each method has one color in all panels."""
    for index, method in enumerate(plan.methods):
        look = _look(plan, index)
        _draw_probabilities(upper, method, literal(method.name), **look)
        _draw_weights(lower, method, method.name, **look)
    _draw_uniform(upper, plan)
    _scale_probabilities(upper, plan)
    _scale_weights(lower, plan)
    upper.set_ylabel("probability P(t)")
    lower.set_ylabel(_weight_label(plan))
    lines = upper.get_lines()
    longest = max(len(str(line.get_label())) for line in lines)
    lower.legend(
        handles=lines,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.26),
        ncols=max(1, min(len(lines), 4, LEGEND_LETTERS // (longest + 8))),
        frameon=False,
    )


def draw_emphasis(panel: Axes, plan: Plan) -> None:
    """Draws E over λ. Noise grows to the right, as in the panels above."""
    curves = []
    for index, method in enumerate(plan.methods):
        if method.emphasis is not None:
            look = {"color": EMPHASIS_COLOR} if len(plan.methods) == 1 else _look(plan, index)
            (line,) = panel.plot(method.log_snr, method.emphasis, label="E(λ)", **look)
            line.set_marker(_marker(method.emphasis))
            line.set_gid(f"{method.name}.emphasis")
            curves.append(line)
    uniform, log_snr = plan.process.uniform_emphasis, plan.methods[0].log_snr
    if uniform is not None:
        label = "uniform draws, w = 1 on ε"
        (line,) = panel.plot(log_snr, uniform, UNIFORM_COLOR, lw=1, ls="--", label=label)
        line.set_gid("process.uniform_emphasis")
        curves.append(line)
    ends = [_ends(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in curves]
    if ends:
        panel.set_xlim(max(end[0] for end in ends), min(end[1] for end in ends))
        shown = curves if len(plan.methods) == 1 else curves[-1:]
        panel.legend(handles=shown, loc="best", framealpha=0.7, edgecolor="none")
    panel.set_ylim(bottom=0)
    panel.set_xlabel("log-SNR $\\lambda$ (noise grows to the right)")
    panel.set_ylabel("emphasis E(λ)")


def _ends(log_snr: np.ndarray, emphasis: np.ndarray) -> tuple[float, float]:
    """The range of λ that holds nearly all of the emphasis."""
    share = np.cumsum(emphasis * np.abs(np.gradient(log_snr)))
    first, last = np.interp([UNSEEN, 1 - UNSEEN], share, log_snr)
    return float(first), float(last)


def _look(plan: Plan, index: int) -> dict[str, Any]:
    """Color, style and width of a method's lines."""
    after = len(plan.methods) - 1 - index
    return {
        "color": METHOD_COLORS[index % len(METHOD_COLORS)],
        "ls": "-" if index < len(METHOD_COLORS) else (0, (6, 1.5)),
        # Earlier methods have wider lines, so they stay visible behind later ones.
        "lw": 1.4 + min(0.6, 2.4 / len(plan.methods)) * after,
    }


def _marker(table: np.ndarray) -> str:
    return "." if len(table) <= 64 else ""


def _draw_probabilities(panel: Axes, method: MethodPlan, label: str, **look: Any) -> None:
    t = np.arange(1, len(method.marginal) + 1)
    look["drawstyle"] = "steps-mid"
    if method.has_marginal:
        drawn = f"{label}, drawn with N = {method.batch}"
        (line,) = panel.plot(t, method.marginal, label=drawn, **look)
        line.set_gid(f"{method.name}.marginal")
        label, look["ls"] = f"{label}, nominal", ":"
    (line,) = panel.plot(t, method.probabilities, label=label, **look)
    line.set_gid(f"{method.name}.probabilities")
    panel.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)


def _scale_probabilities(panel: Axes, plan: Plan) -> None:
    tables = [table for method in plan.methods for table in (method.probabilities, method.marginal)]
    panel.set_ylim(0, 1.1 * max(float(table.max()) for table in tables))


def _scale_weights(panel: Axes, plan: Plan) -> bool:
    """Uses a logarithmic axis if weights span orders of magnitude. It omits 0 and the smallest."""
    positive = np.concatenate([method.weights[method.weights > 0] for method in plan.methods])
    low, high = float(positive.min()), float(positive.max())
    if high / low <= LARGEST_RATIO:
        return False
    panel.set_yscale("log")
    panel.set_ylim(max(low, high / SHOWN_RATIO) / 2, high * 2)
    return True


def _draw_weights(panel: Axes, method: MethodPlan, label: str, **look: Any) -> None:
    t = np.arange(1, len(method.weights) + 1)
    (line,) = panel.plot(t, method.weights, marker=_marker(t), label=label, **look)
    line.set_gid(f"{method.name}.weights")


def _weight_label(plan: Plan) -> str:
    """The axis label; names the loss unless it is ε's."""
    target = plan.methods[0].prediction
    label = "weight w(t)" if target == "epsilon" else f"weight w(t), {target}"
    return f"{label}, over E[w]" if all(method.normalized for method in plan.methods) else label


def _draw_uniform(panel: Axes, plan: Plan) -> None:
    if any(method.name == "uniform" for method in plan.methods):
        return
    line = panel.axhline(1 / plan.process.steps, color=UNIFORM_COLOR, lw=1, ls="--", label="uniform P, 1/T")
    line.set_gid("uniform")
