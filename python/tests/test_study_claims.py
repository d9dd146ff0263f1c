"""The verdicts on the paper's claims: by intervals, or by pairs, and never before all runs have ended."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

import made_studies
import pytest
from made_experiments import COLUMNS, DATA, STEPS, make, numbers, wobble

from speediff._experiments import results
from speediff._experiments.analysis import Analysis
from speediff._experiments.results import Result

if TYPE_CHECKING:
    from pathlib import Path

    from speediff._experiments.job import Job

pytestmark = pytest.mark.checkout
made_studies.modules()
claims = importlib.import_module("study.claims")
experiments = importlib.import_module("study.experiments")
figures = importlib.import_module("study.figures")
Condition = claims.Condition


def made(folder: Path, paces: dict[str, float], **options: Any) -> dict[str, Any]:
    """An experiment `main` whose arms have these paces."""
    arms = {name: {"method": "uniform", "lr": 0.001 * (1 + index)} for index, name in enumerate(paces)}
    make(folder / "main", arms, lambda job: paces[job.arm], **options)
    return {"main": experiments.StudyExperiment("main", folder / "main", "A")}


def judged(known: dict[str, Any], arm: str, **how: Any) -> str:
    found: str = claims.judge(Condition("main", arm, "uniform", **how), known).verdict
    return found


@pytest.mark.parametrize("by", ["speed-up", "quality"])
def test_verdicts_follow_the_interval(tmp_path: Path, by: str) -> None:
    known = made(tmp_path, {"uniform": 1.0, "fast": 2.0, "same": 1.01, "slow": 0.5})
    assert judged(known, "fast", by=by) == claims.HELD
    assert judged(known, "same", by=by) == claims.OPEN
    assert judged(known, "slow", by=by) == claims.FAILED
    assert judged(known, "fast", by=by, more_than=1.5) == claims.HELD
    assert judged(known, "fast", by=by, more_than=1.9) == claims.OPEN
    assert judged(known, "fast", by=by, more_than=3) == claims.FAILED


def test_a_gain_is_the_ratio_of_costs_and_a_difference_of_kid(tmp_path: Path) -> None:
    """FD is 1000/(pace·step·wobble), so the ratio of the medians of all pairs is the ratio of the paces."""
    known = made(tmp_path, {"uniform": 1.0, "fast": 2.0})
    gain = figures.gain(known["main"], "fast", "fd", "uniform")
    assert gain.median.low == pytest.approx(2)
    assert gain.is_interval
    gain = figures.gain(known["main"], "fast", "kid", "uniform")
    pairs = [
        numbers(100 * wobble(slow))[1] - numbers(200 * wobble(fast))[1]
        for slow in range(5)
        for fast in range(5)
    ]
    assert gain.median.low == pytest.approx(sorted(pairs)[12])
    assert min(pairs) < gain.range.low < gain.range.high < max(pairs)
    assert judged(known, "fast", by="quality", measure="kid") == claims.HELD
    assert str(gain) == f"{gain.median.low:.4g} [{gain.range.low:.4g}, {gain.range.high:.4g}]"


def test_a_measure_that_does_not_compare_two_arms_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the loss of arms with different schedules."""
    known = made(tmp_path, {"uniform": 1.0, "fast": 2.0})
    monkeypatch.setattr(Analysis, "is_comparable", lambda self, arm, _: arm.name == self.baseline)
    for by in claims.KINDS:
        assert judged(known, "fast", by=by) == claims.OPEN


@pytest.mark.parametrize(("seeds", "verdict"), [(2, "OPEN"), (3, "HELD"), (4, "HELD"), (5, "HELD")])
def test_few_seeds_decide_by_all_pairs_and_two_do_not(tmp_path: Path, seeds: int, verdict: str) -> None:
    known = made(tmp_path, {"uniform": 1.0, "fast": 2.0, "near": 1.05}, seeds=range(seeds))
    assert judged(known, "fast") == getattr(claims, verdict)
    assert judged(known, "near") == claims.OPEN
    figure = figures.speed_up(known["main"], "fast", "fd")
    assert figure.is_interval == (seeds == 5)
    assert ("(" in str(figure)) == (seeds < 5)


def test_nothing_is_decided_before_all_runs_have_ended(tmp_path: Path) -> None:
    known = made(
        tmp_path, {"uniform": 1.0, "fast": 2.0}, skipped=lambda job: job.seed == 4 and job.arm == "fast"
    )
    found = claims.judge(Condition("main", "fast", "uniform"), known)
    assert found.verdict == claims.UNTESTED
    assert "4 of 5 and 5 of 5 runs" in found.text
    missing = {"main": experiments.StudyExperiment("main", tmp_path / "none", "A")}
    assert claims.judge(Condition("main", "fast", "uniform"), missing).verdict == claims.UNTESTED


