"""The result files of an experiment in one: what it keeps, and that a report and a resumed run take it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from experiments import SHORT, compare, write_images
from made_experiments import make, write_run

from speediff._experiments import packed, plan, report_text
from speediff._experiments.analysis import Analysis
from speediff._experiments.experiment import Experiment
from speediff.cli import main
from speediff.errors import SpeeDiffValueError

if TYPE_CHECKING:
    from pathlib import Path

ARMS: Any = {"uniform": {"method": "uniform"}, "a.b c": {"method": "p2"}}


def opened(folder: Path) -> Experiment:
    return Experiment(folder, plan.read(folder))


def made(folder: Path, **options: Any) -> Experiment:
    pace = lambda job: 1 + (job.arm != "uniform") + 100 * job.settings["lr"]  # noqa: E731
    return make(folder, ARMS, pace, lr=(0.001, 0.002, 0.004), **options)


def test_a_packed_experiment_has_every_run_and_the_same_report(tmp_path: Path) -> None:
    experiment = made(tmp_path / "runs")
    count = packed.pack(tmp_path / "runs", tmp_path / "kept")
    jobs = [*experiment.tuning_jobs(), *experiment.main_jobs()]
    assert count == len(jobs) == 2 * 3 + 2 * 5
    files = {str(path.relative_to(tmp_path / "kept")) for path in (tmp_path / "kept").rglob("*.*")}
    assert files == {"experiment.json", "results/floor.json", "results/runs.jsonl"}
    kept = opened(tmp_path / "kept")
    for job in jobs:
        assert kept.finished(job) == experiment.finished(job)
    assert report_text.markdown(Analysis(kept)) == report_text.markdown(Analysis(experiment))


def test_packing_again_changes_nothing_and_adds_what_ended_since(tmp_path: Path) -> None:
    last = {"seed": 4}
    experiment = made(tmp_path / "runs", skipped=lambda job: job.seed == last["seed"])
    packed.pack(tmp_path / "runs", tmp_path / "kept")
    before = (tmp_path / "kept" / packed.NAME).read_bytes()
    packed.pack(tmp_path / "runs", tmp_path / "kept")
    assert (tmp_path / "kept" / packed.NAME).read_bytes() == before
    shutil.rmtree(tmp_path / "runs" / "results" / "uniform")  # What another machine has made.
    job = next(job for job in experiment.main_jobs() if job.seed == 4)
    write_run(tmp_path / "runs", job, 1.0)
    assert packed.pack(tmp_path / "runs", tmp_path / "kept") == before.count(b"\n") + 1
    assert set(before.splitlines()) < set((tmp_path / "kept" / packed.NAME).read_bytes().splitlines())


def test_a_run_that_has_not_ended_is_left_out(tmp_path: Path) -> None:
    experiment = made(tmp_path, skipped=lambda job: job.seed == 4)
    job = experiment.main_jobs()[-1]
    write_run(tmp_path, job, 1.0, ended=False)
    packed.pack(tmp_path, tmp_path)
    assert job.key not in packed.read(tmp_path)
    assert opened(tmp_path).result(job) is not None, "its own files are read"


def test_a_run_s_own_files_come_before_its_line(tmp_path: Path) -> None:
    experiment = made(tmp_path)
    packed.pack(tmp_path, tmp_path)
    job = experiment.main_jobs()[0]
    before = experiment.finished(job)
    write_run(tmp_path, job, 7.0)
    fresh = opened(tmp_path).finished(job)
    assert None not in (before, fresh)
    assert fresh != before


def test_damage_is_named(tmp_path: Path) -> None:
    experiment = made(tmp_path / "runs")
    packed.pack(tmp_path / "runs", tmp_path)
    path, job = tmp_path / packed.NAME, experiment.main_jobs()[0]
    text = path.read_text()
    path.write_text(text[:-20])
    with pytest.raises(SpeeDiffValueError, match=r"runs\.jsonl is damaged"):
        opened(tmp_path).result(job)
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        line["columns"] = ["fd"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(SpeeDiffValueError, match=r"runs\.jsonl is damaged .*columns"):
        opened(tmp_path).result(job)


def test_the_command_reports_and_resumes_from_a_packed_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write_images(tmp_path)
    compare(data, tmp_path / "runs", "--methods", "uniform", *SHORT)
    packed.pack(tmp_path / "runs", tmp_path / "kept")
    assert main(["compare", "--report", str(tmp_path / "kept")]) == 0
    compare(data, tmp_path / "kept", "--methods", "uniform", *SHORT, "--resume")
    assert not (tmp_path / "kept" / "runs").exists(), "it trained a run again"
    for name in ("results.csv", "times.csv", "report.md", "curves.png"):
        assert (tmp_path / "kept" / name).read_bytes() == (tmp_path / "runs" / name).read_bytes()
    compare(data, tmp_path / "kept", "--methods", "uniform", *SHORT, "--resume", "--seeds", "1")
    found = opened(tmp_path / "kept")
    assert [found.finished(job) is not None for job in found.main_jobs()] == [True, True]
