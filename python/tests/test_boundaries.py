"""Where a draw falls on or next to a boundary of the inverse CDF, to the last of its 64 bits."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import reference

from speediff import NoiseSchedule, TimestepSampler
from speediff.sampling import Asymmetric

# The first entry of seed 0 whose first word is all ones, found by drawing 5·10⁸ entries.
TOP_STEP, TOP_ENTRY = 121, 504_650
TOP_BITS = int(reference.bits(0, TOP_STEP, TOP_ENTRY, 1)[0])


def draw_top(schedule: NoiseSchedule, sampling: str | Asymmetric = "uniform") -> int:
    """The time step of the entry that is nearest to u = 1."""
    sampler = TimestepSampler(schedule, sampling, seed=0)
    t, _ = sampler.sample(1, step=TOP_STEP, offset=TOP_ENTRY, total=TOP_ENTRY + 1)
    return int(t[0])


def two_steps() -> NoiseSchedule:
    return NoiseSchedule.from_betas([0.1, 0.2])


def asymmetry_with_boundary(boundary: int) -> float:
    """A k that puts the boundary between two steps, k/(k+1), nearest to this one."""
    return float(Fraction(boundary, 2**64 - boundary))


def test_the_top_entry_is_within_2_to_the_minus_35_of_one() -> None:
    assert TOP_BITS >> 32 == 0xFFFFFFFF
    assert 2**64 - TOP_BITS < 2**29


@pytest.mark.parametrize("distance", [0, 1, -1, 2, -2, 1000, -1000, 2**20, -(2**20), 2**31, -(2**31)])
def test_the_second_word_settles_a_tie_with_the_first(distance: int) -> None:
    bits = reference.bits(0, 0, 0, 1 << 14)
    entry = int(bits.argmax())
    value = int(bits[entry])
    k = asymmetry_with_boundary(value + distance)
    boundary = reference.boundaries(reference.asymmetric(2, k, 1))[0]
    assert abs(boundary - value) < 2**32, "not a tie"
    t, _ = TimestepSampler(two_steps(), Asymmetric(k, tau=1)).sample(1 << 14, step=0)
    assert t[entry] == (boundary <= value)


@pytest.mark.parametrize("distance", [0, 1, -1, 2, -2, 2**10, -(2**10), 2**25, -(2**25)])
def test_a_step_of_probability_10_to_the_minus_11_is_reached(distance: int) -> None:
    k = asymmetry_with_boundary(TOP_BITS + distance)
    boundary = reference.boundaries(reference.asymmetric(2, k, 1))[0]
    assert draw_top(two_steps(), Asymmetric(k, tau=1)) == (boundary <= TOP_BITS)


@pytest.mark.parametrize("k", [1, 1e3, 1e9, 1e10, 1.5e10])
@pytest.mark.parametrize("tau", [1, 2])
def test_no_tail_is_too_thin_to_draw(k: float, tau: int) -> None:
    schedule = NoiseSchedule.from_betas([0.1, 0.2, 0.3])
    assert draw_top(schedule, Asymmetric(k, tau=tau)) == 2


@pytest.mark.parametrize("steps", [2, 3, 7, 1000, 1023, 1024, 1025, 999_983, 2**20])
def test_the_largest_draw_is_the_last_step_and_never_t(steps: int) -> None:
    schedule = NoiseSchedule.constant(steps, beta=1e-6)
    assert draw_top(schedule) == steps - 1
    for k in (1, 1.1, 5, 1e3):
        assert draw_top(schedule, Asymmetric(k, tau=steps // 2)) == steps - 1


def test_uniform_boundaries_next_to_a_draw_are_exact() -> None:
    bits = reference.bits(0, 0, 0, 40)
    ties = 0
    for entry, value in enumerate(int(one) for one in bits):
        for limit in (1000, 70_000, 200_000):
            near = Fraction(value, 2**64).limit_denominator(limit)
            if near.denominator < 2 or near in (0, 1):
                continue
            distance = abs(near * 2**64 - value)
            ties += distance < 2**32
            schedule = NoiseSchedule.constant(near.denominator, beta=1e-6)
            t, _ = TimestepSampler(schedule).sample(40, step=0)
            assert t[entry] == value * near.denominator >> 64
    assert ties > 20


@pytest.mark.parametrize("tau", [1, 500, 700, 950])
def test_the_boundary_at_tau_is_within_2_to_the_minus_50(tau: int) -> None:
    schedule = NoiseSchedule.linear(1000)
    bits = reference.bits(0, 0, 0, 4096)
    for entry in np.argsort(bits)[-200::20]:
        value = int(bits[entry])
        for distance in (2**14, -(2**14)):
            u = Fraction(value + distance, 2**64)
            # The k that solves kτ/(T+τ(k-1)) = u.
            k = float(u * (1000 - tau) / (tau * (1 - u)))
            boundary = reference.boundaries(reference.asymmetric(1000, k, tau))[tau - 1]
            assert abs(boundary - value) < 2**15, "not a tie"
            t, _ = TimestepSampler(schedule, Asymmetric(k, tau=tau)).sample(4096, step=0)
            assert t[entry] >= tau if boundary <= value else t[entry] < tau


def test_extreme_asymmetry_draws_the_first_steps_evenly() -> None:
    schedule = NoiseSchedule.linear(1000)
    for k in (1e12, 1e18, 1e30, 1e300, 1e306):
        t, _ = TimestepSampler(schedule, Asymmetric(k, tau=10)).sample(10_000, step=0)
        expected = reference.draw(0, 0, 10_000, reference.boundaries(reference.asymmetric(1000, k, 10)))
        assert (t == expected).all()
        assert t.max() == 9