def test_a_claim_of_several_comparisons_needs_all_and_fails_by_one(tmp_path: Path) -> None:
    known = made(tmp_path, {"uniform": 1.0, "fast": 2.0, "same": 1.0, "slow": 0.5})
    known["none"] = experiments.StudyExperiment("none", tmp_path / "none", "B")

    def verdict(*arms: str) -> str:
        conditions = [Condition("none" if arm == "none" else "main", arm, "uniform") for arm in arms]
        found: str = claims.verdict(claims.Claim("x", "X", tuple(conditions)), known)
        return found

    assert verdict("fast") == verdict("fast", "fast") == claims.HELD
    assert verdict("fast", "same") == claims.OPEN
    assert verdict("fast", "same", "none") == claims.UNTESTED
    assert verdict("fast", "same", "none", "slow") == claims.FAILED
    assert verdict() == claims.UNTESTED


def test_a_comparison_may_only_have_to_be_not_lost(tmp_path: Path) -> None:
    known = made(tmp_path, {"uniform": 1.0, "fast": 2.0, "same": 1.0, "slow": 0.5})

    def verdict(arm: str) -> str:
        conditions = (
            Condition("main", "fast", "uniform"),
            Condition("main", arm, "uniform", "kid", suffices=claims.OPEN),
        )
        found: str = claims.verdict(claims.Claim("x", "X", conditions), known)
        return found

    assert verdict("fast") == verdict("same") == claims.HELD
    assert verdict("slow") == claims.FAILED


def test_comparisons_say_what_is_missing_and_what_suffices(tmp_path: Path) -> None:
    known = made(
        tmp_path,
        {"uniform": 1.0, "same": 1.0, "part": 1.0},
        skipped=lambda job: job.seed == 4 and job.arm == "part",
    )
    known["none"] = experiments.StudyExperiment("none", tmp_path / "none", "B")
    conditions = (
        Condition("main", "same", "uniform", "kid", suffices=claims.OPEN),
        Condition("main", "same", "uniform"),
        Condition("main", "part", "uniform"),
        Condition("none", "same", "uniform"),
    )
    head, _, top, rule, *rows = claims.comparisons([claims.Claim("x", "X", conditions)], known).splitlines()
    assert head == "X: **not tested**."
    assert (top.count("|"), rule) == (7, "| --- | --- | --- | --- | --- | --- |")
    assert rows[0].startswith("| `main` | `same` over `uniform` | KID | 1.0")
    assert rows[0].endswith(" | not decided, which suffices |")
    assert rows[1].startswith("| `main` | `same` over `uniform` | FD | 1.0")
    assert rows[1].endswith(" | not decided |")
    assert rows[2:] == [
        "| `main` | `part` over `uniform` | FD | 4 of 5 and 5 of 5 runs | – | not tested |",
        "| `none` | `same` over `uniform` | FD | not run yet | – | not tested |",
    ]


def test_a_run_that_diverged_is_never_as_good(tmp_path: Path) -> None:
    """One run of five has no last measurement: an infinite cost, so there is no interval, and a pair is 0."""

    def write(folder: Path, job: Job) -> None:
        rows: Any = [(step, numbers(2 * step)) for step in STEPS[:2]]
        times = [(step, (2.0 * step, 0.5)) for step, _ in rows]
        results.write(folder, job, Result(job.settings, COLUMNS, rows, times, True, 30, DATA))

    known = made(
        tmp_path, {"uniform": 1.0, "fast": 2.0}, skipped=lambda job: job.seed == 4 and job.arm == "fast"
    )
    job = next(job for job in known["main"]._experiment.main_jobs() if job.seed == 4 and job.arm == "fast")
    write(tmp_path / "main", job)
    known = {"main": experiments.StudyExperiment("main", tmp_path / "main", "A")}
    for by in claims.KINDS:
        assert judged(known, "fast", by=by) == claims.OPEN
    gain = figures.gain(known["main"], "fast", "fd", "uniform")
    assert (gain.range.low, gain.is_interval) == (0.0, False)
    assert figures.gain(known["main"], "uniform", "fd", "fast").range.high == float("inf")


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"reason": ""}, "either conditions or a reason"),
        ({"reason": "none", "conditions": [{"experiment": "main", "arm": "a", "than": "b"}]}, "either"),
        ({"conditions": [{"experiment": "other", "arm": "a", "than": "b"}]}, "no experiment 'other'"),
        ({"conditions": [{"experiment": "main", "arm": "a", "than": "b", "by": "luck"}]}, "got 'luck'"),
        ({"conditions": [{"experiment": "main", "arm": "a", "than": "b", "suffices": "luck"}]}, "got 'luck'"),
        ({"conditions": [{"experiment": "main", "arm": "a", "over": "b"}]}, "got experiment, arm, over"),
    ],
)
def test_a_claim_that_nothing_can_decide_is_an_error(tmp_path: Path, plain: Any, message: str) -> None:

    known = {"main": experiments.StudyExperiment("main", tmp_path / "main", "A")}
    file = tmp_path / "claims.json"
    file.write_text(json.dumps([{"name": "x", "claim": "X", "paper": "1", **plain}]))
    with pytest.raises(experiments.StudyError, match=message):
        claims.read(file, known)
