"""The evidence of methods: in the package, in `speediff methods`, and on the methods' pages."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING

import made_studies
import numpy as np
import pytest
from made_experiments import make
from made_studies import Study, evaluate

import speediff
from speediff._methods import evidence
from speediff._methods.method_list import markdown
from speediff.cli import main as command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.checkout
made_studies.modules()
experiments = importlib.import_module("study.experiments")
StudyError = experiments.StudyError


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study(tmp_path)
    made.run()
    return made


@pytest.fixture
def packaged(study: Study, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, dict[str, list[str]]]]:
    """The package with the evidence of the study."""
    text = study.texts()[study.evidence]
    study.evidence.write_text(text, encoding="utf-8")
    monkeypatch.setattr(evidence, "PACKAGED", study.evidence)
    evidence._packaged.cache_clear()
    yield json.loads(text)
    evidence._packaged.cache_clear()


def test_each_arm_is_evidence_of_its_sampling_and_weighting(study: Study) -> None:
    found = json.loads(study.texts()[study.evidence])
    assert {kind: list(names) for kind, names in found.items()} == {
        "sampling": ["asymmetric", "laplace"],
        "weighting": ["change_aware", "p2"],
    }
    (sentence,) = found["sampling"]["laplace"]
    assert sentence.startswith("digits, `fast`, 100 steps, 5 seeds: FD (classifier) 5 [4.63, 5.435].")
    assert " Against `uniform`, 10 [9.259, 10.87]: 2.00 × [1." in sentence


def test_an_arm_is_the_evidence_of_the_preset_that_it_became(study: Study) -> None:
    known = {
        "main": {"title": "A", "evidence": True, "presets": {"fast": "cauchy+min_snr"}},
        "other": {"title": "B"},
    }
    study.write("experiments.json", json.dumps(known))
    found = json.loads(study.texts()[study.evidence])
    assert list(found["sampling"]) == ["asymmetric", "cauchy"]
    assert found["sampling"]["cauchy"] == found["weighting"]["min_snr"]
    known["main"]["presets"] = {"quick": "cauchy"}
    study.write("experiments.json", json.dumps(known))
    with pytest.raises(StudyError, match="main has no arm 'quick', only uniform, fast"):
        study.texts()


def test_presets_draw_what_their_arms_drew(linear: speediff.NoiseSchedule) -> None:
    """In the committed study, at all training steps."""
    known = experiments.read(
        made_studies.ROOT / "python/study/experiments.json", made_studies.ROOT / "docs/results/study"
    )
    pairs = {
        (experiment.results.plan.arm(arm).settings["method"], text)
        for experiment in known.values()
        for arm, text in experiment.presets.items()
        if experiment.against() is not None
    }
    assert pairs
    for pair in pairs:
        was, now = (speediff.TimestepSampler.from_text(linear, text, seed=0, prediction="v") for text in pair)
        for step in (0, 1, 999, 1000, 5000):
            assert np.array_equal(was.sample(1000, step=step)[0], now.sample(1000, step=step)[0])


def test_an_arm_is_compared_with_uniform_sampling_of_its_own_target(tmp_path: Path) -> None:
    """Or else what the target gains would count as the method's."""
    made = Study(tmp_path)
    arms = {
        "uniform": {"method": "uniform"},
        "uniform, v": {"method": "uniform", "prediction": "v"},
        "uniform, v, other rate": {"method": "uniform", "prediction": "v", "lr": 1e-3},
        "uniform, v, strata": {"method": "uniform", "prediction": "v", "strata": "stratified"},
        "fast": {"method": "laplace(scale=1)", "prediction": "v"},
        "same": {"method": "p2"},
    }
    paces = {"fast": 4.0, "uniform, v": 2.0, "uniform, v, other rate": 2.0}
    make(made.runs / "main", arms, lambda job: paces.get(job.arm, 1.0))
    made.main.pack(made.runs, made.docs / "results" / "study")
    found = json.loads(made.texts()[made.evidence])
    (fast,), (same,) = found["sampling"]["laplace"], found["weighting"]["p2"]
    against = [text.split("`")[1] for text in fast.split("Against ")[1:]]
    assert against == ["uniform, v", "uniform, v, other rate"]
    assert "Against `uniform, v`, 5 [4.63, 5.435]: 2.00 ×" in fast
    assert same.count("Against") == 1
    assert "Against `uniform`, 10" in same


def test_a_sentence_has_the_fd_without_clipping_once_all_runs_have_it(study: Study) -> None:
    for seed in range(4):
        evaluate(study, "fast", seed, 7 + seed, "unclipped")
    assert "clipped" not in study.texts()[study.evidence]
    evaluate(study, "fast", 4, 11.0, "unclipped")
    (sentence,) = json.loads(study.texts()[study.evidence])["sampling"]["laplace"]
    assert "FD (classifier) 5 [4.63, 5.435] (x₀ not clipped: 9 [7, 11]). Against `uniform`, 10" in sentence
    assert sentence.count("clipped") == 1


def test_an_arm_with_a_missing_run_is_no_evidence_yet(tmp_path: Path) -> None:
    made = Study(tmp_path)
    made.run(skipped=lambda job: job.seed == 4 and job.arm != "fast" and job.arm != "uniform")
    assert list(json.loads(made.texts()[made.evidence])) == ["sampling"]


def test_the_pages_have_it_once_and_lose_it_again(study: Study) -> None:
    page = study.docs / "methods" / "laplace.md"
    before, first = page.read_text(), study.texts()[page]
    assert (
        first.replace(first[first.index("**Evidence.**") : first.index("**When to use it.**")], "") == before
    )
    page.write_text(first)
    assert study.texts()[page] == first
    study.write("experiments.json", json.dumps({"main": {"title": "A"}, "other": {"title": "B"}}))
    assert study.texts()[page] == before


def test_the_package_and_the_command_say_it(
    packaged: dict[str, dict[str, list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    said = {(each.kind, each.name): list(each.evidence) for each in speediff.methods() if each.evidence}
    assert said == {(kind, name): said for kind, names in packaged.items() for name, said in names.items()}
    assert command(["methods"]) == 0
    shown = capsys.readouterr().out
    assert "sampling laplace\n" in shown
    assert packaged["sampling"]["laplace"][0] in shown
    assert command(["methods", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["evidence"] for each in listed if each["name"] == "p2"] == [packaged["weighting"]["p2"]]
    assert f"| [`p2`](p2.md) | {packaged['weighting']['p2'][0]} |" in markdown()


def test_a_narrow_terminal_cuts_no_sentence(
    packaged: dict[str, dict[str, list[str]]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert command(["methods"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 40
    assert "".join(packaged["sampling"]["laplace"][0].split()) in "".join(shown.split())


def test_without_evidence_nothing_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = Study(tmp_path)
    assert made.texts()[made.evidence] == "{}\n"
    for path, text in made.texts().items():
        assert "**Evidence.**" not in text, path
