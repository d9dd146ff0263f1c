"""The curves of an experiment: each arm's median over its seeds, with the range as a band."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._plans import backend
from .._plans.backend import Figure, FigureCanvasAgg, FuncFormatter, LogLocator, NullFormatter, literal, mpl
from .._plans.panels import METHOD_COLORS
from ..plots import AREA_COLORS, STYLE
from . import analysis as analyses
from .measures import MEASURES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .analysis import Analysis
    from .results import Result

ROWS, PANEL = 2, (3.6, 2.6)
MEASURE_PANEL = (4.6, 3.4)
MARKS: tuple[tuple[float, tuple[float, ...]], ...] = (
    (50, (1,)),
    (8, (1, 2, 5)),
    (2.5, (1, 1.5, 2, 3, 4, 5, 7)),
    (0, (1, 1.2, 1.4, 1.6, 1.8, 2, 2.2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9)),
)
"""Tick positions by the ratio that an axis spans."""
STYLES = ("-", "--", ":", "-.")
"""Line styles, for more arms than colors."""


def encoded(figure: Figure) -> memoryview:
    """A picture as a PNG file."""
    with mpl.rc_context(STYLE):
        return backend.encoded(figure, ".png", dpi=160)


def measures_figure(analysis: Analysis) -> Figure:
    """A panel per measure: its cost over steps, log-log; KID over log steps. A line's gid is ARM.MEASURE."""
    names = analysis.measures
    with mpl.rc_context(STYLE):
        columns = min(2, len(names))
        rows = -(-len(names) // columns)
        size = MEASURE_PANEL[0] * columns, MEASURE_PANEL[1] * rows + 0.8
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        for panel, name in zip(panels, names, strict=False):
            kind = MEASURES[name]
            for index, (arm, runs) in enumerate(analysis.runs.items()):
                results = [result for _, result in runs]
                _draw(panel, index, arm, kind.column, results, f"{arm}.{name}", is_share=kind.is_share)
            title = analyses.measure_title(name, analysis)
            panel.set_title(f"1 - {title}" if kind.is_share else title)
            panel.set_xscale("log")
            panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            panel.xaxis.set_minor_formatter(NullFormatter())
            if kind.is_log:
                _scale(panel)
            panel.grid(color="#dddddd", lw=0.6)
            panel.set_xlabel("training step")
        for panel in panels[len(names) :]:
            panel.remove()
        _finish(figure, _bands(analysis))
        return figure


def areas_figure(analysis: Analysis) -> Figure:
    """The error in the noise: a panel over all of T, and one per area. A line's gid is ARM.AREA."""
    every = [*analysis.runs[analysis.baseline], *(pair for runs in analysis.runs.values() for pair in runs)]
    data = every[0][1].data
    with mpl.rc_context(STYLE):
        spans = {"overall": [1, data["timesteps"]], **data["areas"]}
        columns = -(-len(spans) // ROWS)
        figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * ROWS + 0.6), layout="constrained")
        FigureCanvasAgg(figure)
        panels = list(figure.subplots(ROWS, columns, sharex=True, squeeze=False).flat)
        for panel, (name, (first, last)) in zip(panels, spans.items(), strict=False):
            for index, (arm, runs) in enumerate(analysis.runs.items()):
                if analysis.is_comparable(analysis.plan.arm(arm), "loss"):
                    _draw(panel, index, arm, name, [result for _, result in runs], f"{arm}.{name}")
            _scale(panel)
            panel.set_title(f"{name}, t = {first}–{last}")
            panel.set_facecolor(AREA_COLORS.get(name, "white"))
            panel.grid(color="white" if name != "overall" else "#dddddd", lw=0.6)
        for panel in panels[len(spans) :]:
            panel.remove()
        for panel in figure.axes:
            if panel.get_subplotspec().is_last_row():  # type: ignore[union-attr]
                panel.set_xlabel("training step")
        images = data["validation_images"]
        _finish(figure, f"Error in the noise on {images} held-out images\n{_bands(analysis)}")
        return figure


def _draw(
    panel: Axes, index: int, arm: str, column: str, results: list[Result], gid: str, *, is_share: bool = False
) -> None:
    """An arm's median at each measured step, and the range over its runs."""
    values: dict[int, list[float]] = {}
    for result in results:
        at = result.columns.index(column)
        for step, row in result.rows:
            if row[at] is not None:
                values.setdefault(step, []).append(1 - row[at] if is_share else row[at])  # type: ignore[operator, arg-type]
    # Where only some runs have been measured, a median would jump.
    most = max(map(len, values.values()), default=0)
    steps = [step for step in sorted(values) if len(values[step]) == most]
    each = [values[step] for step in steps]
    color = METHOD_COLORS[index % len(METHOD_COLORS)]
    style = STYLES[index // len(METHOD_COLORS) % len(STYLES)]
    medians = np.array([np.median(found) for found in each])
    (line,) = panel.plot(steps, medians, style, color=color, marker=".", label=literal(arm))
    line.set_gid(gid)
    if most > 1:
        low, high = ([pick(found) for found in each] for pick in (min, max))
        panel.fill_between(steps, low, high, color=color, alpha=0.15, lw=0)


def _scale(panel: Axes) -> None:
    """A logarithmic axis with ticks that suit its range."""
    if all(value > 0 for line in panel.get_lines() for value in line.get_ydata()):  # type: ignore[union-attr, operator]
        panel.set_yscale("log")
        low, high = panel.get_ylim()
        places = [marks for ratio, marks in MARKS if high / low > ratio]
        panel.yaxis.set_major_locator(LogLocator(subs=places[0] if places else MARKS[-1][1]))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())


def _finish(figure: Figure, title: str) -> None:
    figure.suptitle(literal(title), fontsize=10)
    lines = figure.axes[0].get_lines()
    figure.legend(handles=lines, loc="outside lower center", ncols=min(len(lines), 4), frameon=False)


def _bands(analysis: Analysis) -> str:
    counts = {len(runs) for runs in analysis.runs.values()}
    seeds = ", ".join(map(str, analysis.plan.seeds))
    if max(counts) <= 1:
        return f"EMA weights, seed {seeds}"
    return f"EMA weights, median and range over the seeds ({seeds})"
