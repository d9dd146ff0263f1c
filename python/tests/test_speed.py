"""SpeeD's probabilities and weights: Eq. 2, Section 2.4 and both presets, with their numbers."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from named_schedules import SCHEDULES

from speediff import NoiseSchedule, TimestepSampler
from speediff.sampling import Asymmetric
from speediff.weighting import ChangeAware

PAPER_P = np.array([float(p) for p in reference.asymmetric(1000, 5, 700)])
LINEAR_BAR = np.cumprod(1 - reference.linear_betas(1000))


def test_the_paper_has_five_in_3800_up_to_tau_and_one_beyond(linear: NoiseSchedule) -> None:
    p = TimestepSampler.speed(linear).probabilities
    assert (p[:700] == 5 / 3800).all()
    assert (p[700:] == 1 / 3800).all()
    assert round(float(p[700:].sum()), 6) == 0.078947


@pytest.mark.parametrize("steps", [2, 3, 10, 1000, 4000])
@pytest.mark.parametrize("k", [1, 1.5, 2, 5, 1e6])
def test_asymmetric_probabilities_are_eq_2(steps: int, k: float) -> None:
    schedule = NoiseSchedule.cosine(steps)
    for tau in {1, steps // 2, steps - 1}:
        p = TimestepSampler(schedule, Asymmetric(k, tau=tau)).probabilities
        exact = [float(mass) for mass in reference.asymmetric(steps, k, tau)]
        np.testing.assert_allclose(p, exact, rtol=1e-15, strict=True)
        assert p.sum() == pytest.approx(1, abs=1e-12)


def test_uniform_probabilities_are_one_over_t(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler(linear)
    assert (sampler.probabilities == 1 / 1000).all()
    assert (sampler.weights == 1).all()


@pytest.mark.parametrize("name", SCHEDULES)
def test_tau_follows_the_schedule(name: str) -> None:
    bar = np.cumprod(1 - reference.BETAS[name](1000))
    p = TimestepSampler.speed(SCHEDULES[name](1000)).probabilities
    assert np.count_nonzero(p == p[0]) == reference.convergence_start(bar, 143.5)


@pytest.mark.parametrize("steps", [50, 100, 250, 500, 2000])
def test_tau_scales_with_the_number_of_steps(steps: int) -> None:
    p = TimestepSampler.speed(NoiseSchedule.linear(steps)).probabilities
    assert np.count_nonzero(p == p[0]) / steps == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize(
    ("name", "w_700"),
    [("linear", 0.4072), ("quadratic", 0.4657), ("cosine", 0.5609), ("scaled_linear", 0.4679)],
)
def test_change_aware_weights_are_the_rescaled_rate(name: str, w_700: float) -> None:
    schedule = SCHEDULES[name](1000)
    bar = np.cumprod(1 - reference.BETAS[name](1000))
    for lam in (0.5, 0.6, 0.8, 1.0):
        w = TimestepSampler(schedule, weighting=ChangeAware(lam)).weights
        np.testing.assert_allclose(w, reference.change_aware(bar, lam), rtol=1e-9, atol=1e-12)
        assert w.min() == pytest.approx(1 - lam, abs=1e-15)
        assert w.max() == pytest.approx(lam, abs=1e-15)
    w = TimestepSampler(schedule, weighting="change_aware").weights
    assert round(float(w[699]), 4) == w_700


def test_change_aware_weights_of_the_paper_have_their_known_values(linear: NoiseSchedule) -> None:
    w = TimestepSampler.speed(linear).weights
    assert (int(w.argmax()) + 1, int(w.argmin()) + 1) == (220, 1000)
    assert (w.max(), w.min()) == (pytest.approx(0.6), pytest.approx(0.4))
    assert round(float(w[0]), 4) == 0.4088
    g = reference.LinearClosedForms.of(reference.linear_betas(1000)).rate(np.arange(1.0, 1001.0))
    closed = 0.4 + 0.2 * (g - g.min()) / (g.max() - g.min())
    assert round(float(closed[0]), 4) == 0.4073
    assert round(float(abs(w - closed).max()), 5) == 0.00146


def test_change_aware_weights_span_all_steps_and_not_those_before_tau_alone() -> None:
    schedule = NoiseSchedule.cosine(1000)
    sampler = TimestepSampler(schedule, Asymmetric(5, tau=300), "change_aware")
    assert (sampler.weights == TimestepSampler(schedule, weighting="change_aware").weights).all()


def test_weights_do_not_depend_on_the_prediction_target(linear: NoiseSchedule) -> None:
    tables = [
        TimestepSampler.speed(linear, prediction=target).weights
        for target in (None, "epsilon", "sample", "v", "flow")
    ]
    assert all((table == tables[0]).all() for table in tables)


def test_the_three_center_points_of_the_released_code() -> None:
    centers = {"linear": 642, "quadratic": 829, "cosine": 959}
    for name, center in centers.items():
        bar = np.cumprod(1 - reference.BETAS[name](1000))
        assert reference.dual_center(bar) == center
        sampler = TimestepSampler.speed(SCHEDULES[name](1000), preset="official")
        t, _ = sampler.sample(1000, step=0)
        assert (t[501:] == abs(center - t[:499])).all()


def test_official_weights_are_change_aware_up_to_tau_and_one_beyond(linear: NoiseSchedule) -> None:
    for lam, tau in ((0.6, 700), (0.8, 123)):
        w = TimestepSampler.speed(linear, lam=lam, tau=tau, preset="official").weights
        np.testing.assert_allclose(w[:tau], reference.change_aware(LINEAR_BAR, lam)[:tau], rtol=1e-9)
        assert (w[tau:] == 1).all()


def test_official_has_tau_700_and_eq_2_as_its_nominal_distribution(linear: NoiseSchedule) -> None:
    assert (TimestepSampler.speed(linear, preset="official").probabilities == PAPER_P).all()


def test_official_has_tau_700_for_any_schedule_and_another_one_if_told() -> None:
    schedule = NoiseSchedule.cosine(1000)
    for options, tau in (({}, 700), ({"tau": 300}, 300), ({"r": 10}, 794)):
        p = TimestepSampler.speed(schedule, preset="official", **options).probabilities
        assert np.count_nonzero(p == p[0]) == tau


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 31, 32, 256, 1000])
def test_the_official_marginal_is_exact(linear: NoiseSchedule, n: int) -> None:
    marginal = TimestepSampler.speed(linear, preset="official").marginal(n)
    expected = reference.official_marginal(PAPER_P, 642, n)
    np.testing.assert_allclose(marginal, expected, rtol=1e-12, strict=True)


def test_official_k_5_acts_as_more_in_larger_batches(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear, preset="official")
    for n, k in ((1, 5.0), (2, 5.0), (8, 8.3), (32, 9.8), (256, 10.3)):
        marginal = sampler.marginal(n)
        assert round(float(marginal[:700].mean() / marginal[700:].mean()), 1) == k


def test_the_paper_marginal_is_its_probabilities_for_any_batch(linear: NoiseSchedule) -> None:
    for strata in ("none", "stratified", "low_discrepancy"):
        sampler = TimestepSampler.speed(linear, strata=strata)
        for n in (1, 32, 10**9):
            assert (sampler.marginal(n) == sampler.probabilities).all()


def test_expected_weights_are_those_of_the_two_presets(linear: NoiseSchedule) -> None:
    paper, official = (TimestepSampler.speed(linear, preset=preset) for preset in ("paper", "official"))
    w = reference.change_aware(LINEAR_BAR, 0.6)
    assert round(paper.expected_weight(), 4) == 0.4965
    assert paper.expected_weight() == pytest.approx(float(PAPER_P @ w), rel=1e-9)
    assert paper.expected_weight(32) == paper.expected_weight()
    w[700:] = 1
    assert round(official.expected_weight(), 4) == 0.5437
    assert official.expected_weight() == pytest.approx(float(PAPER_P @ w), rel=1e-9)
    assert round(official.expected_weight(32), 3) == 0.529
    for n in (1, 8, 32, 256):
        expected = float(reference.official_marginal(PAPER_P, 642, n) @ w)
        assert official.expected_weight(n) == pytest.approx(expected, rel=1e-9)


def test_normalized_weights_have_mean_one_under_what_is_drawn(linear: NoiseSchedule) -> None:
    for preset in ("paper", "official"):
        plain, sampler = (
            TimestepSampler.speed(linear, preset=preset, normalize=choice) for choice in (False, True)
        )
        assert float(sampler.probabilities @ sampler.weights) == pytest.approx(1, rel=1e-12)
        np.testing.assert_allclose(sampler.weights, plain.weights / plain.expected_weight(), rtol=1e-12)
        for n in (1, 8, 33):
            t, w = sampler.sample(n, step=4)
            expected = plain.weights[t] / plain.expected_weight(n)
            np.testing.assert_allclose(w, expected, rtol=1e-6)
            assert sampler.expected_weight(n) == plain.expected_weight(n)
