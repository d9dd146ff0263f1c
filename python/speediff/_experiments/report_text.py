"""The report of an experiment as text: tables for a terminal, and the same in Markdown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from . import analysis as analyses
from . import measures
from .measures import MEASURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .analysis import Analysis, Comparison, Spread
    from .speedup import SpeedUp

    Table = list[list[str]]

DEFINITION = """\
Speed-up: at a quality, the baseline's {unit} over the arm's. Each is counted to the first crossing by the
running best, interpolated between measurements over log {unit}; nothing is extrapolated. The qualities are
spread over what all runs of both arms reached. Median over all pairs of a baseline's and an arm's run,
[lowest, highest] pair, and from five seeds of each a 95 % bootstrap interval over seeds. Same seed: the
geometric mean over the seeds that both have, of one run over the other, with Student's 95 % interval."""
SECONDS_HEADING = "## Speed-up in seconds of training"
"""What follows depends on the machine and its load. All before it is the same when it is repeated."""


def markdown(analysis: Analysis) -> str:
    """The whole report."""
    parts = [f"# {analysis.plan.source}: {', '.join(analysis.runs)}", settings(analysis)]
    parts += ["## Quality at equal steps", *_qualities(analysis)]
    if "loss" in analysis.measures and analyses.best_step(analysis) is not None:
        parts += [
            f"## Error in the noise by area, after {analyses.best_step(analysis)} steps",
            pipes(area_table(analysis)),
        ]
    parts += [f"## Speed-up over {analysis.baseline}", DEFINITION.format(unit="steps")]
    parts += _speed_ups(analysis, "in_steps")
    if analysis.choices:
        line = f"{tuning_line(analysis)} Every curve is in tuning.csv."
        parts += ["## Tuning", line, pipes(tuning_table(analysis))]
    remarks = analyses.notes(analysis)
    if remarks:
        parts += ["## Notes", "\n".join(f"- {remark}" for remark in remarks)]
    parts += [SECONDS_HEADING, DEFINITION.format(unit="seconds"), *_speed_ups(analysis, "in_seconds")]
    return "\n\n".join(parts) + "\n"


def terminal(analysis: Analysis) -> str:
    """The tables that matter most."""
    parts = []
    step = analyses.best_step(analysis)
    if step is not None:
        parts.append(f"after {step} steps, EMA weights: median over the seeds [lowest, highest]")
        parts.append(_columns(last_table(analysis, step)))
    for comparison in analysis.comparisons:
        for unit, found in (("steps", comparison.in_steps), ("seconds", comparison.in_seconds)):
            if found:
                parts.append(_headline(analysis, comparison, found, unit))
    if any(comparison.in_steps for comparison in analysis.comparisons):
        parts.append(DEFINITION.format(unit="steps"))
    parts += analyses.notes(analysis)
    return "\n".join(["", *parts])


def last_table(analysis: Analysis, step: int) -> Table:
    """Each arm's qualities after a step, and its errors by area."""
    areas = [name for name in MEASURES["loss"].columns if name != "overall"]
    names = [name for name in analysis.measures if name != "loss"]
    table = [["arm", "seeds", *names]]
    if "loss" in analysis.measures:
        table[0] += ["overall", *areas]
    for arm in analysis.runs:
        row = [arm, str(len(analysis.finished(arm)))]
        row += [spread_text(name, analysis.quality(arm, name, step)) for name in names]
        if "loss" in analysis.measures:
            # Ranges by area are in report.md.
            overall, *rest = analysis.errors(arm, step).values()
            row += [error_text(overall), *(error_text(each, has_range=False) for each in rest)]
        table.append(row)
    return table


def area_table(analysis: Analysis) -> Table:
    """The loss of each arm by area after the last common step."""
    step = analyses.best_step(analysis)
    assert step is not None
    spans = _spans(analysis)
    table = [["arm", *(f"{name} {spans.get(name, '')}".strip() for name in MEASURES["loss"].columns)]]
    for arm in analysis.runs:
        table.append([arm, *(error_text(each) for each in analysis.errors(arm, step).values())])
    return table


