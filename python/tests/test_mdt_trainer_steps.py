"""Whole steps of the trainer of MDT: micro-batches, samplers that learn, and the same run twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from mdt_trainers import MODELS, Expected, create, images
from reference_mdt import randomize
from reference_mdt_training import drawn_passes
from reference_training import assert_arrays_agree, assert_tensors_agree

from speediff import NoiseSchedule, TimestepSampler

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")

# ---- Accumulation --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", MODELS)
def test_micro_batches_of_a_rank_are_the_documented_entries_of_one_step(
    linear: NoiseSchedule, version: int
) -> None:
    """With one number of tokens kept, and masks of their own."""
    n, spread = 3, {"rank": 1, "world_size": 2, "accumulation": 3}
    other = TimestepSampler(linear, prediction="epsilon", **spread)
    with create(linear, version, sampler=spread, seed=6) as trainer:
        for step in range(2):
            randomize(trainer, step)
            total = dict.fromkeys(trainer.parameters, 0.0)
            for micro_batch in range(3):
                x, y = images(trainer, n, micro_batch)
                t, weights = other.sample(n, step=step, micro_batch=micro_batch)
                passes = drawn_passes(trainer, step, (2 * micro_batch + 1) * n, y, n)
                expected = Expected(trainer, "epsilon", x, t, weights, passes)
                assert trainer.backward(x, y) == pytest.approx(expected.loss, rel=1e-5)
                assert trainer.timesteps.tolist() == t.tolist()
                assert_arrays_agree(trainer.losses, expected.mse, 1e-5, "losses")
                total = {key: total[key] + value / 3 for key, value in expected.gradients.items()}
            assert_tensors_agree(trainer.gradients, total, 1e-3)
            trainer.apply()


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("version", MODELS)
def test_accumulated_micro_batches_are_one_large_batch(
    linear: NoiseSchedule, version: int, given: bool
) -> None:
    n, random = 4, np.random.default_rng(2)
    # A large ε keeps Adam from making a sign of what is 0 but for rounding.
    settings = {"learning_rate": 0.1, "eps": 1.0, "learn_sigma": True}
    parted = create(linear, version, sampler={"accumulation": 3}, **settings)
    whole = create(linear, version, **settings)
    with parted, whole:
        randomize(parted)
        randomize(whole)
        for step in range(2):
            x, y = images(whole, 3 * n, step)
            noise, masked_noise = (random.normal(size=x.shape).astype(np.float32) for _ in range(2))
            kept = random.permuted(np.tile(np.arange(16), (3 * n, 1)), axis=1)[:, : 9 + step]
            chosen = {
                "t": random.integers(0, 1000, 3 * n),
                "noise": noise,
                "masked_noise": masked_noise,
                "kept": np.ascontiguousarray(kept),
                "weights": random.uniform(size=3 * n).astype(np.float32),
            }
            losses, mses = [], []
            for start in range(0, 3 * n, n):
                rows = slice(start, start + n)
                more = {name: array[rows] for name, array in chosen.items()} if given else {}
                losses.append(parted.backward(x[rows], y[rows], **more))
                mses.append(parted.losses.copy())
            loss = whole.backward(x, y, **(chosen if given else {}))
            assert np.mean(losses) == pytest.approx(loss, rel=1e-5)
            assert_arrays_agree(np.concatenate(mses), whole.losses, 1e-5, "losses")
            assert_tensors_agree(parted.gradients, whole.gradients, 1e-5)
            assert parted.apply() == pytest.approx(whole.apply(), rel=1e-5)
            assert_tensors_agree(parted.parameters, whole.parameters, 1e-5)


# ---- Whole steps ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", MODELS)
def test_a_sampler_that_learns_is_told_the_sum_of_both_passes(version: int) -> None:
    """A trainer whose sampler is told them by hand draws the same, after so many losses that it matters."""
    schedule = NoiseSchedule.constant(4, beta=0.3)
    options = {"sampler": {"sampling": "loss_second_moment", "seed": 2}, "learning_rate": 1e-3}
    one, other = (create(schedule, version, **options) for _ in range(2))
    before = one.sampler.probabilities.copy()
    with one, other:
        for step in range(8):
            x, y = images(one, 16, step)
            assert one.step(x, y) == pytest.approx(other.backward(x, y), rel=1e-6)
            assert one.timesteps.tolist() == other.timesteps.tolist()
            told = other.timesteps.copy(), other.losses.copy()
            other.apply()
            other.sampler.update(*told)
        assert_tensors_agree(one.parameters, other.parameters, 1e-6)
    assert not np.allclose(one.sampler.probabilities, before)
    assert_arrays_agree(one.sampler.probabilities, other.sampler.probabilities, 1e-6)


def course(schedule: NoiseSchedule, version: int, **options: Any) -> Iterator[bytes]:
    """All that a run leaves."""
    with create(schedule, version, learning_rate=1e-3, **options) as trainer:
        yield trainer.flat_parameters.tobytes()
        for step in range(4):
            yield np.float64(trainer.step(*images(trainer, 4, step))).tobytes()
            yield trainer.losses.tobytes()
        yield trainer.flat_parameters.tobytes()


@pytest.mark.parametrize("threads", [1, 2, None])
@pytest.mark.parametrize("version", MODELS)
def test_the_same_seed_gives_the_same_run_to_the_bit(
    linear: NoiseSchedule, version: int, threads: int | None
) -> None:
    first = list(course(linear, version, seed=9, threads=threads))
    assert first == list(course(linear, version, seed=9, threads=threads))
    assert first[-1] != list(course(linear, version, seed=10, threads=threads))[-1]
