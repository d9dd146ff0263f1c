"""Independent draws have the distribution that they should, and no structure beside it."""

from __future__ import annotations

import numpy as np
import pytest
from statistics_helpers import UNLIKELY, UNLIKELY_Z, batches, chi_square, chi_square_of_counts, largest_z

from speediff import NoiseSchedule, TimestepSampler
from speediff.sampling import Asymmetric

SAMPLINGS = {"uniform": "uniform", "paper": Asymmetric(5, tau=700), "steep": Asymmetric(40, tau=250)}


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
@pytest.mark.parametrize("name", SAMPLINGS)
def test_a_million_draws_have_their_distribution(linear: NoiseSchedule, name: str, seed: int) -> None:
    sampler = TimestepSampler(linear, SAMPLINGS[name], seed=seed)
    assert chi_square(sampler.sample(10**6)[0], sampler.probabilities) > UNLIKELY


@pytest.mark.parametrize("name", ["uniform", "paper"])
def test_a_million_draws_in_small_batches_have_their_distribution(linear: NoiseSchedule, name: str) -> None:
    for n in (1, 3, 16):
        sampler = TimestepSampler(linear, SAMPLINGS[name], seed=3)
        assert chi_square(batches(sampler, n, 96_000 // n), sampler.probabilities) > UNLIKELY


def counts_of_many(sampler: TimestepSampler, millions: int) -> np.ndarray:
    counts = np.zeros(1000, np.int64)
    out = np.empty(10**6, np.int64), np.empty(10**6, np.float32)
    for _ in range(millions):
        sampler.sample(10**6, out=out)
        counts += np.bincount(out[0], minlength=1000)
    return counts


@pytest.mark.parametrize("name", SAMPLINGS)
def test_a_hundred_million_draws_have_their_distribution(linear: NoiseSchedule, name: str) -> None:
    sampler = TimestepSampler(linear, SAMPLINGS[name], seed=4)
    assert chi_square_of_counts(counts_of_many(sampler, 100), sampler.probabilities) > UNLIKELY


@pytest.mark.long
@pytest.mark.parametrize("name", SAMPLINGS)
def test_two_thousand_million_draws_have_their_distribution(linear: NoiseSchedule, name: str) -> None:
    sampler = TimestepSampler(linear, SAMPLINGS[name], seed=14)
    assert chi_square_of_counts(counts_of_many(sampler, 2_000), sampler.probabilities) > UNLIKELY


@pytest.mark.parametrize("steps", [2, 3, 17, 257])
def test_few_steps_have_their_distribution(steps: int) -> None:
    schedule = NoiseSchedule.cosine(steps)
    for sampling in ("uniform", Asymmetric(3, tau=steps // 2)):
        sampler = TimestepSampler(schedule, sampling, seed=5)
        assert chi_square(sampler.sample(300_000)[0], sampler.probabilities) > UNLIKELY


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 5, 8, 64])
def test_entries_of_a_batch_are_independent(linear: NoiseSchedule, lag: int) -> None:
    t = TimestepSampler(linear, seed=6).sample(10**6)[0] // 50
    pairs = t[:-lag] * 20 + t[lag:]
    assert chi_square(pairs, np.full(400, 1 / 400)) > UNLIKELY


def test_steps_are_independent_of_each_other(linear: NoiseSchedule) -> None:
    t = batches(TimestepSampler(linear, seed=7), 16, 20_000) // 50
    pairs = t[:-1] * 20 + t[1:]
    assert chi_square(pairs[::2], np.full(400, 1 / 400)) > UNLIKELY
    assert chi_square(pairs[:, 0], np.full(400, 1 / 400)) > UNLIKELY


def test_neighbouring_seeds_are_independent(linear: NoiseSchedule) -> None:
    first, second = (TimestepSampler(linear, seed=seed).sample(300_000)[0] // 50 for seed in (8, 9))
    assert chi_square(first * 20 + second, np.full(400, 1 / 400)) > UNLIKELY


def test_ranks_are_independent_of_each_other(linear: NoiseSchedule) -> None:
    first, second = (
        TimestepSampler(linear, seed=10, rank=rank, world_size=2).sample(300_000)[0] // 50 for rank in (0, 1)
    )
    assert chi_square(first * 20 + second, np.full(400, 1 / 400)) > UNLIKELY


def check_official(linear: NoiseSchedule, n: int, draws: int) -> None:
    """χ² on the primary draws, duals equal to the map, the marginal over batches: pairs are dependent."""
    sampler = TimestepSampler.speed(linear, seed=n, preset="official")
    first = min(n // 2 + 1, n)
    primaries = np.zeros(1000, np.int64)
    # Sums over batches of their shares in 20 bins of t, and of the squares.
    sums, squares, seen = np.zeros(20), np.zeros(20), 0
    rows = min(max(draws // n, 2_000), 1_000_000 // n)
    t, w = np.empty((rows, n), np.int64), np.empty((rows, n), np.float32)
    while seen * n < draws:
        # Straight from the native sampler: a million calls of one entry each in one crossing.
        sampler._open_handle().draw(seen, t, w)
        primaries += np.bincount(t[:, :first].ravel(), minlength=1000)
        assert (t[:, first:] == abs(642 - t[:, : n - first])).all()
        bins = t // 50 + 20 * np.arange(rows)[:, None]
        shares = np.bincount(bins.ravel(), minlength=20 * rows).reshape(rows, 20) / n
        sums += shares.sum(axis=0)
        squares += (shares**2).sum(axis=0)
        seen += rows
    assert chi_square_of_counts(primaries, sampler.probabilities) > UNLIKELY
    mean = sums / seen
    error = np.sqrt((squares / seen - mean**2) / seen)
    expected = sampler.marginal(n).reshape(20, 50).sum(axis=1)
    assert (abs(mean - expected) < UNLIKELY_Z * error).all()


@pytest.mark.parametrize("n", [1, 2, 8, 32, 256])
def test_a_million_official_draws_are_primaries_of_eq_2_and_their_duals(
    linear: NoiseSchedule, n: int
) -> None:
    check_official(linear, n, 10**6)


@pytest.mark.long
@pytest.mark.parametrize("n", [1, 8, 32, 256])
def test_a_hundred_million_official_draws_are_too(linear: NoiseSchedule, n: int) -> None:
    check_official(linear, n, 10**8)


def test_mean_weights_are_those_expected(linear: NoiseSchedule) -> None:
    for preset in ("paper", "official"):
        for normalize in (False, True):
            sampler = TimestepSampler.speed(linear, seed=12, preset=preset, normalize=normalize)
            means = np.array([[sampler.sample(32)[1].mean(dtype=np.float64)] for _ in range(4000)])
            expected = 1.0 if normalize else sampler.expected_weight(32)
            assert largest_z(means, expected) < UNLIKELY_Z
