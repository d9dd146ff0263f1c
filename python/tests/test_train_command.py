"""`speediff train`: what it trains and what it writes, on images of a few pixels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from training_runs import QUICK, losses, train

import speediff

if TYPE_CHECKING:
    from pathlib import Path

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("tqdm")


def test_a_run_writes_its_files(images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(images, tmp_path, "--steps", "7", "--samples", "3", "--sample-steps", "4", "--method", "uniform")
    out, err = capsys.readouterr()
    for name in ("run.safetensors", "loss.csv", "samples.png"):
        assert str(tmp_path / name) in out.splitlines()
    assert out.startswith("uniform: 7 steps, ")
    assert "7/7" in err
    assert "images/s" in err
    assert len(losses(tmp_path)) == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "loss.csv",
        "run.json",
        "run.safetensors",
        "samples.png",
    ]
    description = json.loads((tmp_path / "run.json").read_text())
    assert description["settings"]["method"] == "uniform"
    assert description["data"]["kind"] == "images"
    # Four rows of three: 8 pixels enlarged sevenfold, with gaps.
    picture = Image.open(tmp_path / "samples.png")
    assert picture.size[0] > 3 * 56
    assert picture.size[1] > 4 * 56


def test_the_checkpoint_is_the_trainer_that_the_flags_describe(images: str, tmp_path: Path) -> None:
    train(images, tmp_path, *QUICK, "--lr", "2e-3", "--seed", "5", "--learn-sigma", "--prediction", "v")
    with speediff.Trainer.load(tmp_path / "run.safetensors") as trainer:
        assert trainer.global_step == 6
        assert (trainer.input_size, trainer.in_channels, trainer.num_classes) == (8, 1, 4)
        assert (trainer.seed, trainer.learn_sigma) == (5, True)
        assert trainer.learning_rate == pytest.approx(2e-3)
        assert trainer.config == speediff.DiT(16, 1, 2, 2, mlp_ratio=4.0)
        assert trainer.sampler.recipe.drawing.prediction == "v"
        assert trainer.sampler.recipe.sampling == speediff.sampling.Asymmetric()
        assert trainer.schedule.steps == 1000


def test_training_is_what_the_library_does(images: str, tmp_path: Path) -> None:
    """Losses and weights are those of a loop of one's own over the same batches."""
    from speediff._data import datasets
    from speediff._runs import batches as data_batches

    train(images, tmp_path, *QUICK, "--seed", "3", "--clip", "0.5", "--flip", "--timesteps", "50")
    schedule = speediff.NoiseSchedule.linear(50)
    batches = data_batches.Batches(datasets.load(images), 8, seed=3, flip=True)
    with (
        speediff.Trainer(
            speediff.DiT(16, 1, 2, 2, mlp_ratio=4.0),
            speediff.TimestepSampler.speed(schedule, seed=3, prediction="epsilon"),
            input_size=8,
            in_channels=1,
            num_classes=4,
            learn_sigma=False,
            learning_rate=1.5e-3,
            ema_decay=0.999,
            ema_warmup=True,
            max_grad_norm=0.5,
            seed=3,
        ) as own,
        speediff.Trainer.load(tmp_path / "run.safetensors") as trainer,
    ):
        assert losses(tmp_path) == [own.step(*batches.batch(step)) for step in range(6)]
        for name, values in own.parameters.items():
            assert (values == trainer.parameters[name]).all(), name


def test_the_loss_falls(images: str, tmp_path: Path) -> None:
    train(images, tmp_path, "--steps", "300", "--samples", "0", "--lr", "3e-3", "--method", "uniform")
    curve = losses(tmp_path)
    assert np.mean(curve[-50:]) < 0.5 * np.mean(curve[:10])


METHODS = sorted({method.name for method in speediff.methods() if method.cls})


@pytest.mark.parametrize("method", [*METHODS, "speed", "official", "speed(k=2,lam=0.7)", "mode+min_snr*p2"])
def test_every_method_trains(images: str, tmp_path: Path, method: str) -> None:
    text = {"cosmap": "cosmap+uniform"}.get(method, method)
    train(images, tmp_path, "--steps", "2", "--samples", "0", "--method", text)
    assert np.isfinite(losses(tmp_path)).all()


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v", "flow"])
@pytest.mark.parametrize("flags", [(), ("--unconditional",), ("--learn-sigma", "--strata", "stratified")])
def test_every_target_trains(images: str, tmp_path: Path, prediction: str, flags: tuple[str, ...]) -> None:
    train(images, tmp_path, *QUICK, "--prediction", prediction, *flags)
    assert np.isfinite(losses(tmp_path)).all()


@pytest.mark.parametrize("version", [1, 2])
def test_an_mdt_trains_and_generates(images: str, tmp_path: Path, version: int) -> None:
    flags = ("--mdt", str(version), "--depth", "4", "--decode-layer", "2", "--mask-ratio", "0.25")
    train(images, tmp_path, "--steps", "6", "--samples", "2", "--sample-steps", "3", *flags)
    assert (tmp_path / "samples.png").exists()
    with speediff.Trainer.load(tmp_path / "run.safetensors") as trainer:
        gamma = {1: None, 2: 5.0}[version]
        masking = {"version": version, "decode_layer": 2, "mask_ratio": 0.25, "min_snr_gamma": gamma}
        assert trainer.config == speediff.MDT(16, 4, 2, 2, **masking)


def test_latents_train_without_a_picture(latents: str, tmp_path: Path) -> None:
    train(latents, tmp_path, "--steps", "3")
    assert not (tmp_path / "samples.png").exists()
    assert json.loads((tmp_path / "run.json").read_text())["data"]["kind"] == "latents"


def test_micro_batches_make_the_step_of_the_whole_batch(images: str, tmp_path: Path) -> None:
    for accumulation in ("1", "4"):
        train(
            images, tmp_path / accumulation, *QUICK, "--accumulation", accumulation, "--label-dropout", "0.5"
        )
    assert losses(tmp_path / "4") == pytest.approx(losses(tmp_path / "1"), rel=1e-4)


def test_samples_can_be_drawn_on_the_way(images: str, tmp_path: Path) -> None:
    flags = ("--steps", "5", "--samples", "1", "--sample-steps", "2", "--sample-every", "2")
    train(images, tmp_path, *flags)
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    assert names == ["samples-0000002.png", "samples-0000004.png", "samples.png"]
