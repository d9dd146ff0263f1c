"""What the trainer of MDT draws for its two passes: noise, labels and masks as documented."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from mdt_trainers import MODELS, Expected, create, images
from reference_mdt import randomize
from reference_mdt_training import drawn_passes, kept_count
from reference_training import PREDICTIONS

from speediff import TimestepSampler

if TYPE_CHECKING:
    from speediff import NoiseSchedule

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")

SAMPLERS: dict[str, dict[str, Any]] = {
    "uniform": {},
    "stratified": {"weighting": "change_aware", "strata": "stratified"},
    "logit_normal": {"sampling": "logit_normal", "weighting": "p2", "normalize": True},
    "rank 2 of 4": {"weighting": "min_snr", "rank": 2, "world_size": 4},
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("version", MODELS)
def test_a_drawn_batch_is_that_of_the_sampler_and_the_documented_numbers(
    linear: NoiseSchedule, version: int, prediction: str, name: str
) -> None:
    """With so many labels dropped that the passes have others. The sampler's weights multiply Min-SNR's."""
    options, n = {**SAMPLERS[name], "seed": 77}, 5
    first = options.get("rank", 0) * n
    other = TimestepSampler(linear, prediction=prediction, **options)
    more = {"seed": 8, "learn_sigma": True, "class_dropout_prob": 0.5}
    with create(linear, version, prediction, sampler=options, **more) as trainer:
        for step in range(3):
            randomize(trainer, step, class_dropout_prob=0.5)
            x, y = images(trainer, n, step)
            t, weights = other.sample(n)
            passes = drawn_passes(trainer, step, first, y, n)
            expected = Expected(trainer, prediction, x, t, weights, passes)
            loss = trainer.backward(x, y)
            assert trainer.timesteps.tolist() == t.tolist()
            expected.check(trainer, loss)
            trainer.apply()


SHAPES: dict[str, dict[str, Any]] = {
    "25 tokens": {"model": {"patch_size": 1}, "input_size": 5, "in_channels": 1},
    "9 tokens": {"model": {"patch_size": 1, "mask_ratio": 0.5}, "input_size": 3, "in_channels": 2},
    "unconditional": {"num_classes": None},
    "no Min-SNR": {"model": {"min_snr_gamma": None}},
    "no label dropout": {"class_dropout_prob": 0.0},
    "nothing masked of version 1": {"model": {"mask_ratio": 0.0}},
    "nearly all masked": {"model": {"mask_ratio": 0.7}},
    "seed of 64 bits": {"seed": 2**64 - 1},
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("version", MODELS)
def test_drawn_numbers_follow_the_shapes(linear: NoiseSchedule, version: int, name: str) -> None:
    n, other = 4, TimestepSampler(linear, prediction="v")
    with create(linear, version, "v", **SHAPES[name]) as trainer:
        for step in range(2):
            randomize(trainer, step, class_dropout_prob=trainer.class_dropout_prob)
            x, y = images(trainer, n, step)
            t, weights = other.sample(n)
            expected = Expected(trainer, "v", x, t, weights, drawn_passes(trainer, step, 0, y, n))
            expected.check(trainer, trainer.backward(x, y))
            trainer.apply()


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.7])
def test_the_number_of_tokens_kept_is_drawn_for_each_step(linear: NoiseSchedule, ratio: float) -> None:
    n, other = 3, TimestepSampler(linear, prediction="epsilon")
    assert len({kept_count(3, step, 16, ratio, 2) for step in range(12)}) > 1
    with create(linear, 2, seed=3, learning_rate=0.0, model={"mask_ratio": ratio}) as trainer:
        randomize(trainer)
        for step in range(12):
            x, y = images(trainer, n, step)
            t, weights = other.sample(n)
            expected = Expected(trainer, "epsilon", x, t, weights, drawn_passes(trainer, step, 0, y, n))
            expected.check(trainer, trainer.backward(x, y))
            trainer.apply()


def all_data(x: np.ndarray) -> dict[str, np.ndarray]:
    """All that may be given instead of being drawn."""
    n, random = len(x), np.random.default_rng(0)
    order = random.permuted(np.tile(np.arange(16), (n, 1)), axis=1)
    return {
        "t": random.integers(0, 1000, n),
        "noise": random.normal(size=x.shape).astype(np.float32),
        "masked_noise": random.normal(size=x.shape).astype(np.float32),
        "kept": np.ascontiguousarray(order[:, :7]),
        "weights": random.uniform(size=n).astype(np.float32),
    }


NAMES = ("t", "noise", "masked_noise", "kept", "weights")
ALL_BUT_ONE = [tuple(name for name in NAMES if name != left_out) for left_out in NAMES]


@pytest.mark.parametrize("names", [*((name,) for name in NAMES), *ALL_BUT_ONE], ids=", ".join)
@pytest.mark.parametrize("version", MODELS)
def test_what_is_not_given_is_drawn(linear: NoiseSchedule, version: int, names: tuple[str, ...]) -> None:
    """No label is dropped where the time steps are given; their weights are those of the sampler's table."""
    n, options = 6, {"weighting": "change_aware"}
    sampler = TimestepSampler(linear, prediction="epsilon", **options)
    with create(linear, version, sampler=options, class_dropout_prob=0.5) as trainer:
        randomize(trainer, class_dropout_prob=0.5)
        x, y = images(trainer, n, 0)
        given = {name: value for name, value in all_data(x).items() if name in names}
        tensors = {name: torch.from_numpy(value) for name, value in given.items()}
        t, weights = sampler.sample(n)
        full, masked = drawn_passes(trainer, 0, 0, y, n)
        if "t" in given:
            t, weights = given["t"], sampler.weights[given["t"]]
            full, masked = (one._replace(labels=torch.from_numpy(y)) for one in (full, masked))
        if "noise" in given:
            full = full._replace(noise=tensors["noise"].double())
        if "masked_noise" in given:
            masked = masked._replace(noise=tensors["masked_noise"].double())
        if "kept" in given:
            masked = masked._replace(kept=tensors["kept"])
        weights = given.get("weights", weights)
        expected = Expected(trainer, "epsilon", x, t, weights, (full, masked))
        expected.check(trainer, trainer.backward(x, y, **given))
        assert trainer.timesteps.tolist() == t.tolist()