def tuning_table(analysis: Analysis) -> Table:
    """The mean last cost of each arm by value, and what was chosen."""
    plan = analysis.plan
    assert plan.tuning is not None
    values = sorted({value for grid in analysis.experiment.grids().values() for value in grid})
    table = [["arm", *(f"{value:g}" for value in values), "chosen"]]
    kind = MEASURES[plan.tuning.by]
    for name, choice in analysis.choices.items():
        if choice is None:
            table.append([name, *("" for _ in values), "under way"])
            continue
        cells = []
        for value in values:
            cost = choice.costs.get(value)
            is_known = cost is not None and math.isfinite(cost)
            cells.append(
                measures.shown(kind.name, kind.from_cost(cost))
                if is_known and cost is not None
                else ""
                if cost is None
                else "diverged"
            )
        edge = "" if choice.edge is None else f" ({choice.edge} edge of the grid)"
        table.append([name, *cells, f"{choice.value:g}{edge}"])
    return table


def speed_up_table(analysis: Analysis, measure: str, unit: str) -> Table:
    """The speed-ups by one measure: a row per arm and quality."""
    kind = MEASURES[measure]
    table = [["arm", kind.name, "median", "lowest", "highest", "95 % interval", "pairs", "same seed"]]
    for comparison in analysis.comparisons:
        if comparison.measure != measure:
            continue
        for found in getattr(comparison, unit):
            quality = measures.shown(measure, kind.from_cost(found.quality))
            table.append(
                [
                    comparison.arm,
                    quality,
                    str(found.median),
                    str(found.lowest),
                    str(found.highest),
                    _interval(found),
                    str(found.pairs),
                    same_seed_text(found),
                ]
            )
    return table


def spread_text(measure: str, spread: Spread | None) -> str:
    """A measure's median and range over the seeds."""
    if spread is None:
        return "–"
    median, low, high = (measures.shown(measure, each) for each in (spread.median, spread.low, spread.high))
    return median if spread.count == 1 else f"{median} [{low}, {high}]"


def error_text(spread: Spread | None, *, has_range: bool = True) -> str:
    """An error's median and range over the seeds."""
    if spread is None:
        return "–"
    text = f"{spread.median:.5f}"
    return text if spread.count == 1 or not has_range else f"{text} [{spread.low:.5f}, {spread.high:.5f}]"


def same_seed_text(found: SpeedUp) -> str:
    """The speed-up between runs of the same seed."""
    same = found.same_seed
    if same is None:
        return "–"
    return f"{same.mean:.2f} × [{same.interval.low:.2f}, {same.interval.high:.2f}]"


def _interval(found: SpeedUp) -> str:
    if found.interval is None:
        return "–"
    return f"[{found.interval.low:.2f}, {found.interval.high:.2f}]"


def _headline(analysis: Analysis, comparison: Comparison, found: Sequence[SpeedUp], unit: str) -> str:
    best, kind = found[-1], MEASURES[comparison.measure]
    quality = measures.shown(kind.name, kind.from_cost(best.quality))
    interval = "" if best.interval is None else f", 95 % interval {_interval(best)}"
    spread = "" if best.pairs == 1 else f" [{best.lowest}, {best.highest}]{interval}, {best.pairs} pairs"
    what = f"{comparison.arm} is {best.median} as fast in {unit} as {analysis.baseline}"
    return f"{what} to {kind.name} {quality}{spread}"


def _speed_ups(analysis: Analysis, unit: str) -> list[str]:
    parts = []
    for measure in analysis.measures:
        table = speed_up_table(analysis, measure, unit)
        if len(table) > 1:
            parts += [f"By {analyses.measure_title(measure, analysis)}:", pipes(table)]
    return parts or ["No two arms have reached a common quality."]


