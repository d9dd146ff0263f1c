"""Theorem 1: process increments and the three areas, against NumPy, mpmath and the paper's numbers."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import reference
from named_schedules import SCHEDULES

from speediff import NoiseSchedule

T = np.arange(1, 1001, dtype=np.float64)
CLOSED = reference.LinearClosedForms.of(reference.linear_betas(1000))


def test_the_tables_agree_with_numpy() -> None:
    for name, make in SCHEDULES.items():
        for steps in (50, 250, 1000):
            betas = reference.BETAS[name](steps)
            bar = np.cumprod(1 - betas)
            increments = make(steps).process_increments()
            close = {"rtol": 1e-9, "atol": 1e-15, "strict": True}
            variance = 2 - bar[:-1] * (2 - betas[1:])
            np.testing.assert_allclose(increments.variance, variance, **close)
            factor = (np.sqrt(1 - betas[1:]) - 1) * np.sqrt(bar[:-1])
            np.testing.assert_allclose(increments.mean_factor, factor, **close)
            np.testing.assert_allclose(increments.rate, reference.rate(bar), **close)
            np.testing.assert_allclose(increments.magnitude, 1 / bar, **close)


@pytest.mark.parametrize("name", SCHEDULES)
def test_psi_and_phi_agree_with_fifty_digits(name: str) -> None:
    schedule = SCHEDULES[name](1000)
    increments = schedule.process_increments()
    with mpmath.workdps(50):
        betas = [mpmath.mpf(float(beta)) for beta in schedule.betas]
        bar = mpmath.mpf(1)
        for i, beta in enumerate(betas[:-1]):
            bar *= 1 - beta
            if i not in (0, 1, 10, 250, 499, 700, 950, 998):
                continue
            alpha = 1 - betas[i + 1]
            psi, phi = 2 - bar * (1 + alpha), (mpmath.sqrt(alpha) - 1) * mpmath.sqrt(bar)
            # Psi is a difference from 2: its error is that of numbers near 2.
            assert abs(increments.variance[i] - psi) < 1e-13, i
            assert abs(increments.mean_factor[i] / phi - 1) < 1e-10, i


def test_increments_have_one_entry_less_where_they_need_the_next_step(linear: NoiseSchedule) -> None:
    increments = linear.process_increments()
    assert increments.variance.shape == increments.mean_factor.shape == (999,)
    assert increments.rate.shape == increments.magnitude.shape == (1000,)


def test_the_variance_is_of_independent_draws_and_not_of_the_markov_chain(linear: NoiseSchedule) -> None:
    t = 499
    beta, bar = linear.betas[t], linear.alphas_cumprod[t - 1]
    markov = beta + (1 - math.sqrt(1 - beta)) ** 2 * (1 - bar)
    assert round(markov, 4) == 0.0101
    assert round(linear.process_increments().variance[t - 1], 3) == 1.842


@pytest.mark.parametrize(
    ("name", "t_ad", "t_dc_10", "t_dc_138_6", "magnitude", "places"),
    [
        ("linear", 220, 476, 698, 143.552, 3),
        ("quadratic", 412, 661, 873, 14.83, 2),
        ("cosine", 496, 794, 946, 4.92, 2),
        ("scaled_linear", 314, 675, 963, 12.0, 1),
    ],
)
def test_the_areas_of_four_schedules_are_where_they_should_be(
    name: str, t_ad: int, t_dc_10: int, t_dc_138_6: int, magnitude: float, places: int
) -> None:
    increments = SCHEDULES[name](1000).process_increments()
    assert increments.acceleration_end == t_ad
    assert increments.convergence_start(10) == t_dc_10
    assert increments.convergence_start(138.6) == t_dc_138_6
    assert round(increments.magnitude[699], places) == magnitude


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [30, 100, 999, 1000, 4000])
def test_the_areas_of_any_schedule_agree_with_numpy(name: str, steps: int) -> None:
    bar = np.cumprod(1 - reference.BETAS[name](steps))
    increments = SCHEDULES[name](steps).process_increments()
    assert increments.acceleration_end == np.argmax(reference.rate(bar)) + 1
    for r in (1.01, 2, 5, 10, 50, 100):
        if r >= 1 / bar[-1]:
            continue
        assert increments.convergence_start(r) == reference.convergence_start(bar, r), r


@pytest.mark.parametrize(
    ("r", "closed", "exact"),
    [
        (2, 259.94, 260),
        (5, 398.18, 397),
        (10, 477.05, 476),
        (20, 544.70, 543),
        (50, 623.02, 621),
        (100, 676.30, 674),
        (150, 705.62, 704),
        (1000, 829.20, 826),
    ],
)
def test_convergence_starts_where_the_formula_and_the_exact_form_say(
    linear: NoiseSchedule, r: float, closed: float, exact: int
) -> None:
    tau = linear.closed_form_increments().convergence_start(r)
    assert round(tau, 2) == closed
    assert tau == pytest.approx(CLOSED.convergence_start(r), rel=1e-12)
    assert linear.process_increments().convergence_start(r) == exact


def test_convergence_is_strictly_beyond_r(linear: NoiseSchedule) -> None:
    increments = linear.process_increments()
    for t in (2, 300, 700, 999):
        r = float(increments.magnitude[t - 1])
        assert increments.convergence_start(r) == t + 1
        assert increments.convergence_start(np.nextafter(r, 0)) == t


def test_the_default_magnitude_puts_tau_at_700(linear: NoiseSchedule) -> None:
    assert linear.process_increments().convergence_start() == 700


def test_the_closed_forms_are_those_of_the_paper(linear: NoiseSchedule) -> None:
    closed = linear.closed_form_increments()
    close = {"rtol": 1e-9, "strict": True}
    np.testing.assert_allclose(closed.magnitude, CLOSED.magnitude(T), **close)
    np.testing.assert_allclose(closed.variance, CLOSED.variance(T), **close)
    np.testing.assert_allclose(closed.rate, CLOSED.rate(T), **close)
    np.testing.assert_allclose(closed.mean_bound, CLOSED.beta_max / CLOSED.magnitude(T), **close)
    assert round(closed.acceleration_end, 3) == 220.143
    assert closed.acceleration_end == pytest.approx(CLOSED.acceleration_end(), rel=1e-12)
    assert round(float(closed.magnitude[699]), 3) == 138.597
    beta = CLOSED.beta_0 + CLOSED.delta * closed.acceleration_end / 1000
    assert round(beta, 7) == 0.0044609


def test_the_closed_rate_is_the_derivative_of_the_closed_variance() -> None:
    with mpmath.workdps(30):
        for t in (1, 220, 700):
            slope = mpmath.diff(
                lambda x: 2 - 2 * mpmath.exp(-(CLOSED.beta_0 + CLOSED.delta * x / 2000) * x), t
            )
            assert float(slope) == pytest.approx(float(CLOSED.rate(T)[t - 1]), rel=1e-9)


def test_the_closed_variance_is_a_lower_bound_and_the_closed_mean_an_upper_one(
    linear: NoiseSchedule,
) -> None:
    increments, closed = linear.process_increments(), linear.closed_form_increments()
    assert (closed.variance[:-1] < increments.variance).all()
    assert (increments.mean_factor**2 < closed.mean_bound[:-1]).all()


@pytest.mark.parametrize("steps", [50, 250, 2000])
def test_closed_forms_hold_for_any_number_of_steps(steps: int) -> None:
    expected = reference.LinearClosedForms.of(reference.linear_betas(steps))
    closed = NoiseSchedule.linear(steps).closed_form_increments()
    assert closed.acceleration_end == pytest.approx(expected.acceleration_end(), rel=1e-12)
    t = np.arange(1, steps + 1, dtype=np.float64)
    np.testing.assert_allclose(closed.magnitude, expected.magnitude(t), rtol=1e-9)


def test_closed_forms_hold_for_equal_steps_however_they_were_given() -> None:
    schedule = NoiseSchedule.from_betas(np.linspace(1e-3, 3e-2, 77))
    expected = reference.LinearClosedForms.of(np.linspace(1e-3, 3e-2, 77))
    tau = schedule.closed_form_increments().convergence_start(2.5)
    assert tau == pytest.approx(expected.convergence_start(2.5), rel=1e-12)
