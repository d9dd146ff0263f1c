"""The plot of a comparison: each method's validation loss over training, one panel per area."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._plans import backend
from .._plans.backend import Figure, FigureCanvasAgg, FuncFormatter, LogLocator, NullFormatter, literal, mpl
from .._plans.panels import METHOD_COLORS
from .._runs.validation import COLUMNS
from ..plots import AREA_COLORS, STYLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from .compare_result import Result

ROWS, PANEL = 2, (3.6, 2.6)
MARKS: tuple[tuple[float, tuple[float, ...]], ...] = (
    (50, (1,)),
    (8, (1, 2, 5)),
    (2.5, (1, 1.5, 2, 3, 4, 5, 7)),
    (0, (1, 1.2, 1.4, 1.6, 1.8, 2, 2.2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9)),
)
"""Tick positions by the ratio that an axis spans."""


def encoded(results: Sequence[Result]) -> memoryview:
    """The picture as a PNG file."""
    with mpl.rc_context(STYLE):
        return backend.encoded(compare_figure(results), ".png", dpi=160)


def compare_figure(results: Sequence[Result]) -> Figure:
    """One panel over all of T, and one per area with steps. Every line has a gid, such as `speed.overall`."""
    process = results[0].process
    spans = {"overall": (1, process.steps)}
    spans.update({area.name: (area.first, area.last) for area in process.areas if area.steps})
    columns = -(-len(spans) // ROWS)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * ROWS + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(ROWS, columns, sharex=True, squeeze=False).flat
    for panel, (name, (first, last)) in zip(panels, spans.items(), strict=False):
        _draw(panel, name, results)
        panel.set_title(f"{name}, t = {first}–{last}")
        panel.set_facecolor(AREA_COLORS.get(name, "white"))
    for panel in list(figure.axes)[len(spans) :]:
        panel.remove()
    figure.suptitle(
        f"Error in the noise on {results[0].images} held-out images\n"
        f"(unweighted, EMA weights, seed {results[0].settings['seed']})",
        fontsize=10,
    )
    for panel in figure.axes:
        if panel.get_subplotspec().is_last_row():  # type: ignore[union-attr]
            panel.set_xlabel("training step")
    lines = figure.axes[0].get_lines()
    figure.legend(handles=lines, loc="outside lower center", ncols=min(len(lines), 4), frameon=False)
    return figure


def _draw(panel: Axes, name: str, results: Sequence[Result]) -> None:
    column = 1 + COLUMNS.index(name)
    for index, result in enumerate(results):
        steps = [step for step, _ in result.rows]
        errors = np.array([values[column] for _, values in result.rows], np.float64)
        color = METHOD_COLORS[index % len(METHOD_COLORS)]
        (line,) = panel.plot(steps, errors, color=color, marker=".", label=literal(result.method))
        line.set_gid(f"{result.method}.{name}")
    panel.set_yscale("log")
    low, high = panel.get_ylim()
    places = [marks for ratio, marks in MARKS if high / low > ratio]
    panel.yaxis.set_major_locator(LogLocator(subs=places[0]))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.grid(color="white" if name != "overall" else "#dddddd", lw=0.6)