def settings(analysis: Analysis) -> str:
    """How the runs are measured, as a list."""
    measuring = analysis.plan.measuring
    of_samples = ", ".join(
        analyses.measure_title(name, analysis) for name in measures.of_samples(analysis.measures)
    )
    lines = [
        f"Seeds {analysis.plan.seeds_text}. EMA weights, measured every {measuring['measure_every']} steps."
    ]
    if of_samples:
        lines.append(
            f"On {measuring['images']} images of {measuring['sample_steps']} DDIM steps, guidance "
            f"{measuring['cfg_scale']:g}, x₀ clipped, one seed per image, the same for all: {of_samples}."
        )
    for text, found in analysis.instruments.items():
        lines.append(
            f"{text}: {found['extractor']}; resize: {found['resize']}; against {found['reference_images']} "
            f"training images{_floor_text(found['floor'])}."
        )
    if "loss" in analysis.measures:
        lines.append("Error in the noise: mean squared, unweighted, on held-out images.")
    processors = [f"{name} ({count} run{'s' * (count > 1)})" for name, count in analysis.processors().items()]
    if processors:
        lines.append(f"Made on {'; '.join(processors)}.")
    return "\n".join(f"- {line}" for line in lines)


def _floor_text(floor: dict[str, Any] | None) -> str:
    return "" if floor is None else f"; real images: {floor['n']} {floor['of']}"


def _qualities(analysis: Analysis) -> list[str]:
    if not analysis.equal_steps:
        return ["No run is finished."]
    parts = []
    for measure in analysis.measures:
        parts += [f"{analyses.measure_title(measure, analysis)}:", pipes(_quality(analysis, measure))]
    return parts


def _quality(analysis: Analysis, measure: str) -> Table:
    table = [["arm", *(f"{step} steps" for step in analysis.equal_steps)]]
    for arm in analysis.runs:
        found = [analysis.quality(arm, measure, step) for step in analysis.equal_steps]
        table.append([arm, *(spread_text(measure, each) for each in found)])
    floor = analysis.floor(measure)
    if floor is not None:
        table.append(["real images", *([measures.shown(measure, floor)] * len(analysis.equal_steps))])
    return table


def tuning_line(analysis: Analysis) -> str:
    """What was tuned, and on which seeds."""
    tuning = analysis.plan.tuning
    assert tuning is not None
    seeds = f"seed{'s' * (len(tuning.seeds) > 1)} {', '.join(map(str, tuning.seeds))}"
    steps = {arm: analysis.plan.tuning_steps(analysis.plan.arm(arm)) for arm in analysis.choices}
    usual = tuning.steps or analysis.plan.settings["steps"]
    others = [f"{arm}: {count}" for arm, count in steps.items() if count != usual]
    length = f"{usual} steps" + (f" ({', '.join(others)})" if others else "")
    return (
        f"{tuning.setting}, by the {tuning.by} after {length}, the mean over {seeds}, which the comparison "
        f"does not use.{_tolerance_text(tuning.tolerance)}"
    )


def _tolerance_text(share: float) -> str:
    return (
        f" The lowest value is chosen that is worse than the best by at most {share:.4g} of it."
        if share
        else ""
    )


def _spans(analysis: Analysis) -> dict[str, str]:
    """The timesteps of each area, if all arms have the same."""
    found = [result.data for runs in analysis.runs.values() for _, result in runs]
    if not found or any(each["areas"] != found[0]["areas"] for each in found):
        return {}
    spans = {name: f"{first}–{last}" for name, (first, last) in found[0]["areas"].items()}
    return {"overall": f"1–{found[0]['timesteps']}", **spans}


def pipes(table: Table, *, numbers: bool = True) -> str:
    """A table in Markdown, whose columns but the first are of numbers or of words."""
    head, *rows = table
    rule = ["---", *("---:" if numbers else "---" for _ in head[1:])]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (head, rule, *rows)
    )


def _columns(table: Table) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in table)
    ]
    return "\n".join(line.rstrip() for line in lines)
