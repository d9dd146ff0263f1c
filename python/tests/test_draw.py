"""The library's draws, entry by entry against the oracle: the layout is a permanent promise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import reference

import speediff
from speediff import TimestepSampler
from speediff.sampling import Asymmetric

if TYPE_CHECKING:
    from speediff import NoiseSchedule

FIXTURE = json.loads((Path(__file__).parent / "fixtures" / "first_draws.json").read_text())
SEEDS = [0, 1, 2**32 - 1, 2**32, 0x0123456789ABCDEF, 2**63, 2**64 - 1]
STEPS = [0, 1, 2, 2**31, 2**32 - 1, 2**32, 2**32 + 5, 2**62 + 3, 2**63 - 2]
UNIFORM = reference.boundaries(reference.uniform(1000))
ASYMMETRIC = reference.boundaries(reference.asymmetric(1000, 5, 700))


def sampler_named(name: str, schedule: NoiseSchedule, seed: int = 0) -> TimestepSampler:
    options: dict[str, Any] = {"preset": "official"} if name == "official" else {}
    if name in ("stratified", "low_discrepancy"):
        options = {"strata": name}
    if name == "uniform":
        return TimestepSampler(schedule, "uniform", seed=seed)
    return TimestepSampler.speed(schedule, seed=seed, **options)


@pytest.mark.parametrize("name", FIXTURE["timesteps"])
def test_the_first_entries_of_seed_0_are_those_of_the_fixture(linear: NoiseSchedule, name: str) -> None:
    assert sampler_named(name, linear).sample(64)[0].tolist() == FIXTURE["timesteps"][name]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 16, 255])
def test_the_first_entries_do_not_depend_on_the_batch(linear: NoiseSchedule, n: int) -> None:
    t, _ = TimestepSampler(linear).sample(n)
    assert t[:64].tolist() == FIXTURE["timesteps"]["uniform"][:n]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", STEPS)
def test_independent_draws_are_those_of_the_reference(linear: NoiseSchedule, seed: int, step: int) -> None:
    for name, inner in (("uniform", UNIFORM), ("asymmetric", ASYMMETRIC)):
        t, _ = sampler_named(name, linear, seed).sample(257, step=step)
        assert t.tolist() == reference.draw(seed, step, 257, inner).tolist()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", [0, 3, 2**32 + 5, 2**63 - 2])
def test_spread_draws_are_those_of_the_reference(linear: NoiseSchedule, seed: int, step: int) -> None:
    stratified = sampler_named("stratified", linear, seed)
    low_discrepancy = sampler_named("low_discrepancy", linear, seed)
    for n in (1, 2, 3, 5, 8, 33, 64, 65, 100):
        expected = reference.draw_stratified(seed, step, n, ASYMMETRIC)
        assert stratified.sample(n, step=step)[0].tolist() == expected.tolist()
        expected = reference.draw_low_discrepancy(seed, step, n, ASYMMETRIC)
        assert low_discrepancy.sample(n, step=step)[0].tolist() == expected.tolist()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", [0, 3, 2**32 + 5, 2**63 - 2])
def test_official_draws_are_those_of_the_reference(linear: NoiseSchedule, seed: int, step: int) -> None:
    official = sampler_named("official", linear, seed)
    for n in (1, 2, 3, 4, 5, 32, 33, 256):
        expected = reference.draw_official(seed, step, n, ASYMMETRIC, 642)
        assert official.sample(n, step=step)[0].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("k", "tau"), [(1, 1), (1.5, 999), (2, 500), (5, 700), (1000, 3), (1e12, 10), (3.7, 998)]
)
def test_any_asymmetry_is_drawn_as_in_the_reference(linear: NoiseSchedule, k: float, tau: int) -> None:
    sampler = TimestepSampler(linear, Asymmetric(k, tau=tau), seed=11)
    inner = reference.boundaries(reference.asymmetric(1000, k, tau))
    assert sampler.sample(5000, step=2)[0].tolist() == reference.draw(11, 2, 5000, inner).tolist()


@pytest.mark.parametrize("steps", [2, 3, 255, 256, 257, 4096, 100_003])
def test_any_number_of_steps_is_drawn_as_in_the_reference(steps: int) -> None:
    schedule = speediff.NoiseSchedule.constant(steps, beta=1e-4)
    inner = reference.boundaries(reference.uniform(steps))
    expected = reference.draw(3, 4, 5000, inner)
    assert TimestepSampler(schedule, seed=3).sample(5000, step=4)[0].tolist() == expected.tolist()


def test_a_large_batch_is_drawn_as_in_the_reference(linear: NoiseSchedule) -> None:
    t, _ = sampler_named("asymmetric", linear, 9).sample(100_001, step=5)
    assert (t == reference.draw(9, 5, 100_001, ASYMMETRIC)).all()


def test_far_entries_of_a_large_global_batch_are_those_of_the_reference(linear: NoiseSchedule) -> None:
    first = 2**31 - 1001
    t, _ = sampler_named("asymmetric", linear, 9).sample(1001, step=5, offset=first, total=2**31)
    assert (t == reference.draw(9, 5, 1001, ASYMMETRIC, first)).all()


def test_weights_are_those_of_the_drawn_steps(linear: NoiseSchedule) -> None:
    for name in FIXTURE["timesteps"]:
        sampler = sampler_named(name, linear)
        t, w = sampler.sample(64)
        assert (w == sampler.weights[t].astype("float32")).all()
