"""A run of the study that is made again: the same bits, or what differs."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING

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
again = importlib.import_module("study.again")
StudyError = importlib.import_module("study.experiments").StudyError


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result files of a tuned comparison, as they are committed."""
    folder = tmp_path_factory.mktemp("study")
    methods = ("--methods", "uniform,speed", "--seeds", "0,1", "--tune", "lr=1e-3,2e-3", "--tune-steps", "8")
    compare(write_images(folder), folder / "runs", *SHORT, *methods)
    packed.pack(folder / "runs", folder / "main")
    return folder / "main"


def keys(experiment: Path) -> list[str]:
    return [json.loads(line)["run"] for line in (experiment / packed.NAME).read_text().splitlines()]


@pytest.mark.parametrize("seed", [0, 1, 1000])
def test_a_run_comes_out_the_same(experiment: Path, tmp_path: Path, seed: int) -> None:
    is_tuning = seed == 1000
    key = next(key for key in keys(experiment) if key.endswith(f"/seed-{seed}"))
    plan, job, before = again.kept(experiment, key)
    assert job.is_tuning == is_tuning
    after = again.make(again.alone(plan, job), job, tmp_path / "again", tmp_path / "none")
    assert len(after.rows) == (2 if is_tuning else 3)
    assert again.differences(before, after) == []
    assert "are the same, to the last bit" in again.told(before, after)


def test_what_differs_is_told(experiment: Path, tmp_path: Path) -> None:
    path = tmp_path / "main" / packed.NAME
    path.parent.mkdir(parents=True)
    key = keys(experiment)[0]
    lines = [json.loads(line) for line in (experiment / packed.NAME).read_text().splitlines()]
    lines[0]["rows"][-1][1] *= 1.25
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "main" / "experiment.json").write_bytes((experiment / "experiment.json").read_bytes())
    _, _, changed = again.kept(tmp_path / "main", key)
    _, _, before = again.kept(experiment, key)
    (found,) = again.differences(changed, before)
    assert (found.step, found.measure) == (8, before.columns[0])
    assert found.share == pytest.approx(0.2)
    assert "differ, by at most 20.00%" in again.told(changed, before)


def test_a_run_that_is_not_there_is_an_error(experiment: Path) -> None:
    with pytest.raises(StudyError, match="main has no run 'p2/seed-0' that has ended, only uniform"):
        again.kept(experiment, "p2/seed-0")
