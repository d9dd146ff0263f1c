"""The plan of an experiment: arms, the order of runs, tuning, and what is refused."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from experiments import write_images
from training_runs import fails

from speediff import SpeeDiffError
from speediff._experiments import arms, jobs, measures, plan, sample_rows, tuning
from speediff._experiments.plan import MEASURING, Plan
from speediff._experiments.results import Result
from speediff._experiments.tuning import Choice, Tuning
from speediff._runs.run_settings import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from speediff._experiments.job import Job


def made(content: Mapping[str, Any], tmp_path: Path, **changes: Any) -> Plan:
    """The plan of a file of arms."""
    file = tmp_path / "arms.json"
    file.write_text(json.dumps(content))
    settings = {**DEFAULTS, **changes.pop("settings", {})}
    options: dict[str, Any] = {"measuring": MEASURING, "seeds": (0, 1), "tuning": None, **changes}
    result = Plan("digits", None, settings, arms=tuple(arms.of_file(file, settings)), **options)
    result.check()
    return result


LR = Tuning("lr", (1e-3, 2e-3), (1000, 1001), 50, "loss")
GROWING = Tuning("lr", (1e-3, 2e-3), (1000,), 50, "loss", grows=True)


# ---- Order ---------------------------------------------------------------------------------------


def test_an_early_stop_leaves_a_fair_comparison(tmp_path: Path) -> None:
    """All arms of a seed before the next seed; an arm's own seeds come in their turn."""
    found = made({"uniform": {}, "p2": {}, "one": {"method": "speed", "seeds": [1, 7]}}, tmp_path)
    order = [(job.seed, job.arm) for job in jobs.main_jobs(found, {})]
    assert order == [(0, "uniform"), (0, "p2"), (1, "uniform"), (1, "p2"), (1, "one"), (7, "one")]
    assert jobs.total_steps(found, {}) == 6 * DEFAULTS["steps"]


def test_seeds_of_single_arms_are_named(tmp_path: Path) -> None:
    content = {"uniform": {"seeds": [1, 0]}, "p2": {"seeds": [3]}, "speed": {"seeds": [3]}, "snr": {}}
    found = made(content, tmp_path)
    assert found.seeds_text == "0, 1 (`uniform`: 1, 0; `p2`, `speed`: 3)"
    assert made({"uniform": {"seeds": [0, 1]}, "p2": {}}, tmp_path).seeds_text == "0, 1"


def test_tuning_has_all_arms_of_a_value_before_the_next(tmp_path: Path) -> None:
    content = {
        "uniform": {},
        "p2": {"tune": {"values": [2e-3, 4e-3]}},
        "speed": {"lr": 1e-4},
        "snr": {"tune": False},
    }
    found = made(content, tmp_path, tuning=LR)
    grids = jobs.grids(found, lambda _: None)
    order = [(job.seed, job.variant, job.arm) for job in jobs.tuning_jobs(found, grids)]
    one = [("lr=0.001", "uniform"), ("lr=0.002", "uniform"), ("lr=0.002", "p2"), ("lr=0.004", "p2")]
    assert order == [(seed, *each) for seed in (1000, 1001) for each in one]
    assert {job.steps for job in jobs.tuning_jobs(found, grids)} == {50}
    choices: dict[str, Choice | None] = {"uniform": None, "p2": Choice(2e-3, {}, None)}
    ready = [
        (job.arm, job.variant, job.settings["lr"]) for job in jobs.main_jobs(found, choices) if job.seed == 0
    ]
    assert ready == [("p2", "lr=0.002", 2e-3), ("speed", "", 1e-4), ("snr", "", 1.5e-3)]


# ---- Tuning --------------------------------------------------------------------------------------


def test_the_lowest_mean_cost_is_chosen_and_edges_are_named() -> None:
    last: dict[float, list[float | None]] = {1e-3: [3.0, 5.0], 2e-3: [2.0, 4.0], 4e-3: [1.0, None]}
    found = tuning.choose("fd", last)
    assert (found.value, found.edge) == (2e-3, None)
    assert found.costs == {1e-3: 4.0, 2e-3: 3.0, 4e-3: math.inf}, "one of two diverged"
    assert tuning.choose("fd", {1e-3: [1.0], 2e-3: [2.0]}).edge == "lower"
    assert tuning.choose("fd", {1e-3: [2.0], 2e-3: [1.0]}).edge == "upper"
    assert tuning.choose("accuracy", {1e-3: [0.2], 2e-3: [0.9], 4e-3: [0.8]}).value == 2e-3
    assert tuning.choose("fd", {2e-3: [1.0], 1e-3: [1.0], 4e-3: [1.0]}).value == 1e-3


