"""Measuring runs of the study again: what is asked of `speediff evaluate`, and what is left to do."""

from __future__ import annotations

import importlib
import json
import shutil
from typing import TYPE_CHECKING, Any

import made_studies
import pytest

from speediff._experiments import plan as plans

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.checkout
made_studies.modules()
again = importlib.import_module("study.again")
remeasure = importlib.import_module("study.remeasure")
StudyError = importlib.import_module("study.experiments").StudyError
KEY = "fast/seed-0"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose experiment `main` has ended, with one checkpoint."""
    results = tmp_path / "docs" / "results" / "study"
    shutil.copytree(made_studies.whole(), results / "main")
    checkpoint = tmp_path / "runs" / "study" / "main" / "runs" / KEY / "run.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    for name, value in (
        ("ROOT", tmp_path),
        ("DOCS", tmp_path / "docs"),
        ("RUNS", tmp_path / "runs" / "study"),
    ):
        monkeypatch.setattr(remeasure, name, value)
    return tmp_path


def test_runs_are_measured_as_their_experiment_but_for_clipping() -> None:
    plan = plans.read(made_studies.ROOT / "docs" / "results" / "study" / "main")
    (found,) = remeasure.flags(plan, remeasure.UNCLIPPED).values()
    assert " ".join(found) == (
        "--against fashion-mnist --threads 1 --reference-images 10000 --n 1000 --steps 20 --no-clip "
        "--measure fd --features classifier"
    )


def test_finalists_are_measured_as_the_paper_samples() -> None:
    plan = plans.read(made_studies.ROOT / "docs" / "results" / "study" / "main")
    found = remeasure.flags(plan, remeasure.FINALISTS)
    assert found.keys() == {"fd", "kid"}
    assert " ".join(found["kid"]).endswith(
        "--n 10000 --method ddpm --steps 250 --measure kid --features efficientnet-lite0"
    )


def test_what_was_measured_is_not_measured_again(root: Path) -> None:
    (left,) = remeasure.measurements("main", remeasure.UNCLIPPED, [KEY])
    assert left.file == root / "docs/results/study/main/unclipped/fast/seed-0.fd.json"
    left.file.parent.mkdir(parents=True)
    left.file.touch()
    assert remeasure.measurements("main", remeasure.UNCLIPPED, [KEY]) == []


def test_a_run_that_was_made_again_has_its_checkpoint_there(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "AGAIN", root / "again")
    made = root / "again/main/uniform/seed-0/runs/uniform/seed-0/run.safetensors"
    made.parent.mkdir(parents=True)
    made.touch()
    (left,) = remeasure.measurements("main", remeasure.UNCLIPPED, ["uniform/seed-0"])
    assert left.checkpoint == made


def test_a_run_without_a_checkpoint_is_an_error(root: Path) -> None:
    with pytest.raises(StudyError, match=r"runs/uniform/seed-0/run.safetensors is gone: make it again with"):
        remeasure.measurements("main", remeasure.UNCLIPPED, ["uniform/seed-0"])
    with pytest.raises(StudyError, match="no run 'quick/seed-0' that has ended, only uniform/seed-0"):
        remeasure.measurements("main", remeasure.UNCLIPPED, ["quick/seed-0"])


def test_the_command_runs_and_says_what_failed(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[list[str]] = []

    def run(command: list[str], **how: Any) -> Any:
        calls.append(command)
        if len(calls) > 1:
            return type("Done", (), {"returncode": 2, "stderr": "speediff: no such luck\n"})
        file = root / command[command.index("--json") + 1]
        file.write_text(json.dumps({}))
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(remeasure.subprocess, "run", run)
    monkeypatch.setattr(remeasure.sys, "argv", ["remeasure", "main", "unclipped", KEY])
    assert remeasure.main() == 0
    assert capsys.readouterr().out == "docs/results/study/main/unclipped/fast/seed-0.fd.json\n"
    assert calls[0][2:5] == ["speediff", "evaluate", f"runs/study/main/runs/{KEY}/run.safetensors"]
    assert remeasure.main() == 0
    assert len(calls) == 1
    (root / "docs/results/study/main/unclipped/fast/seed-0.fd.json").unlink()
    assert remeasure.main() == 1
    assert "no such luck" in capsys.readouterr().err
    monkeypatch.setattr(remeasure.sys, "argv", ["remeasure", "main", "evaluations"])
    with pytest.raises(SystemExit):
        remeasure.main()
