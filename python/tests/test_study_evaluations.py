"""Runs of the study that were measured again, in its page: the finalists, and all without clipping."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import made_studies
import pytest
from made_experiments import make
from made_studies import TEMPLATE, Study, evaluate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.checkout
main = made_studies.modules()
StudyError = importlib.import_module("study.experiments").StudyError


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def test_finalists_are_a_table_of_their_evaluations(study: Study) -> None:
    study.write("template.md", f"{{evaluations:main}}\n\n{TEMPLATE}")
    study.run()
    assert "*The main one, finalists: not measured yet.*" in study.page()
    for seed, fd in enumerate((4.0, 3.0, 5.0)):
        evaluate(study, "fast", seed, fd)
        evaluate(study, "uniform", seed, 2 * fd)
    page = study.page()
    assert "| arm | seeds | FD (classifier) | KID (classifier) |" in page
    assert "| fast | 3 | 4 [3, 5] | 0.004 [0.003, 0.005] |" in page
    assert "| uniform | 3 | 8 [6, 10] |" in page
    assert "| real images |  | 0.5 | – |" in page
    assert (
        "- FD (classifier): 10000 images against 60 of digits; a classifier; resize: none; ddpm, 250 steps."
        in page
    )
    evaluate(study, "fast", 3, 4.0, n=1000)
    with pytest.raises(StudyError, match="n of fast, seed 3, is 1000, not 10000"):
        study.page()
    evaluate(study, "fast", 3, 4.0)
    evaluate(study, "quick", 0, 4.0)
    with pytest.raises(StudyError, match="'quick', which is no arm"):
        study.page()


def test_a_finalist_that_trained_for_longer_says_so(study: Study) -> None:
    arms = {"uniform": {"method": "uniform"}, "fast": {"method": "p2", "steps": 200}}
    make(study.runs / "main", arms, lambda job: 1.0)
    study.main.pack(study.runs, study.docs / "results" / "study")
    study.write("claims.json", "[]")
    study.write("template.md", "{evaluations:main}\n\n{experiment:main}\n\n{experiment:other}\n")
    for arm in arms:
        evaluate(study, arm, 0, 4.0)
    page = study.page()
    assert "| uniform | 1 | 4 |" in page
    assert "| fast (200 steps) | 1 | 4 |" in page


def test_runs_without_clipping_stand_beside_the_same_runs_with_it(study: Study) -> None:
    """Over the seeds that both have: three of five."""
    study.write("template.md", f"{{unclipped:main}}\n\n{TEMPLATE}")
    study.run()
    assert "*The main one, without clipping: not measured yet.*" in study.page()
    folder = study.docs / "results" / "study"
    runs = main.experiments.read(study.inputs / "experiments.json", folder)["main"].results.runs
    last = {(arm, job.seed): result.last("fd") for arm in runs for job, result in runs[arm]}
    for seed, fd in enumerate((4.0, 3.0, 6.0)):
        evaluate(study, "uniform", seed, fd, "unclipped")
        evaluate(study, "fast", seed, 2 * fd, "unclipped")
    page = study.page()
    assert "| arm | seeds | FD (classifier), x₀ clipped | FD (classifier), x₀ not clipped |" in page
    starts = ("| fast | 3", "| uniform | 3")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith(starts)]
    assert [row[0] for row in rows] == ["| fast", "| uniform"]
    assert [row[3] for row in rows] == ["8 [6, 12]", "4 [3, 6]"]
    assert rows[0][4].startswith("2.00 × (1.")
    assert rows[0][5] == "0.50 × (0.25 to 1.00) |"
    assert rows[1][4:] == ["–", "– |"]
    study.write("template.md", f"{{without:main:fast:uniform}}\n\n{TEMPLATE}")
    with pytest.raises(StudyError, match="not all runs of 'fast' were measured without clipping"):
        study.page()
    for arm in ("uniform", "fast"):
        for seed in (3, 4):
            evaluate(study, arm, seed, 4.0 if arm == "uniform" else 8.0, "unclipped")
    assert study.page().startswith("0.50 × [0.")
    for row, arm in zip(rows, ("fast", "uniform"), strict=True):
        assert row[2].startswith(f"{sorted(last[arm, seed] for seed in range(3))[1]:.4g} [")