@pytest.mark.parametrize(
    ("best", "grid"),
    [
        (2e-3, [1e-3, 2e-3, 4e-3]),
        (1.6e-2, [1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2]),
        (2.5e-4, [1.25e-4, 2.5e-4, 5e-4, 1e-3, 2e-3]),
    ],
)
def test_a_grid_grows_until_its_best_is_at_no_edge(tmp_path: Path, best: float, grid: list[float]) -> None:
    """The cost is the distance from the best rate in powers of two, so that each edge is worse until then."""
    found = made({"uniform": {}, "p2": {"tune": {"values": [1.0, 3.0]}}}, tmp_path, tuning=GROWING)
    done = {job.key: job for job in jobs.tuning_jobs(found, {"uniform": grid})}

    def find(job: Job) -> Result | None:
        cost = abs(math.log2(job.settings["lr"] / best))
        return (
            Result(job.settings, ["overall"], [(50, [cost])], [], True, None, {}) if job.key in done else None
        )

    grids = jobs.grids(found, find)
    assert list(grids["uniform"]) == pytest.approx(grid, rel=1e-15)
    assert grids["p2"] == (1.0, 3.0), "not finished, so it does not grow"
    choice = jobs.choices(found, grids, find)["uniform"]
    assert choice is not None
    assert (choice.value, choice.edge) == (best, None)
    fixed = replace(found, tuning=replace(GROWING, grows=False))
    assert jobs.grids(fixed, find)["uniform"] == GROWING.values


def test_a_grid_grows_no_further_than_its_limit(tmp_path: Path) -> None:
    found = made({"uniform": {}}, tmp_path, tuning=GROWING)

    def find(job: Job) -> Result | None:
        return Result(job.settings, ["overall"], [(50, [job.settings["lr"]])], [], True, None, {})

    grids = jobs.grids(found, find)
    assert len(grids["uniform"]) == 2 + tuning.MOST_GROWTH
    choice = jobs.choices(found, grids, find)["uniform"]
    assert choice is not None
    assert choice.edge == "lower"


def test_within_a_tolerance_the_lowest_value_is_chosen() -> None:
    last: dict[float, list[float | None]] = {1e-3: [12.0], 2e-3: [10.4], 4e-3: [10.0], 8e-3: [10.5]}
    assert tuning.choose("fd", last).value == 4e-3
    found = tuning.choose("fd", last, 0.05)
    assert (found.value, found.edge) == (2e-3, None)
    assert tuning.choose("fd", last, 0.039).value == 4e-3
    assert tuning.choose("fd", {1e-3: [1.01], 2e-3: [1.0], 4e-3: [2.0]}, 0.05).edge == "lower"
    beyond = tuning.choose("fd", {1e-3: [2.0], 2e-3: [1.01], 4e-3: [1.0]}, 0.05)
    assert (beyond.value, beyond.edge) == (2e-3, "upper"), "the best may still be beyond"
    assert tuning.choose("kid", {1e-3: [-0.1], 2e-3: [-0.2]}, 0.6).value == 1e-3, (
        "a share of what it is worth"
    )
    assert tuning.choose("fd", {1e-3: [None], 2e-3: [None]}, 0.05).value == 1e-3


def test_a_grid_is_read() -> None:
    assert tuning.parse("lr=2e-3,1e-3") == ("lr", (1e-3, 2e-3), False)
    assert tuning.parse("lr=2e-3,1e-3,...") == ("lr", (1e-3, 2e-3), True)
    assert tuning.parse("lr=2e-3, 1e-3, …") == ("lr", (1e-3, 2e-3), True)
    assert tuning.parse("ema-decay=0.99,0.999") == ("ema_decay", (0.99, 0.999), False)
    assert tuning.variant("ema_decay", 0.99) == "ema-decay=0.99"
    assert tuning.parse("warmup=10,100")[1] == (10, 100)


@pytest.mark.parametrize(
    "text",
    [
        "lr=1e-3",
        "lr=1e-3,1e-3",
        "lr",
        "lr=",
        "lr=a,b",
        "lr=1,nan",
        "model=1,2",
        "lr=...",
        "lr=1e-3,...",
        "lr=0,1,...",
        "ema-decay=0.99,0.999,...",
        "warmup=10,100,...",
    ],
)
def test_what_is_no_grid_is_refused(text: str) -> None:
    with pytest.raises(SpeeDiffError, match="--tune must"):
        tuning.parse(text)


# ---- Arms ----------------------------------------------------------------------------------------


