"""The files of trainers: runs that go on bit by bit, with every kind of sampler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tiny_trainers import create, images, labels, memory, refuses, sampler

import speediff
from speediff import NoiseSchedule, SpeeDiffFileError, TimestepSampler, Trainer, sampling, weighting

if TYPE_CHECKING:
    from pathlib import Path

LINEAR = NoiseSchedule.linear(1000)
ADAPTIVE = sampling.Adaptive(bins=10)
SAMPLERS: dict[str, Any] = {
    "uniform": lambda: sampler(seed=3),
    "SpeeD": lambda: TimestepSampler.speed(LINEAR, seed=2**64 - 1),
    "official SpeeD": lambda: TimestepSampler.speed(LINEAR, preset="official", seed=5),
    "SpeeD with tau": lambda: TimestepSampler.speed(LINEAR, k=3, tau=600, lam=0.8, accumulation=2),
    "adaptive": lambda: sampler(sampling=ADAPTIVE, accumulation=2),
    "loss second moment": lambda: sampler(sampling=sampling.LossSecondMoment(history=2)),
    "uncertainty": lambda: sampler(weighting=weighting.Uncertainty(bins=10), prediction="v"),
    "blend": lambda: sampler(
        sampling=sampling.Blend(sampling.Uniform(), sampling.Adaptive(bins=7), start_step=0, end_step=5),
        weighting="min_snr", prediction="sample", normalize=True,
    ),
    "flow": lambda: sampler(sampling="logit_normal", weighting="cosmap", prediction="flow", seed=4),
    "v": lambda: sampler(sampling="cauchy", weighting="debiased", prediction="v", strata="low_discrepancy"),
    "shifted mixture": lambda: sampler(
        sampling=sampling.Mixture(sampling.Shifted(sampling.Mode(), 3.0), sampling.CLTS(), 0.25), seed=8
    ),
    "from ᾱ": lambda: TimestepSampler(NoiseSchedule.from_alphas_cumprod(np.linspace(0.99, 0.01, 30)), seed=1),
    "respaced cosine": lambda: TimestepSampler(
        NoiseSchedule.cosine(100).respaced("20"), "beta", "importance"
    ),
    "zero terminal SNR": lambda: TimestepSampler(LINEAR.zero_terminal_snr(), prediction="v"),
}  # fmt: skip
OPTIONS: dict[str, Any] = {
    "learning_rate": 3e-3, "betas": (0.8, 0.95), "weight_decay": 0.1, "ema_decay": 0.9, "ema_warmup": True,
    "max_grad_norm": 0.7, "warmup_steps": 4, "seed": 2**63 + 1, "threads": 2,
}  # fmt: skip


def train(trainer: Trainer, steps: range) -> list[Any]:
    x, y = images(8), labels(8)
    return [(trainer.step(x, y), trainer.losses.tolist(), trainer.timesteps.tolist()) for _ in steps]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.safetensors"


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_loaded_run_goes_on_bit_by_bit(name: str, path: Path) -> None:
    with create(SAMPLERS[name](), **OPTIONS) as trainer:
        train(trainer, range(3))
        trainer.learning_rate = 1e-3
        trainer.save(path)
        expected = train(trainer, range(3))
        with Trainer.load(path, threads=2) as loaded:
            assert loaded.global_step == 3
            assert loaded.learning_rate == 1e-3
            again = path.with_name("again.safetensors")
            loaded.save(again)
            assert again.read_bytes() == path.read_bytes()
            assert train(loaded, range(3)) == expected
            assert memory(loaded) == memory(trainer)
            ours, theirs = (one.sampler.probabilities.tobytes() for one in (trainer, loaded))
            assert ours == theirs
        with Trainer.load(path, sampler=SAMPLERS[name](), threads=2) as loaded:
            assert train(loaded, range(3)) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"num_classes": None},
        {"learn_sigma": False},
        {"class_dropout_prob": 0.0},
        {"model": speediff.DiT(16, 2, 2, 4, frequency_shift=1.0)},
    ],
)
def test_networks_of_all_kinds_come_back(options: dict[str, Any], path: Path) -> None:
    with create(**options) as trainer:
        trainer.save(path)
        with Trainer.load(path) as loaded:
            for name in (
                "config",
                "input_size",
                "in_channels",
                "num_classes",
                "class_dropout_prob",
                "learn_sigma",
            ):
                assert getattr(loaded, name) == getattr(trainer, name)
            assert loaded.state_dict().keys() == trainer.state_dict().keys()
            assert memory(loaded) == memory(trainer)


def test_a_sampler_that_follows_another_must_be_given(path: Path) -> None:
    def following() -> TimestepSampler:
        target = TimestepSampler.speed(LINEAR)
        return TimestepSampler(LINEAR, "laplace", weighting.ToEmphasis(of=target), prediction="v")

    with create(following()) as trainer:
        train(trainer, range(2))
        trainer.save(path)
        expected = train(trainer, range(2))
    refuses(lambda: Trainer.load(path), "sampler=", kind=SpeeDiffFileError)
    with Trainer.load(path, sampler=following(), threads=1) as loaded:
        assert train(loaded, range(2)) == expected


def test_another_sampler_is_an_error(path: Path) -> None:
    with create(sampler(sampling=ADAPTIVE, seed=1)) as trainer:
        trainer.save(path)
    others = [
        sampler(sampling=ADAPTIVE, seed=2),
        sampler(sampling=sampling.Adaptive(bins=7), seed=1),
        sampler(seed=1),
        sampler(sampling=ADAPTIVE, prediction="v", seed=1),
        sampler(sampling=ADAPTIVE, strata="stratified", seed=1),
        TimestepSampler(NoiseSchedule.cosine(50), ADAPTIVE, seed=1),
        TimestepSampler(NoiseSchedule.linear(60), ADAPTIVE, seed=1),
    ]
    for other in others:
        refuses(lambda other=other: Trainer.load(path, sampler=other), "^sampler must")
    refuses(lambda: Trainer.load(path, sampler="adaptive"), "^sampler", kind=speediff.SpeeDiffTypeError)
    for threads in (0, -1, 1025):
        refuses(lambda threads=threads: Trainer.load(path, threads=threads), "^threads")
    # How a batch is divided is no part of a run.
    Trainer.load(path, sampler=sampler(sampling=ADAPTIVE, seed=1, accumulation=4)).close()
    assert Trainer.load(path, rank=1, world_size=2).sampler.recipe.drawing.world_size == 2
