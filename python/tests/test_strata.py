"""Stratified and low-discrepancy draws: spread evenly, in any order, over ranks and places.

With uniform P over T = N·k steps, stratum π(i) and the jitter within it can be read off the draw.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference
from scipy import stats
from statistics_helpers import UNLIKELY, UNLIKELY_Z, batches, chi_square, largest_z, permutation_chi_square

from speediff import NoiseSchedule, TimestepSampler

SPREAD = ("stratified", "low_discrepancy")
SIZES = [1, 2, 3, 5, 31, 32, 33, 63, 64, 65, 66, 100, 127, 128, 129, 255, 256, 257, 1000, 4096]


def even(steps: int) -> NoiseSchedule:
    """A schedule of so many steps, for uniform P."""
    return NoiseSchedule.constant(steps, beta=1e-6)


def orders(strata: str, size: int, steps: int, seed: int = 0) -> np.ndarray:
    """The permutations π of many steps, shape (steps, size)."""
    sampler = TimestepSampler(even(size), seed=seed, strata=strata)
    t = batches(sampler, size, steps)
    if strata == "stratified":
        return t
    start = np.array([int(reference.words(seed, step, 3, 0, 1)[0]) * size >> 32 for step in range(steps)])
    return (t - start[:, None]) % size


@pytest.mark.parametrize("strata", SPREAD)
@pytest.mark.parametrize("size", SIZES[1:])
def test_every_stratum_is_hit_once(strata: str, size: int) -> None:
    sampler = TimestepSampler(even(size), seed=1, strata=strata)
    for step in (0, 1, 2, 10**12):
        assert (np.sort(sampler.sample(size, step=step)[0]) == np.arange(size)).all()


@pytest.mark.parametrize("size", SIZES)
def test_the_jitter_within_each_stratum_is_that_of_the_reference(size: int) -> None:
    parts = 1000
    sampler = TimestepSampler(even(size * parts), seed=2, strata="stratified")
    for step in (0, 2**40):
        t, _ = sampler.sample(size, step=step)
        assert (np.sort(t // parts) == np.arange(size)).all()
        jitter = reference.words(2, step, reference.STRATA_JITTER, 0, size)
        assert (t % parts == jitter * np.uint64(parts) >> np.uint64(32)).all()


@pytest.mark.parametrize("size", SIZES)
def test_low_discrepancy_draws_are_spaced_evenly_from_one_random_start(size: int) -> None:
    parts = 1000
    sampler = TimestepSampler(even(size * parts), seed=3, strata="low_discrepancy")
    for step in (0, 2**40):
        t, _ = sampler.sample(size, step=step)
        assert len(set(t.tolist())) == len(t) == size
        assert (np.diff(np.sort(t)) == parts).all()
        start = int(reference.words(3, step, reference.STRATA_JITTER, 0, 1)[0])
        assert t.min() == (start * size * parts >> 32) % parts


@pytest.mark.parametrize("size", [65, 66, 72, 73, 81, 82, 100, 257, 1000, 4096, 10_007])
def test_the_order_of_many_strata_is_that_of_the_documented_network(size: int) -> None:
    for seed, step in ((0, 0), (2**64 - 1, 3), (7, 2**40 + 1)):
        t, _ = TimestepSampler(even(size), seed=seed, strata="stratified").sample(size, step=step)
        assert t.tolist() == reference.order(seed, step, size)


@pytest.mark.parametrize("strata", SPREAD)
def test_spread_draws_of_any_distribution_hit_each_step_as_often_as_they_must(
    linear: NoiseSchedule, strata: str
) -> None:
    for n in (16, 64, 100, 1000):
        sampler = TimestepSampler.speed(linear, seed=4, strata=strata)
        cumulative = np.cumsum(sampler.probabilities)
        for _ in range(20):
            below = np.searchsorted(np.sort(sampler.sample(n)[0]), np.arange(1000), side="right")
            assert (abs(below - n * cumulative) < 1 + 1e-9).all()


@pytest.mark.parametrize("strata", SPREAD)
@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
def test_all_permutations_of_few_strata_are_equally_likely(strata: str, size: int) -> None:
    every = {order: place for place, order in enumerate(itertools.permutations(range(size)))}
    found = orders(strata, size, max(2000, 20 * len(every)))
    counts = np.bincount([every[tuple(order)] for order in found.tolist()], minlength=len(every))
    assert stats.chisquare(counts).pvalue > UNLIKELY


@pytest.mark.parametrize("strata", SPREAD)
@pytest.mark.parametrize("size", [7, 32, 64, 65, 100, 128, 257])
def test_every_place_gets_every_stratum_equally_often(strata: str, size: int) -> None:
    assert permutation_chi_square(orders(strata, size, 20 * size, seed=5)) > UNLIKELY


@pytest.mark.parametrize("size", [65, 67, 80])
def test_pairs_of_places_get_all_pairs_of_strata_equally_often(size: int) -> None:
    found = orders("stratified", size, 10 * size * (size - 1), seed=6)
    for one, other in ((0, 1), (0, size - 1), (5, size // 2)):
        counts = np.bincount(found[:, one] * size + found[:, other], minlength=size**2)
        assert not counts[:: size + 1].any()
        counts = np.delete(counts, np.arange(0, size**2, size + 1))
        assert stats.chisquare(counts).pvalue > UNLIKELY


@pytest.mark.parametrize("size", [256, 1000, 4096])
def test_neighbours_among_many_strata_have_any_distance(size: int) -> None:
    found = orders("stratified", size, 400_000 // size, seed=7)
    for lag in (1, 2, 64):
        # Blocks of 2·lag places: the first half against the second, so that no place counts twice.
        usable = size // (2 * lag) * 2 * lag
        halves = found[:, :usable].reshape(len(found), -1, 2, lag)
        distance = (halves[:, :, 1] - halves[:, :, 0]) % size
        counts = np.bincount((distance.ravel() - 1) * 50 // (size - 1), minlength=50)
        cells = np.bincount(np.arange(size - 1) * 50 // (size - 1), minlength=50) / (size - 1)
        assert stats.chisquare(counts, counts.sum() * cells).pvalue > UNLIKELY


@pytest.mark.parametrize("size", [65, 128, 1000])
def test_five_places_among_many_strata_come_in_every_order(size: int) -> None:
    every = {order: place for place, order in enumerate(itertools.permutations(range(5)))}
    found = orders("stratified", size, 4000, seed=8)
    for places in ([0, 1, 2, 3, 4], [0, 16, 32, 48, 64], [size - 1, 0, size // 2, 7, size - 2]):
        ranks = np.argsort(found[:, places], axis=1)
        counts = np.bincount([every[tuple(row)] for row in ranks.tolist()], minlength=len(every))
        assert stats.chisquare(counts).pvalue > UNLIKELY


def test_the_order_of_one_step_says_nothing_about_the_next() -> None:
    size = 65
    found = orders("stratified", size, 3000, seed=9)
    distance = (found[1:] - found[:-1]) % size
    assert stats.chisquare(np.bincount(distance[::2].ravel(), minlength=size)).pvalue > UNLIKELY


@pytest.mark.parametrize("strata", SPREAD)
@pytest.mark.parametrize(("world_size", "n"), [(4, 16), (8, 16), (3, 7)])
def test_no_rank_trains_on_more_noise_than_another(
    linear: NoiseSchedule, strata: str, world_size: int, n: int
) -> None:
    steps = np.arange(1000)
    for sampling in ("uniform", "asymmetric"):
        means = []
        for rank in range(world_size):
            options = {"seed": 9, "rank": rank, "world_size": world_size, "strata": strata}
            sampler = TimestepSampler(linear, sampling, **options)
            means.append(batches(sampler, n, 3000).mean(axis=1))
        expected = float(sampler.probabilities @ steps)
        assert largest_z(np.stack(means, axis=1), expected) < UNLIKELY_Z


@pytest.mark.parametrize("strata", SPREAD)
@pytest.mark.parametrize("n", [4, 65])
def test_spread_draws_have_the_distribution_of_independent_ones(
    linear: NoiseSchedule, strata: str, n: int
) -> None:
    sampler = TimestepSampler.speed(linear, seed=10, strata=strata)
    t = batches(sampler, n, 40_000)
    # One entry of each batch: those of one batch are not independent.
    for place in (0, n - 1):
        assert chi_square(t[:, place], sampler.probabilities) > UNLIKELY
    counts = np.stack([(t // 50 == one).sum(axis=1) for one in range(20)], axis=1).astype(float)
    expected = n * sampler.probabilities.reshape(20, 50).sum(axis=1)
    assert largest_z(counts, expected) < UNLIKELY_Z


@pytest.mark.parametrize(("strata", "factor"), [("stratified", 10), ("low_discrepancy", 4)])
def test_spread_draws_vary_less_than_independent_ones(
    linear: NoiseSchedule, strata: str, factor: float
) -> None:
    independent, spread = (
        batches(TimestepSampler.speed(linear, seed=11, strata=choice), 32, 2000).mean(axis=1).std()
        for choice in ("none", strata)
    )
    assert spread < independent / factor