def test_an_arm_may_have_every_setting_of_train_but_the_shared_ones() -> None:
    kinds = (*arms.INTEGERS, *arms.REALS, *arms.FLAGS, *arms.TEXTS, *arms.SHARED)
    assert len(set(kinds)) == len(kinds)
    assert set(DEFAULTS) <= set(kinds)


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    content = {"a": {"method": "uniform", "lr": 1e-3}, "speed": {"seeds": [3], "tune": {"steps": 5}}}
    found = made(content, tmp_path, tuning=LR)
    plan.write(tmp_path, found)
    assert plan.read(tmp_path) == found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "must be a file of settings by arm"),
        ({}, "must be a file of settings by arm"),
        ({"a": 1}, "must be a file of settings by arm"),
        ({"speed": {"hiden": 3}}, "speed: hiden must be one of"),
        ({"speed": {"hidden": "3"}}, "speed: hidden must be an integer, got '3'"),
        ({"speed": {"lr": "fast"}}, "speed: lr must be a real number, got 'fast'"),
        ({"speed": {"flip": 1}}, "speed: flip must be True or False, got 1"),
        ({"speed": {"schedule": 3}}, "speed: schedule must be a text, got 3"),
        ({"speed": {"seed": 3}}, "speed: seed is the same for all arms: give --seed"),
        ({"speed": {"input_size": 3}}, "input_size is the same for all arms: give --input-size"),
        ({"speed": {"seeds": [0, 0]}}, "speed: seeds must be different, got 0 twice"),
        ({"speed": {"seeds": []}}, "speed: seeds must be a list of integers"),
        ({"speed": {"tune": 3}}, "speed: tune must be false or have values and steps, got 3"),
        ({"speed": {"tune": {"steps": 3}}}, "--tune must be given, since the arm 'speed' has tune"),
        ({"a": {"emphasis_of": "b"}}, "a: emphasis_of must be one of a, got 'b'"),
        ({"a b": {"method": "uniform"}, "a/b": {"method": "p2"}}, "an arm's name must be unique"),
        ({"speed": {"strata": "none", "lam": 3}}, "speed: lam must be one of"),
        ({"speed": {"strata": "nine"}}, "the arm 'speed': --strata must be one of"),
        ({"sped": {}}, "--method sped: a method must be one of"),
        (
            {"speed": {"schedule": "cosine"}, "b": {"emphasis_of": "speed"}},
            "b: schedule must be that of the arm whose emphasis it takes, cosine, got None",
        ),
    ],
)
def test_a_bad_file_of_arms_is_named(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpeeDiffError) as error:
        made(content, tmp_path)
    assert message in str(error.value)


def test_the_grid_of_an_arm_has_two_values(tmp_path: Path) -> None:
    with pytest.raises(SpeeDiffError, match="the grid of 'speed' must have at least two values"):
        made({"speed": {"tune": {"values": [1e-3]}}}, tmp_path, tuning=LR)


# ---- Flags ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--seeds 0,1,0", "--seeds must be different, got 0 twice"),
        ("--seeds 0,x", "--seeds must be integers with commas, such as 0,1,2, got '0,x'"),
        ("--seeds 1 --seed 2", "--seed must not be given together with --seeds"),
        ("--tune lr=1e-3", "--tune must have at least two values, got [0.001]"),
        ("--tune-steps 5", "--tune-steps must be given together with --tune"),
        ("--tune-tolerance 0.1", "--tune-tolerance must be given together with --tune"),
        ("--tune lr=1,2 --tune-tolerance 1", "--tune-tolerance must be in [0, 1), got 1.0"),
        ("--tune lr=1,2 --tune-tolerance nan", "--tune-tolerance must be in [0, 1), got nan"),
        ("--tune lr=1,2 --tune-seeds 0", "--tune-seeds must differ from --seeds, got 0 in both"),
        ("--tune lr=1,2 --tune-by fd", "--tune-by must be one of loss, got 'fd'"),
        ("--measure lss", "--measure must be one of"),
        ("--measure loss,loss", "--measure must be different measures, got 'loss,loss'"),
        ("--measure-every 0", "--measure-every must be at least 1, got 0"),
        ("--images 1", "--images must be at least 2, got 1"),
        ("--samples -1", "--samples must be at least 0, got -1"),
        ("--cfg-scale nan", "--cfg-scale must be finite, got nan"),
        ("--jobs 0", "--jobs must be at least 1, got 0"),
        ("--baseline p2", "--baseline must be one of"),
        ("--methods uniform --arms x.json", "not allowed with argument"),
        ("--arms nowhere.json", "nowhere.json: No such file or directory"),
        ("--hidden 17", "must be"),
    ],
)
def test_bad_flags_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: str, message: str
) -> None:
    out = tmp_path / "out"
    fails(capsys, message, "compare", write_images(tmp_path), "--out", str(out), *flags.split())
    assert not out.exists()


def test_data_or_a_folder_must_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, "DATA must be given", "compare")
    fails(capsys, "must be a folder that `speediff compare` wrote", "compare", "--report", str(tmp_path))
    (tmp_path / plan.NAME).write_text('{"data": 1}')
    fails(capsys, f"{plan.NAME} is damaged", "compare", "--report", str(tmp_path))


def test_features_are_for_all_measures_or_for_one() -> None:
    assert measures.parse_features(["kid:efficientnet-lite0", "inception=a:b"]) == {
        "fd": "inception=a:b",
        "kid": "efficientnet-lite0",
        "accuracy": "inception=a:b",
    }


def test_rows_of_samples_are_at_steps_that_runs_of_any_length_share() -> None:
    due = [step for step in range(50, 2001, 50) if sample_rows.is_due(step, 50, 2000)]
    assert due == [50, 100, 200, 400, 800, 1600, 2000]


def test_a_missing_extra_is_named_before_any_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "speediff.torch._evaluation.instrument", None)
    out = tmp_path / "out"
    words = ("compare", write_images(tmp_path), "--out", str(out), "--measure", "loss,fd")
    fails(capsys, "evaluate", *words)
    fails(capsys, "--measure fd needs", *words)
    fails(capsys, "pip install", *words)
    assert not out.exists()
