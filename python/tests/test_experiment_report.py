"""The report of an experiment from result files alone: what it says, and what its curves are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from speediff._experiments import plan, report_text, results
from speediff._experiments.analysis import NOT_RECORDED, Analysis
from speediff._experiments.experiment import Experiment
from speediff._experiments.results import Result
from speediff._runs.run_settings import DEFAULTS
from speediff._runs.validation import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEPS = (10, 20, 50, 100)
MEASURING = {**plan.MEASURING, "measure": ["fd", "kid", "accuracy", "loss"], "measure_every": 10}
DATA = {
    "data": "none",
    "validation_images": 9,
    "timesteps": 1000,
    "areas": {"acceleration": [1, 220], "deceleration": [221, 700], "convergence": [701, 1000]},
}
NUMBERS = ("fd", "kid", "kid_std", "accuracy", *COLUMNS)


def quality(step: float) -> tuple[float | None, ...]:
    """FD 1000/step, KID 1 - log10(step)/2, an accuracy that misses 1/step, losses 1/step."""
    kid = 1 - len(str(int(step))) / 2
    return (1000 / step, kid, 0.0, 1 - 1 / step, *(1 / step for _ in COLUMNS))


def experiment(folder: Path, arms: dict[str, Callable[[int, int], float]], seeds: int = 5) -> Experiment:
    """Result files of runs that are as far as others after `speed(seed, step)` steps."""
    names = tuple(plan.Arm(name, {"method": name}) for name in arms)
    settings = {**DEFAULTS, "steps": 100}
    made = Experiment(
        folder, plan.Plan("digits", "none", settings, MEASURING, tuple(range(seeds)), names, None)
    )
    for job in made.main_jobs():
        rows: Any = [(step, quality(arms[job.arm](job.seed, step))) for step in STEPS]
        times = [(step, (step * (2.0 if job.arm == "p2" else 1.0), 0.1)) for step in STEPS]
        results.write(folder, job, Result(job.settings, NUMBERS, rows, times, True, None, DATA))
    return Experiment(folder, made.plan)


def wobble(seed: int) -> float:
    """Seeds differ by up to 8 %."""
    return 0.92 + 0.04 * seed


def test_a_method_twice_as_fast_is_found_to_be(tmp_path: Path) -> None:
    """In steps; in seconds it has lost that, since each of its steps takes twice the time."""
    arms: Any = {
        "uniform": lambda seed, step: step * wobble(seed),
        "p2": lambda seed, step: 2 * step * wobble(seed),
    }
    analysis = Analysis(experiment(tmp_path, arms))
    found = {comparison.measure: comparison for comparison in analysis.comparisons}
    assert list(found) == ["fd", "kid", "accuracy", "loss"]
    for name in ("fd", "accuracy", "loss"):
        assert len(found[name].in_steps) >= 3
        for each in found[name].in_steps:
            assert each.pairs == 25
            assert each.median.low == pytest.approx(2, rel=1e-9)
            assert each.lowest.low == pytest.approx(2 * wobble(0) / wobble(4))
            assert each.highest.high == pytest.approx(2 * wobble(4) / wobble(0))
            assert each.interval is not None
            assert 1.7 < each.interval.low < 2 < each.interval.high < 2.35
        for each in found[name].in_seconds:
            assert each.median.low == pytest.approx(1, rel=1e-9)
    text = report_text.markdown(analysis)
    assert "| p2 | 10.87 | 2.00 × | 1.70 × | 2.35 × | [" in text
    before, after = text.split(report_text.SECONDS_HEADING)
    assert "2.00 ×" in before
    assert "2.00 ×" not in after
    assert "1.00 ×" in after


def test_kinds_of_processors_are_counted(tmp_path: Path) -> None:
    """Those of runs whose files do not say it are named, too."""
    made = experiment(tmp_path, {"uniform": lambda _, step: step})
    for job in made.main_jobs()[1:]:
        found = made.result(job)
        assert found is not None
        kind = "AMD EPYC" if job.seed < 4 else "Intel"
        results.write(tmp_path, job, replace(found, data={**DATA, "processor": kind}))
    analysis = Analysis(Experiment(tmp_path, made.plan))
    assert analysis.processors() == {"AMD EPYC": 3, "Intel": 1, NOT_RECORDED: 1}
    assert f"- Made on AMD EPYC (3 runs); {NOT_RECORDED} (1 run); Intel (1 run).\n" in report_text.markdown(
        analysis
    )
    assert "Made on" not in report_text.markdown(
        Analysis(experiment(tmp_path / "old", {"p2": lambda _, step: step}))
    )


def test_the_baseline_can_be_another_arm(tmp_path: Path) -> None:
    arms: Any = {"uniform": lambda _, step: step, "p2": lambda _, step: 2 * step}
    analysis = Analysis(experiment(tmp_path, arms), "p2")
    assert {comparison.arm for comparison in analysis.comparisons} == {"uniform"}
    assert analysis.comparisons[0].in_steps[-1].median.low == pytest.approx(0.5)


def test_a_run_that_ends_far_above_its_own_best_is_named(tmp_path: Path) -> None:
    made = experiment(tmp_path, {"uniform": lambda _, step: step, "p2": lambda _, step: step})
    assert Analysis(made).collapsed() == []
    (job,) = [job for job in made.main_jobs() if job.arm == "p2" and job.seed == 3]
    for last, falls in ((29.9, False), (30.1, True)):
        rows: Any = [(50, quality(50)), (100, (last, *quality(50)[1:]))]
        times = [(step, (1.0 * step, 0.1)) for step, _ in rows]
        results.write(tmp_path, job, Result(job.settings, NUMBERS, rows, times, True, None, DATA))
        found = Analysis(Experiment(tmp_path, made.plan))
        expected = [("p2/seed-3", "fd", last, 20.0)] if falls else []
        assert [(each.key, *rest) for each, *rest in found.collapsed()] == expected
        said = (
            "p2, seed 3: fell apart. Its fd ended at 30.1, far above its own best, 20."
            in report_text.markdown(found)
        )
        assert said == falls


def test_quality_is_compared_after_the_same_steps(tmp_path: Path) -> None:
    arms: Any = {
        "uniform": lambda seed, step: step * (1 + seed),
        "p2": lambda seed, step: 2 * step * (1 + seed),
    }
    analysis = Analysis(experiment(tmp_path, arms, seeds=3))
    assert analysis.equal_steps == list(STEPS)
    found = analysis.quality("p2", "fd", 100)
    assert found is not None
    assert (found.median, found.low, found.high) == pytest.approx((2.5, 1000 / 600, 5))
    assert "2.5 [1.667, 5]" in report_text.markdown(analysis)
    assert "there is no interval" in report_text.terminal(analysis)


def test_curves_are_medians_with_bands(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from speediff._experiments import curves

    arms: Any = {
        "uniform": lambda seed, step: step * (1 + seed),
        "p2": lambda seed, step: 2 * step * (1 + seed),
    }
    analysis = Analysis(experiment(tmp_path, arms, seeds=3))
    figure = curves.measures_figure(analysis)
    assert len(figure.axes) == 4
    fd, kid, accuracy, loss = figure.axes
    lines = {line.get_gid(): line for axes in figure.axes for line in axes.get_lines()}
    assert list(lines["uniform.fd"].get_xdata()) == list(STEPS)
    assert list(lines["p2.fd"].get_ydata()) == pytest.approx([1000 / (4 * step) for step in STEPS])
    assert list(lines["p2.accuracy"].get_ydata()) == pytest.approx([1 / (4 * step) for step in STEPS])
    assert [axes.get_yscale() for axes in (fd, kid, accuracy, loss)] == ["log", "linear", "log", "log"]
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}
    band = fd.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx((1000 / 300, 1000 / 10))
    areas = curves.areas_figure(analysis)
    assert [axes.get_title() for axes in areas.axes] == [
        "overall, t = 1–1000",
        "acceleration, t = 1–220",
        "deceleration, t = 221–700",
        "convergence, t = 701–1000",
    ]
    lines = {line.get_gid(): line for axes in areas.axes for line in axes.get_lines()}
    assert list(lines["p2.convergence"].get_ydata()) == pytest.approx([1 / (4 * step) for step in STEPS])


def test_a_damaged_result_file_is_named(tmp_path: Path) -> None:
    from speediff import SpeeDiffValueError

    arms: Any = {"uniform": lambda _, step: step}
    made = experiment(tmp_path, arms, seeds=1)
    (job,) = made.main_jobs()
    path = results.path(tmp_path, job, "json")
    path.write_text(path.read_text()[:50])
    with pytest.raises(SpeeDiffValueError, match=r"seed-0\.json is damaged .* --resume repeats the run"):
        Analysis(Experiment(tmp_path, made.plan))
    results.write(tmp_path, job, Result({**job.settings, "hidden": 7}, NUMBERS, [], [], True, None, DATA))
    with pytest.raises(SpeeDiffValueError, match="must be of a run with hidden = None, got 7"):
        Analysis(Experiment(tmp_path, made.plan))
    other = {**DATA, "data": "other"}
    results.write(tmp_path, job, Result(job.settings, NUMBERS, [], [], True, None, other))
    with pytest.raises(SpeeDiffValueError, match="must be of a run on none, got other: choose another --out"):
        Analysis(Experiment(tmp_path, made.plan))
