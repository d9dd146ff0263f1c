"""The official preset on ranks and micro-batches: each call pairs its own entries, and has the same law.

The released code runs in each process alone and pairs what that process draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import reference
from statistics_helpers import UNLIKELY_Z, largest_z

import speediff
from speediff import NoiseSchedule, TimestepSampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

ASYMMETRIC = reference.boundaries(reference.asymmetric(1000, 5, 700))
LAYOUTS = [(1, 1), (2, 1), (8, 1), (1, 2), (1, 4), (3, 2), (8, 4)]
"""World size and accumulation."""
BIN = 50


def ranks(linear: NoiseSchedule, world_size: int, accumulation: int, seed: int) -> Iterator[TimestepSampler]:
    options = {"world_size": world_size, "accumulation": accumulation, "preset": "official", "seed": seed}
    for rank in range(world_size):
        yield TimestepSampler.speed(linear, rank=rank, **options)


def steps_of(sampler: TimestepSampler, n: int, calls: int) -> NDArray[np.int64]:
    """The first calls of a sampler's rank, shape (calls, n), in one crossing of the C boundary."""
    t, w = np.empty((calls, n), np.int64), np.empty((calls, n), np.float32)
    sampler._open_handle().draw(0, t, w)
    return t


def shares(t: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of each bin of time steps in each batch, shape (batches, 20)."""
    rows = len(t)
    bins = t // BIN + 20 * np.arange(rows)[:, None]
    return np.bincount(bins.ravel(), minlength=20 * rows).reshape(rows, 20) / t.shape[1]


@pytest.mark.parametrize(("world_size", "accumulation"), LAYOUTS)
@pytest.mark.parametrize("n", [1, 2, 3, 5, 32])
def test_a_call_pairs_the_entries_that_it_draws(
    linear: NoiseSchedule, world_size: int, accumulation: int, n: int
) -> None:
    for rank, sampler in enumerate(ranks(linear, world_size, accumulation, seed=2)):
        for micro_batch in range(accumulation):
            first = (micro_batch * world_size + rank) * n
            expected = reference.draw_official(2, 7, n, ASYMMETRIC, 642, first)
            assert (sampler.sample(n, step=7, micro_batch=micro_batch)[0] == expected).all()
        # In turn, and drawn ahead.
        for call in range(3 * accumulation):
            step, micro_batch = divmod(call, accumulation)
            first = (micro_batch * world_size + rank) * n
            assert (sampler.sample(n)[0] == reference.draw_official(2, step, n, ASYMMETRIC, 642, first)).all()


def test_primaries_are_those_of_the_undivided_batch(linear: NoiseSchedule) -> None:
    whole = reference.draw(4, 3, 8 * 32, ASYMMETRIC).reshape(8, 32)
    for rank, sampler in enumerate(ranks(linear, 8, 1, seed=4)):
        assert (sampler.sample(32, step=3)[0][:17] == whole[rank, :17]).all()


def test_uneven_parts_are_paired_each_by_itself(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear, seed=6, preset="official")
    offset = 0
    for n in (30, 1, 0, 2, 40):
        t, _ = sampler.sample(n, step=3, offset=offset, total=73)
        assert (t == reference.draw_official(6, 3, n, ASYMMETRIC, 642, offset)).all()
        offset += n


def test_one_process_without_accumulation_draws_whole_pairs(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear, seed=8, preset="official")
    for step, n in enumerate((256, 31, 1, 100_000)):
        t, w = sampler.sample(n)
        assert (t == reference.draw_official(8, step, n, ASYMMETRIC, 642)).all()
        same = sampler.sample(n, step=step, offset=0, total=n)
        assert (same[0] == t).all()
        assert (same[1] == w).all()


def test_every_rank_draws_with_the_same_effective_k(linear: NoiseSchedule) -> None:
    """8 × 32, where pairs over the global batch gave k = 5, 5, 5, 5, 186, ∞, ∞, ∞."""
    for rank, sampler in enumerate(ranks(linear, 8, 1, seed=10)):
        t = steps_of(sampler, 32, 20_000)
        beyond = float((t >= 700).mean())
        assert 9.6 < (1 - beyond) / 700 / (beyond / 300) < 10.1, f"rank {rank}"


@pytest.mark.parametrize(("world_size", "accumulation"), [(8, 1), (1, 2), (2, 2)])
def test_every_call_has_the_same_marginal(linear: NoiseSchedule, world_size: int, accumulation: int) -> None:
    for sampler in ranks(linear, world_size, accumulation, seed=12):
        expected = sampler.marginal(32).reshape(20, BIN).sum(axis=1)
        t = steps_of(sampler, 32, 10_000 * accumulation)
        for micro_batch in range(accumulation):
            assert largest_z(shares(t[micro_batch::accumulation]), expected) < UNLIKELY_Z


def test_no_two_calls_share_a_draw() -> None:
    schedule = NoiseSchedule.constant(2**20, beta=1e-7)
    seen: list[int] = []
    for rank in range(4):
        sampler = TimestepSampler.speed(
            schedule, tau=2**19, preset="official", rank=rank, world_size=4, accumulation=2
        )
        for micro_batch in range(2):
            seen.extend(sampler.sample(64, step=1, micro_batch=micro_batch)[0][:33].tolist())
    # 264 of a million: a shared draw would be 33 of them at once.
    assert len(set(seen)) > len(seen) - 3


@pytest.mark.parametrize(("world_size", "accumulation"), LAYOUTS)
def test_weights_are_normalized_over_each_call(
    linear: NoiseSchedule, world_size: int, accumulation: int
) -> None:
    plain = TimestepSampler.speed(linear, preset="official")
    layout = {"rank": world_size - 1, "world_size": world_size, "accumulation": accumulation}
    sampler = TimestepSampler.speed(linear, preset="official", normalize=True, **layout)
    for n in (1, 8, 33):
        t, w = sampler.sample(n, step=4, micro_batch=accumulation - 1)
        np.testing.assert_allclose(w, plain.weights[t] / plain.expected_weight(n), rtol=1e-6)
        t, w = sampler.sample(n, step=4, offset=5, total=1000)
        np.testing.assert_allclose(w, plain.weights[t] / plain.expected_weight(n), rtol=1e-6)


def test_normalized_weights_have_mean_one_on_every_rank(linear: NoiseSchedule) -> None:
    for rank in (0, 3, 7):
        sampler = TimestepSampler.speed(
            linear, preset="official", normalize=True, rank=rank, world_size=8, seed=14
        )
        t, w = np.empty((10_000, 32), np.int64), np.empty((10_000, 32), np.float32)
        sampler._open_handle().draw(0, t, w)
        assert largest_z(w.mean(axis=1, dtype=np.float64)[:, None], 1.0) < UNLIKELY_Z


def test_a_trainer_pairs_each_part_of_its_batch(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear, seed=16, preset="official")
    network = speediff.DiT(hidden_size=16, depth=1, num_heads=1, patch_size=4)
    x, y = np.zeros((12, 1, 4, 4), np.float32), np.zeros(12, np.int64)
    options = {"input_size": 4, "in_channels": 1, "seed": 0, "threads": 1}
    with speediff.Trainer(network, sampler, **options) as trainer:
        for first, end in ((0, 7), (7, 12)):
            trainer.discard()
            trainer.backward(x[first:end], y[first:end], offset=first, total=12)
            expected = reference.draw_official(16, 0, end - first, ASYMMETRIC, 642, first)
            assert (trainer.timesteps == expected).all()
