"""Experiments of tiny networks: kills, growth, what is kept, and runs that diverge."""

from __future__ import annotations

import csv
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from experiments import (
    NETWORK,
    SHORT,
    command,
    compare,
    files_but_times,
    kill_after,
    kill_at_random,
    write_images,
)
from training_runs import fails

from speediff._experiments import processes
from speediff.cli import main

if TYPE_CHECKING:
    from pathlib import Path

for module in ("tqdm", "PIL", "matplotlib"):
    pytest.importorskip(module)

TUNED = (*SHORT, "--methods", "uniform,speed", "--seeds", "0,1", "--tune", "lr=1e-3,2e-3")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_images(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(images: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tuned comparison of two seeds that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "out"
    compare(images, out, *TUNED)
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_all_is_in_the_result(whole: Path) -> None:
    arms = [(row["arm"], row["seed"]) for row in rows(whole / "results.csv") if row["step"] == "12"]
    assert arms == [("uniform", "0"), ("speed", "0"), ("uniform", "1"), ("speed", "1")] or sorted(
        arms
    ) == sorted([("uniform", "0"), ("uniform", "1"), ("speed", "0"), ("speed", "1")])
    tuning = rows(whole / "tuning.csv")
    assert {(row["arm"], row["tuned"]) for row in tuning} == {
        (arm, f"lr={rate}") for arm in ("uniform", "speed") for rate in ("0.001", "0.002")
    }
    assert {row["seed"] for row in tuning} == {"1000"}
    assert {row["step"] for row in tuning} == {"4", "8", "12"}
    found = json.loads((whole / "results.json").read_text())
    for arm in found["arms"]:
        choice = found["tuning"]["choices"][arm["arm"]]
        last = {
            float(row["tuned"][3:]): float(row["overall"])
            for row in tuning
            if row["arm"] == arm["arm"] and row["step"] == "12"
        }
        assert choice["mean_cost"] == {repr(value): cost for value, cost in last.items()}
        assert choice["value"] == min(last, key=lambda value: last[value])
        assert choice["edge"] == ("lower" if choice["value"] == 0.001 else "upper")
        assert [run["settings"]["lr"] for run in arm["runs"]] == [choice["value"]] * 2
    report = (whole / "report.md").read_text()
    assert "edge of its grid" in report
    assert "Speed-up: at a quality, the baseline's steps over the arm's." in report


def test_a_comparison_that_is_killed_has_the_same_files(images: str, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for results in (1, 4):
        kill_after(images, out, *TUNED, "--checkpoint-every", "2", results=results)
    compare(images, out, *TUNED, "--checkpoint-every", "2", "--resume")
    assert files_but_times(out) == files_but_times(whole)


@pytest.mark.long
def test_ten_kills_at_random_moments_change_nothing(images: str, whole: Path, tmp_path: Path) -> None:
    out, longer = tmp_path / "out", ("--steps", "600", "--measure-every", "100", "--checkpoint-every", "20")
    compare(images, tmp_path / "whole", *TUNED, *longer)
    assert kill_at_random(images, out, *TUNED, *longer, times=10, seed=0, longest=8.0) >= 5
    compare(images, out, *TUNED, *longer, "--resume")
    assert files_but_times(out) == files_but_times(tmp_path / "whole")


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: Any, **__: Any) -> None:
        raise AssertionError("a finished run is made again")

    monkeypatch.setattr(processes, "Process", late)


@pytest.mark.usefixtures("no_training")
def test_finished_runs_are_never_made_again(images: str, whole: Path, tmp_path: Path) -> None:
    """Result files alone are enough, and the report can be drawn without the data."""
    kept = tmp_path / "kept"
    shutil.copytree(whole / "results", kept / "results")
    shutil.copy(whole / "experiment.json", kept)
    before = files_but_times(whole)
    compare(images, kept, *TUNED, "--resume")
    assert files_but_times(kept) == before
    for name in before:
        if not name.startswith("results/") and name != "experiment.json":
            (kept / name).unlink()
    assert main(["compare", "--report", str(kept)]) == 0
    assert files_but_times(kept) == before


def test_an_experiment_grows(images: str, tmp_path: Path) -> None:
    """By seeds, arms and steps: as if it had been planned so."""
    grown, planned = tmp_path / "grown", tmp_path / "planned"
    short = ("--measure-every", "3", "--samples", "0", "--jobs", "2")
    compare(images, grown, *short, "--steps", "3", "--methods", "uniform")
    compare(images, grown, "--resume", "--steps", "6", "--methods", "uniform,speed", "--seeds", "1")
    compare(images, planned, *short, "--steps", "6", "--methods", "uniform,speed", "--seeds", "0,1")
    assert files_but_times(grown) == files_but_times(planned)


def test_a_grid_grows_and_the_choice_with_it(images: str, tmp_path: Path) -> None:
    short = ("--measure-every", "6", "--steps", "6", "--samples", "0", "--methods", "uniform")
    compare(images, tmp_path / "out", *short, "--tune", "lr=1e-5,1e-4")
    first = json.loads((tmp_path / "out" / "results.json").read_text())["tuning"]["choices"]["uniform"]
    assert (first["value"], first["edge"]) == (1e-4, "upper")
    compare(images, tmp_path / "out", "--resume", "--tune", "lr=1e-4,4e-3")
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(found["tuning"]["choices"]["uniform"]["mean_cost"]) == ["1e-05", "0.0001", "0.004"]
    assert found["arms"][0]["runs"][0]["settings"]["lr"] == 4e-3


def test_a_grid_grows_by_itself_and_a_report_knows(images: str, tmp_path: Path) -> None:
    """From rates that teach nothing in six steps: the edge is better until the training is too fast."""
    short = ("--measure-every", "6", "--steps", "6", "--samples", "0", "--methods", "uniform")
    out = tmp_path / "out"
    compare(images, out, *short, "--tune", "lr=1e-3,1e-2,...")
    found = json.loads((out / "results.json").read_text())
    tuned = found["tuning"]["choices"]["uniform"]
    assert tuned["edge"] is None
    assert len(tuned["mean_cost"]) > 2
    assert found["arms"][0]["runs"][0]["settings"]["lr"] == tuned["value"]
    before = files_but_times(out)
    compare(images, out, "--resume")
    assert main(["compare", "--report", str(out)]) == 0
    assert files_but_times(out) == before


@pytest.mark.usefixtures("no_training")
def test_another_experiment_is_refused(
    images: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags, message in (
        (("--hidden", "32"), "--resume needs the settings of the run: --hidden 16, got 32"),
        (("--measure-every", "5"), "--measure-every 4, got 5; choose another --out"),
        (("--sample-steps", "3"), "--sample-steps 2, got 3"),
        (("--tune", "warmup=1,2"), "--tune lr, got warmup"),
        (("--tune-seeds", "7"), "--tune-seeds must be given together with --tune"),
        (("--seeds", "1000"), "--tune-seeds must differ from --seeds, got 1000 in both"),
    ):
        fails(capsys, message, *command(images, whole, "--resume"), *flags)
    data = write_images(tmp_path / "..")
    (tmp_path / "few").mkdir()
    import numpy as np

    np.savez(tmp_path / "few" / "other.npz", images=np.zeros((60, 8, 8), np.uint8), labels=np.arange(60) % 3)
    fails(capsys, "--resume needs the data of the experiment", *command(data, whole, "--resume")[:1],
          str(tmp_path / "few" / "other.npz"), *command(data, whole, "--resume")[2:])  # fmt: skip
    arms = tmp_path / "arms.json"
    arms.write_text(json.dumps({"speed": {"ema_decay": 0.5}}))
    fails(
        capsys,
        "--ema-decay none in the arm 'speed', got 0.5",
        *command(images, whole, "--resume"),
        "--arms",
        str(arms),
    )


def test_a_run_that_diverges_is_a_result(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With such a rate the weights overflow at once."""
    arms = tmp_path / "arms.json"
    arms.write_text(json.dumps({"uniform": {}, "wild": {"method": "uniform", "lr": 1e30}}))
    flags = ("--steps", "8", "--measure-every", "4", "--samples", "0", "--seeds", "0,1", "--arms", str(arms))
    compare(images, tmp_path / "out", *flags)
    assert "wild, seed 0: diverged at step" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [each["run"] for each in found["diverged"]] == ["wild/seed-0", "wild/seed-1"]
    assert {each["step"] for each in found["diverged"]} <= set(range(1, 9))
    assert len(found["arms"][0]["runs"][0]["measured"]) == 2
    compare(images, tmp_path / "out", "--resume", "--steps", "12")  # It stays diverged.
    again = json.loads((tmp_path / "out" / "results.json").read_text())
    assert again["diverged"] == found["diverged"]


def test_arms_have_settings_seeds_and_emphasis_of_their_own(images: str, tmp_path: Path) -> None:
    arms = tmp_path / "arms.json"
    arms.write_text(
        json.dumps(
            {
                "uniform": {},
                "long": {
                    "method": "uniform",
                    "steps": 8,
                    "seeds": [1],
                    "tune": {"values": [1e-3, 2e-3], "steps": 4},
                },
                "speed": {"tune": False},
                "its emphasis": {"emphasis_of": "speed", "strata": "stratified", "tune": False},
                "cosine": {"method": "laplace(scale=0.5)", "schedule": "cosine", "lr": 5e-4, "depth": 2},
            }
        )
    )
    flags = ("--steps", "4", "--measure-every", "4", "--samples", "0", "--tune", "lr=1e-4,1e-3,3e-3")
    compare(images, tmp_path / "out", *flags, "--tune-steps", "2", "--arms", str(arms), "--seeds", "0")
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    settings = {arm["arm"]: [run["settings"] for run in arm["runs"]] for arm in found["arms"]}
    assert [each["seed"] for each in settings["long"]] == [1]
    assert [each["steps"] for each in settings["long"]] == [8]
    assert settings["its emphasis"][0]["method"] == "uniform+to_emphasis(of=speed)"
    assert settings["cosine"][0]["lr"] == 5e-4
    assert settings["cosine"][0]["depth"] == 2
    assert set(found["tuning"]["choices"]) == {"uniform", "long"}
    assert list(found["tuning"]["choices"]["long"]["mean_cost"]) == ["0.001", "0.002"]
    steps = {(row["arm"], row["step"]) for row in rows(tmp_path / "out" / "tuning.csv")}
    assert steps == {("uniform", "2"), ("long", "4")}
    # The loss of another schedule is another quantity.
    assert "cosine" not in {each["arm"] for each in found["speed_ups"]}
    assert "cosine has another schedule than uniform" in (tmp_path / "out" / "report.md").read_text()


def test_a_process_that_ends_is_an_error(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "CODE", "import os; os._exit(7) #{path}")
    fails(capsys, ", seed 0: its process ", *command(images, tmp_path / "out", *SHORT))


def test_jobs_do_not_change_the_numbers(images: str, whole: Path, tmp_path: Path) -> None:
    compare(images, tmp_path / "one", *TUNED, "--jobs", "1")
    assert files_but_times(tmp_path / "one") == files_but_times(whole)


@pytest.mark.long
def test_ten_seeds_of_uniform_show_no_effect_of_nothing(images: str, tmp_path: Path) -> None:
    """Ten runs split five against five in all ways, and the same runs with their steps relabelled as half."""
    import itertools
    from dataclasses import replace

    import numpy as np

    from speediff._experiments import intervals, plan, speedup
    from speediff._experiments.analysis import Analysis
    from speediff._experiments.experiment import Experiment

    flags = ("--methods", "uniform", "--seeds", ",".join(map(str, range(10))), "--steps", "400")
    compare(images, tmp_path, *flags, "--measure-every", "20", "--samples", "0", *NETWORK)
    analysis = Analysis(Experiment(tmp_path, plan.read(tmp_path)))
    curves = analysis.curves("uniform", "loss")
    assert len(curves) == 10
    held = []
    for chosen in itertools.combinations(range(10), 5):
        one, other = ([c for i, c in enumerate(curves) if (i in chosen) == side] for side in (True, False))
        for quality in speedup.levels(one, other, is_log=True)[1:]:
            found = speedup.speed_up(one, other, quality, is_log=True, interval=intervals.of_median_ratio)
            assert found.interval is not None
            held.append(found.interval.low <= 1 <= found.interval.high)
    assert 0.90 <= np.mean(held) <= 0.99
    halved = [replace(each, places=tuple(place / 2 for place in each.places)) for each in curves]
    for quality in speedup.levels(curves, halved, is_log=True):
        found = speedup.speed_up(curves, halved, quality, is_log=True, interval=intervals.of_median_ratio)
        assert found.median.low == pytest.approx(2, rel=0.02)
        assert found.interval is not None
        assert found.interval.low <= 2 <= found.interval.high
        for each, half in zip(curves, halved, strict=True):
            assert speedup.ratio(each, half, quality, is_log=True).low == pytest.approx(2, rel=1e-12)
