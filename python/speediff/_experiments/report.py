"""The files of a report. All are drawn from the small result files.

report.md            qualities at equal steps, speed-ups, tuning, notes
results.csv          every measurement of the comparison
results.json         settings, tuning and speed-ups in full
tuning.csv           every measurement of tuning, by the measure that decides
times.csv            seconds of training; it and the last section of report.md differ when repeated
curves.png           each measure over training
areas.png            the error in the noise by area
samples.png          samples of each arm after the same steps
"""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .._runs import picture_grids
from .._support import extras, replacement, text_names
from .._support.replacement import replace_bytes, replace_text
from .._support.version import __version__
from . import report_text, results
from .measures import MEASURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from .analysis import Analysis
    from .job import Job
    from .results import Result
    from .speedup import SpeedUp

TEXTS = ("report.md", "results.csv", "results.json", "times.csv")
CURVES, AREAS, SAMPLES, TUNING = "curves.png", "areas.png", "samples.png", "tuning.csv"


def check() -> None:
    """Raises SpeeDiffError if curves cannot be drawn."""
    extras.load_own("_experiments.curves", "curves.png")


def check_files(folder: Path, *, has_samples: bool, has_areas: bool) -> None:
    """Raises OSError if a file cannot be written. Called before training."""
    for name in (*TEXTS, CURVES, *([SAMPLES] if has_samples else []), *([AREAS] if has_areas else [])):
        replacement.check(folder / name)


def write(analysis: Analysis) -> list[Path]:
    """Writes all files and returns their paths."""
    from . import curves, sample_figure

    folder, runs = analysis.experiment.folder, [pair for found in analysis.runs.values() for pair in found]
    report, measured, numbers, times = (folder / name for name in TEXTS)
    columns = analysis.experiment.columns
    replace_text(report, report_text.markdown(analysis))
    replace_text(measured, _table(columns, runs))
    replace_text(numbers, text_names.to_json(_plain(analysis)))
    written = [report, measured, numbers]
    if analysis.choices:
        replace_text(folder / TUNING, _table(columns, _tuning_runs(analysis)))
        written.append(folder / TUNING)
    replace_text(times, _times(runs))
    written.append(times)
    if any(result.rows for _, result in runs):
        replace_bytes(folder / CURVES, curves.encoded(curves.measures_figure(analysis)))
        written.append(folder / CURVES)
        if "loss" in analysis.measures:
            replace_bytes(folder / AREAS, curves.encoded(curves.areas_figure(analysis)))
            written.append(folder / AREAS)
    picture = sample_figure.picture(analysis)
    if picture is not None:
        picture_grids.write(picture, folder / SAMPLES)
        written.append(folder / SAMPLES)
    return written


def _tuning_runs(analysis: Analysis) -> list[tuple[Job, Result]]:
    found = [(job, analysis.experiment.result(job)) for job in analysis.experiment.tuning_jobs()]
    return [(job, result) for job, result in found if result is not None]


def _table(columns: Sequence[str], runs: Iterable[tuple[Job, Result]]) -> str:
    rows: list[list[Any]] = [["arm", "tuned", "seed", "step", *columns]]
    for job, result in runs:
        rows += [[job.arm, job.variant, job.seed, step, *values] for step, values in result.rows]
    return _csv(rows)


def _times(runs: Iterable[tuple[Job, Result]]) -> str:
    rows: list[list[Any]] = [["arm", "tuned", "seed", "step", *results.TIMES]]
    for job, result in runs:
        rows += [[job.arm, job.variant, job.seed, step, *values] for step, values in result.times]
    return _csv(rows)


def _csv(rows: Iterable[Iterable[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue()


def _plain(analysis: Analysis) -> dict[str, Any]:
    """The results as plain values for JSON, without times."""
    plan = analysis.plan
    data: dict[str, Any] = next((result.data for runs in analysis.runs.values() for _, result in runs), {})
    return {
        "speediff": __version__,
        "baseline": analysis.baseline,
        "speed_up": report_text.DEFINITION.format(unit="steps").replace("\n", " "),
        **{name: value for name, value in data.items() if name != "processor"},
        "processors": analysis.processors(),
        "measuring": plan.measuring,
        "tuning": {
            "plan": None if plan.tuning is None else plan.tuning.to_json(),
            "choices": {
                name: choice
                and {
                    "value": choice.value,
                    "edge": choice.edge,
                    "mean_cost": {f"{value!r}": _finite(cost) for value, cost in choice.costs.items()},
                }
                for name, choice in analysis.choices.items()
            },
        },
        "diverged": [{"run": job.key, "step": step} for job, step in analysis.diverged()],
        "fell_apart": [
            {"run": job.key, "measure": name, "last": last, "best": best}
            for job, name, last, best in analysis.collapsed()
        ],
        "arms": [
            {
                "arm": arm,
                "runs": [
                    {
                        "seed": job.seed,
                        "settings": result.settings,
                        "measured": [
                            {"step": step, **dict(zip(result.columns, values, strict=True))}
                            for step, values in result.rows
                        ],
                    }
                    for job, result in runs
                ],
            }
            for arm, runs in analysis.runs.items()
        ],
        "speed_ups": [
            {
                "arm": comparison.arm,
                "measure": comparison.measure,
                "levels": [_level(comparison.measure, found) for found in comparison.in_steps],
            }
            for comparison in analysis.comparisons
        ],
    }


def _level(measure: str, found: SpeedUp) -> dict[str, Any]:
    """A speed-up as plain values. An end of a bound that is infinite is null."""
    plain = {
        name: None if bounds is None else {end: _finite(value) for end, value in asdict(bounds).items()}
        for name, bounds in (
            ("median", found.median),
            ("lowest", found.lowest),
            ("highest", found.highest),
            ("interval", found.interval),
        )
    }
    return {
        "quality": MEASURES[measure].from_cost(found.quality),
        **plain,
        "pairs": found.pairs,
        "same_seed": None if found.same_seed is None else asdict(found.same_seed),
    }


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None
