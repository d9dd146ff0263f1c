"""`speediff compare`: its measure against its definition, and what it writes."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import speediff
from speediff._data.datasets import Dataset
from speediff._experiments.arms import split_methods
from speediff._runs import validation
from speediff._runs.run_settings import DEFAULTS
from speediff.cli import main

if TYPE_CHECKING:
    from pathlib import Path

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")

TINY = ("--hidden", "16", "--depth", "1", "--heads", "2", "--batch-size", "8", "--warmup", "0")
QUICK = ("--steps", "6", "--measure-every", "4", "--samples", "2", "--sample-steps", "2")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """60 images of 8×8 in three classes."""
    path = tmp_path_factory.mktemp("data") / "images.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
    np.savez(path, images=pixels, labels=np.arange(60) % 3)
    return str(path)


def compare(data: str, out: Path, *flags: str) -> None:
    """Runs a command that succeeds."""
    assert main(["compare", data, "--out", str(out), *TINY, *flags]) == 0


def results(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open() as file:
        return list(csv.DictReader(file))


# ---- The measure ---------------------------------------------------------------------------------


class Network:
    """Sees the noise in x_t of a known x_0, but for an error that depends on t; stands for a trainer."""

    def __init__(
        self, data: Dataset, schedule: speediff.NoiseSchedule, prediction: str, learn_sigma: bool
    ) -> None:
        self.data, self.schedule, self.prediction, self.learn_sigma = data, schedule, prediction, learn_sigma
        self.asked: list[Any] = []

    def forward(self, x_t: Any, t: Any, y: Any, ema: bool = False) -> Any:
        assert ema
        assert t.dtype == np.int64
        self.asked.append((x_t, t, y))
        alpha_bar = self.schedule.alphas_cumprod[t][:, None, None, None]
        sigma = 1 / (1 + np.sqrt(alpha_bar / (1 - alpha_bar)))
        x_0, _ = self.data.batch(y)  # Labels are the images' numbers.
        signal, scale = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
        if self.prediction == "flow":
            signal, scale = 1 - sigma, sigma
        noise = (x_t - signal * x_0) / scale + np.sqrt((1 + t) / 1000)[:, None, None, None]
        x_0 = (x_t - scale * noise) / signal
        out = {"epsilon": noise, "sample": x_0, "v": signal * noise - scale * x_0, "flow": noise - x_0}
        predicted = out[self.prediction].astype(np.float32)
        return np.concatenate([predicted, predicted + 9], axis=1) if self.learn_sigma else predicted


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v", "flow"])
@pytest.mark.parametrize("learn_sigma", [False, True])
def test_the_error_in_the_noise_is_found_by_area(
    linear: speediff.NoiseSchedule, prediction: str, learn_sigma: bool
) -> None:
    """An error of √(t/1000) in ε, t from 1, squares to t/1000: means are those of the steps, over 1000."""
    data = Dataset(np.random.default_rng(0).integers(0, 256, (500, 1, 4, 4), np.uint8), np.arange(500), 500)
    network: Any = Network(data, linear, prediction, learn_sigma)
    questions = validation.ValidationSet(data, linear, prediction, 500)
    overall, *areas = questions.measure(network, 64)
    assert overall == pytest.approx(0.5005, rel=2e-3)
    middles = [(1 + 220) / 2, (221 + 700) / 2, (701 + 1000) / 2]
    # Two thirds of float32's digits are lost to x_t - √ᾱ·x₀ at the first steps.
    assert areas == pytest.approx([middle / 1000 for middle in middles], rel=1e-2)


def test_the_questions_are_even_fixed_and_of_all_classes(linear: speediff.NoiseSchedule) -> None:
    data = Dataset(np.zeros((1000, 1, 16, 16), np.uint8), np.arange(1000), 1000)
    asked = []
    for _ in range(2):
        network: Any = Network(data, linear, "epsilon", learn_sigma=False)
        questions = validation.ValidationSet(data, linear, "epsilon", 250)
        assert len(questions) == 250
        questions.measure(network, 100)
        asked.append([np.concatenate(parts) for parts in zip(*network.asked, strict=True)])
    x_t, t, y = asked[0]
    assert all((one == other).all() for one, other in zip(*asked, strict=True))
    assert t.tolist() == list(range(2, 1000, 4))
    assert len(set(y.tolist())) == 250
    assert abs(np.corrcoef(t, y)[0, 1]) < 0.2  # Images are not in the order of their classes.
    # All that is in a black image's x_t beside √ᾱ·(-1) is noise: normal, and different everywhere.
    alpha_bar = linear.alphas_cumprod[t][:, None, None, None]
    noise = (x_t + np.sqrt(alpha_bar)) / np.sqrt(1 - alpha_bar)
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(1, abs=5 / np.sqrt(2 * noise.size))
    assert (noise**4).mean() == pytest.approx(3, abs=5 * np.sqrt(96 / noise.size))
    assert len(np.unique(noise.round(5))) > 0.7 * noise.size


def test_an_area_without_steps_has_no_error() -> None:
    schedule = speediff.NoiseSchedule.scaled_linear(900)  # 1/ᾱ stays below r: no convergence.
    data = Dataset(np.zeros((90, 1, 4, 4), np.uint8), np.arange(90), 90)
    network: Any = Network(data, schedule, "epsilon", learn_sigma=False)
    errors = validation.ValidationSet(data, schedule, "epsilon", 1000).measure(network, 32)
    assert errors[3] is None
    assert None not in errors[:3]


def test_what_is_measured_on_is_not_trained_on(images: str, tmp_path: Path) -> None:
    training, test = validation.split(images, DEFAULTS, tmp_path)
    assert (len(training), len(test)) == (54, 6)
    seen = {value.tobytes() for value in training.values}
    assert not any(value.tobytes() in seen for value in test.values)
    assert training.num_classes == test.num_classes == 3


# ---- The command ---------------------------------------------------------------------------------


def test_a_comparison_writes_everything(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(images, tmp_path, *QUICK, "--methods", "uniform,speed(k=2, lam=0.7)", "--seed", "3")
    out = capsys.readouterr().out
    for name in ("report.md", "results.csv", "results.json", "curves.png", "areas.png", "samples.png"):
        assert str(tmp_path / name) in out.splitlines()
    rows = results(tmp_path)
    assert [(row["arm"], row["step"], row["seed"]) for row in rows] == [
        ("uniform", "4", "3"),
        ("uniform", "6", "3"),
        ("speed(k=2,lam=0.7)", "4", "3"),
        ("speed(k=2,lam=0.7)", "6", "3"),
    ]
    data = json.loads((tmp_path / "results.json").read_text())
    assert data["areas"] == {"acceleration": [1, 220], "deceleration": [221, 700], "convergence": [701, 1000]}
    assert data["validation_images"] == 6
    for arm, last in zip(data["arms"], (rows[1], rows[3]), strict=True):
        (run,) = arm["runs"]
        assert run["settings"]["seed"] == run["seed"] == 3
        assert [entry["step"] for entry in run["measured"]] == [4, 6]
        assert run["measured"][-1]["overall"] == float(last["overall"])
    for row in (rows[1], rows[3]):
        line = next(line for line in out.splitlines() if line.startswith(row["arm"]) and "." in line[20:])
        assert line.split()[-4:] == [
            f"{float(row[name]):.5f}" for name in ("overall", "acceleration", "deceleration", "convergence")
        ]
    sizes = [Image.open(tmp_path / name).size for name in ("curves.png", "samples.png")]
    assert min(min(size) for size in sizes) > 100


def test_methods_start_from_the_same_weights_and_see_the_same_data(images: str, tmp_path: Path) -> None:
    """Methods whose draws and weights are the same have the same numbers to the bit."""
    compare(images, tmp_path, *QUICK, "--methods", "uniform,uniform+snr", "--prediction", "sample")
    compare(images, tmp_path / "same", *QUICK, "--methods", "uniform+uniform,mixture(b=uniform)")
    rows = results(tmp_path / "same")
    numbers = ("overall", "acceleration", "deceleration", "convergence")
    for one, other in zip(rows[:2], rows[2:], strict=True):
        assert [one[name] for name in numbers] == [other[name] for name in numbers]


def test_a_resumed_comparison_has_the_numbers_of_an_uninterrupted_one(images: str, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    compare(images, whole, *QUICK, "--methods", "uniform,adaptive", "--measure-every", "3")
    stopped = ("--measure-every", "3", "--steps", "3")
    compare(images, parts, *QUICK, *stopped, "--methods", "uniform")
    compare(images, parts, *QUICK, "--methods", "uniform,adaptive", "--measure-every", "3", "--resume")
    assert results(whole) == results(parts)


def test_ctrl_c_saves_and_the_comparison_goes_on(images: str, tmp_path: Path) -> None:
    command = [
        "compare",
        images,
        "--out",
        str(tmp_path),
        *TINY,
        "--steps",
        "100000",
        "--checkpoint-every",
        "2",
        "--jobs",
        "1",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "speediff", *command], stderr=subprocess.PIPE, text=True
    )
    while (
        not (tmp_path / "runs" / "uniform" / "seed-0" / "run.safetensors").exists() and process.poll() is None
    ):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume continues" in err
    with speediff.Trainer.load(tmp_path / "runs" / "uniform" / "seed-0" / "run.safetensors") as trainer:
        steps = str(trainer.global_step + 2)
    compare(images, tmp_path, "--steps", steps, "--samples", "0", "--resume")
    assert [row["arm"] for row in results(tmp_path)][-1] == "speed"


def test_a_list_of_methods_is_split_outside_parentheses() -> None:
    text = "uniform, shifted(base=laplace(scale=1, mean=0), shift=clts(end_step=3)),mode+min_snr*p2"
    expected = ["uniform", "shifted(base=laplace(scale=1,mean=0),shift=clts(end_step=3))", "mode+min_snr*p2"]
    assert split_methods(text) == expected


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--methods uniform,uniform", "--methods must be different methods, got 'uniform,uniform'"),
        ("--methods uniform,", "--methods must be different methods, got 'uniform,'"),
        ("--methods uniform,sped", "--method sped: a method must be one of"),
        ("--validate-every 0", "--measure-every must be at least 1, got 0"),
        ("--validation-images 0", "--validation-images must be at least 1, got 0"),
        ("--checkpoint-every 0", "--checkpoint-every must be at least 1, got 0"),
        ("--steps 0", "--steps must be at least 1, got 0"),
    ],
)
def test_bad_flags_are_one_line(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: str, message: str
) -> None:
    out = tmp_path / "run"
    assert main(["compare", images, "--out", str(out), *TINY, *flags.split()]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err
    assert not out.exists()


def test_an_existing_comparison_is_not_overwritten(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(images, tmp_path, *QUICK, "--methods", "uniform")
    assert main(["compare", images, "--out", str(tmp_path), *TINY, *QUICK]) == 2
    assert "exists: add --resume, or choose another --out" in capsys.readouterr().err


def test_too_few_images_cannot_be_divided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "few.npy", np.zeros((9, 8, 8), np.uint8))
    assert main(["compare", str(tmp_path / "few.npy"), "--out", str(tmp_path / "run"), *TINY]) == 2
    assert "must hold at least 10 images, got 9" in capsys.readouterr().err
