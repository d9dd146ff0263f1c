"""Noise schedules against NumPy and diffusers, and which tables are valid."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from named_schedules import SCHEDULES

import speediff
from speediff import NoiseSchedule, TimestepSampler


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [21, 50, 999, 1000, 4096])
def test_every_table_agrees_with_numpy(name: str, steps: int) -> None:
    schedule = SCHEDULES[name](steps)
    betas = reference.BETAS[name](steps)
    bar = np.cumprod(1 - betas)
    np.testing.assert_allclose(schedule.betas, betas, rtol=1e-12, atol=1e-15, strict=True)
    close = {"rtol": 1e-9, "atol": 0, "strict": True}
    np.testing.assert_allclose(schedule.alphas, 1 - betas, **close)
    np.testing.assert_allclose(schedule.alphas_cumprod, bar, **close)
    np.testing.assert_allclose(schedule.sqrt_alphas_cumprod, np.sqrt(bar), **close)
    np.testing.assert_allclose(schedule.sqrt_one_minus_alphas_cumprod, np.sqrt(1 - bar), **close)
    np.testing.assert_allclose(schedule.snr, bar / (1 - bar), **close)
    np.testing.assert_allclose(schedule.log_snr, np.log(bar / (1 - bar)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(schedule.sigmas, np.sqrt((1 - bar) / bar), **close)


def test_tables_are_read_only_float64_and_have_t_entries(linear: NoiseSchedule) -> None:
    for name in ("betas", "alphas", "alphas_cumprod", "snr", "log_snr", "sigmas"):
        table = getattr(linear, name)
        assert (table.dtype, table.shape) == (np.float64, (1000,))
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 1
    assert len(linear) == linear.steps == 1000


def test_end_points_and_a_constant_can_be_chosen() -> None:
    expected = np.linspace(0.002, 0.03, 500) * 2
    betas = NoiseSchedule.linear(500, beta_start=0.002, beta_end=0.03).betas
    np.testing.assert_allclose(betas, expected, rtol=1e-12)
    expected = reference.quadratic_betas(70, 0.01, 0.5)
    for make in (NoiseSchedule.quadratic, NoiseSchedule.scaled_linear):
        np.testing.assert_allclose(make(70, beta_start=0.01, beta_end=0.5).betas, expected, rtol=1e-12)
    assert (NoiseSchedule.constant(10).betas == 0.02).all()
    assert (NoiseSchedule.constant(10, beta=0.3).betas == 0.3).all()


def test_linear_needs_more_than_20_steps() -> None:
    assert NoiseSchedule.linear(21).steps == 21
    for steps in (2, 10, 19):
        with pytest.raises(speediff.SpeeDiffValueError, match="20"):
            NoiseSchedule.linear(steps)


def test_given_tables_are_kept_as_they_are() -> None:
    betas = np.random.default_rng(0).uniform(1e-4, 0.1, 60)
    assert (NoiseSchedule.from_betas(betas).betas == betas).all()
    bar = np.cumprod(1 - betas)
    schedule = NoiseSchedule.from_alphas_cumprod(bar)
    assert (schedule.alphas_cumprod == bar).all()
    np.testing.assert_allclose(schedule.betas, betas, rtol=1e-11)


def test_lists_and_tuples_of_numbers_are_tables_too() -> None:
    array = NoiseSchedule.from_betas(np.array([0.1, 0.2, 0.3]))
    for betas in ([0.1, 0.2, 0.3], (0.1, 0.2, 0.3)):
        assert (NoiseSchedule.from_betas(betas).alphas_cumprod == array.alphas_cumprod).all()


def test_the_caller_may_change_the_table_afterwards() -> None:
    betas = np.full(5, 0.1)
    schedule = NoiseSchedule.from_betas(betas)
    betas[:] = 0.9
    assert (schedule.betas == 0.1).all()


@pytest.mark.parametrize("steps", [2, 3, 10, 1000])
def test_jsd_ends_without_signal_and_every_table_says_so(steps: int) -> None:
    schedule = NoiseSchedule.from_betas(reference.jsd_betas(steps))
    bar = (steps - 1 - np.arange(steps)) / steps
    np.testing.assert_allclose(schedule.alphas_cumprod, bar, rtol=1e-10)
    assert (schedule.betas[-1], schedule.alphas_cumprod[-1], schedule.snr[-1]) == (1, 0, 0)
    assert (schedule.log_snr[-1], schedule.sigmas[-1]) == (-np.inf, np.inf)
    assert schedule.sqrt_one_minus_alphas_cumprod[-1] == 1
    increments = schedule.process_increments()
    assert increments.magnitude[-1] == np.inf
    assert increments.variance[-1] == pytest.approx(2 - bar[-2], abs=1e-12)
    assert np.isfinite(increments.rate).all()
    for table in (schedule.log_snr, schedule.sigmas, increments.magnitude):
        assert np.isfinite(table[:-1]).all()


def test_jsd_converges_at_any_magnitude_and_can_be_sampled() -> None:
    schedule = NoiseSchedule.from_betas(reference.jsd_betas(1000))
    increments = schedule.process_increments()
    assert increments.convergence_start(10.01) == 901
    assert increments.convergence_start(1e300) == 1000
    t, w = TimestepSampler(schedule, "asymmetric").sample(1000)
    assert 0 <= t.min() <= t.max() < 1000
    assert (w == 1).all()


@pytest.mark.parametrize("steps", [3, 7, 20, 1000])
def test_a_process_of_constant_rate_has_no_change_to_be_aware_of(steps: int) -> None:
    # g_max = g_min up to rounding: rescaling would turn the rounding into weights.
    schedule = NoiseSchedule.from_betas(reference.jsd_betas(steps))
    with pytest.raises(speediff.SpeeDiffValueError):
        TimestepSampler(schedule, weighting="change_aware")


def test_zero_terminal_snr_is_allowed_at_the_last_step_alone() -> None:
    assert NoiseSchedule.from_alphas_cumprod([0.9, 0.5, 0.0]).betas[-1] == 1
    assert NoiseSchedule.from_betas([0.1, 0.2, 1.0]).alphas_cumprod[-1] == 0
    for make, table in (
        (NoiseSchedule.from_alphas_cumprod, [0.9, 0.0, 0.0]),
        (NoiseSchedule.from_betas, [0.1, 1.0, 0.3]),
        (NoiseSchedule.from_betas, [1.0, 1.0]),
    ):
        with pytest.raises(speediff.SpeeDiffValueError):
            make(table)


def test_zero_terminal_snr_works_with_both_presets() -> None:
    # Rescaled as by Lin et al. 2023.
    root = np.sqrt(np.cumprod(1 - reference.linear_betas(1000)))
    bar = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    schedule = NoiseSchedule.from_alphas_cumprod(bar)
    for preset in ("paper", "official"):
        sampler = TimestepSampler.speed(schedule, preset=preset)
        t, w = sampler.sample(5000)
        assert 0 <= t.min() <= t.max() < 1000
        assert np.isfinite(w).all()
        expected = reference.change_aware(bar, 0.6)
        np.testing.assert_allclose(sampler.weights[:600], expected[:600], rtol=1e-9)


def test_the_shortest_and_a_long_schedule_work() -> None:
    shortest = NoiseSchedule.from_betas([0.1, 0.2])
    assert shortest.process_increments().variance.shape == (1,)
    assert set(TimestepSampler(shortest, speediff.sampling.Asymmetric(2, tau=1)).sample(64)[0]) == {0, 1}
    longest = NoiseSchedule.constant(2**20, beta=1e-7)
    assert TimestepSampler(longest).sample(1000)[0].max() < 2**20
