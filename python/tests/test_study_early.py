"""Beginnings of runs that are measured more often: they join the runs that they are of, and no others."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import made_studies
import pytest
from experiments import SHORT, compare, write_images

from speediff._experiments import packed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.checkout
for module in ("tqdm", "PIL", "matplotlib"):
    pytest.importorskip(module)
made_studies.modules()
early = importlib.import_module("study.early")
experiments = importlib.import_module("study.experiments")
StudyError = experiments.StudyError


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result files of a tuned comparison, as they are committed, and those of a beginning."""
    folder = tmp_path_factory.mktemp("study")
    methods = ("--methods", "uniform,speed", "--seeds", "0,1", "--tune", "lr=1e-3,2e-3", "--tune-steps", "4")
    compare(write_images(folder), folder / "runs", *SHORT, *methods)
    packed.pack(folder / "runs", folder / "docs" / "main")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("DOCS", folder),
            ("RESULTS", "docs"),
            ("RUNS", folder),
            ("FOLDER", folder / "early"),
        ):
            patch.setattr(early, name, value)
        patch.setattr(early, "PARTS", 2)
        patch.setattr(sys, "argv", ["early", "main", "speed"])
        assert early.main() == 0
        patch.setattr(sys, "argv", ["early", "main", "p2"])
        assert early.main() == 1
    return folder / "docs" / "main"


def opened(folder: Path) -> Any:
    return experiments.StudyExperiment("main", folder, "The main one")


def test_a_run_has_the_measurements_of_its_beginning(results: Path) -> None:
    found = opened(results).results
    for arm, expected in (("uniform", [4, 8, 12]), ("speed", [2, 4, 8, 12])):
        assert len(found.runs[arm]) == 2
        for _, result in found.runs[arm]:
            assert [step for step, _ in result.rows] == expected
            assert [step for step, _ in result.times] == expected
            assert all(None not in row for _, row in result.rows)
    assert len(opened(results).every_ended()) == 2 * 2 + 4 + 2


def test_a_beginning_of_another_run_is_an_error(results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "main"
    shutil.copytree(results, folder)
    path = folder / "early" / packed.NAME
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["rows"][-1][1] *= 1.01
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(
        StudyError, match=r"main/early: speed, .*, seed 0 must end with the run's first measurement"
    ):
        opened(folder).against()
