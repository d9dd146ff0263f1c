"""InfoNoise: its oracle, the closed form of a Gaussian source, its ports' mistakes, continuous processes."""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle_samplings
import oracle_weightings
import pytest
import reference
from oracle_checks import TABLES, differs
from oracle_weightings import TARGETS
from scipy import integrate, optimize

import speediff
from speediff import NoiseSchedule, SigmaSampler, TimestepSampler, weighting
from speediff.sampling import InfoNoise, Mixture, Stages, Truncated

if TYPE_CHECKING:
    from oracle_samplings import Table

STEPS = 60
BAR = np.cumprod(1 - reference.cosine_betas(STEPS))


def mmse(sigma: Table) -> Table:
    """The x₀ loss of the best denoiser of a Gaussian source of variance 1."""
    return sigma**2 / (1 + sigma**2)


def target_loss(sigma: Table, prediction: str) -> Table:
    """The loss of another target for that x₀ loss."""
    s = sigma**-2
    return mmse(sigma) * {"epsilon": s, "sample": 1, "v": s + 1, "flow": (1 + np.sqrt(s)) ** 2}[prediction]


# ---- Schedules -----------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", TARGETS)
@pytest.mark.parametrize(
    "method",
    [
        InfoNoise(bins=20, warm_up=1), InfoNoise(bins=7, decay=0.9), InfoNoise(60, 0.5, 0.3, 2, warm_up=2),
        InfoNoise(bins=5, c=0), InfoNoise(bins=12, p=0.2, n=4), Mixture(InfoNoise(6), "uniform", 0.9),
        Truncated(InfoNoise(6, warm_up=3), 5, 50), Stages([(0, InfoNoise(9)), (5, "uniform")]),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("bar", [BAR, (1 - np.arange(1, 61) / 60) ** 1.5], ids=["cosine", "zero terminal"])
def test_probabilities_after_updates_are_those_of_the_oracle(
    method: Any, prediction: str, bar: Table
) -> None:
    weights = weighting.Table([(0, 0.5), (0.4, 3), (1, 1)])
    plain = oracle_weightings.weights(bar, [weights], prediction)
    schedule = NoiseSchedule.from_alphas_cumprod(bar)
    sampler = TimestepSampler(schedule, method, weights, prediction)
    random, updates = np.random.default_rng(3), []
    reach = np.flatnonzero(sampler.probabilities)
    for n in (1, 10, 40, 40, 300, 300, 1000):
        t = random.integers(reach[0], reach[-1] + 1, n)
        losses = (random.random(n) * (1 + np.sin(t / 9) ** 2)).astype(np.float32)
        sampler.update(t, losses)
        updates.append((t, losses))
        p = oracle_samplings.probabilities(bar, method, 0, updates, plain, prediction=prediction)
        assert not differs(sampler.probabilities, p, rtol=1e-9, atol=1e-15), len(updates)
        # The objective is P·w: no importance weight.
        assert not differs(sampler.weights, plain)


@pytest.mark.parametrize("factor", ["uniform", "min_snr", "edm"])
@pytest.mark.parametrize("prediction", TARGETS)
def test_the_objective_is_the_rate_whatever_the_target_and_the_weight(prediction: str, factor: str) -> None:
    """P·w over the x₀ loss is ρ: the same for losses of each target, and for each weight."""
    bar = TABLES["cosine"]
    schedule, sigma = NoiseSchedule.from_alphas_cumprod(bar), np.sqrt((1 - bar) / bar)
    sampler = TimestepSampler(schedule, InfoNoise(bins=1000, warm_up=1), factor, prediction)
    sampler.update(np.arange(1000), target_loss(sigma, prediction).astype(np.float32))
    s = sigma**-2
    per_sample = {"epsilon": s, "sample": 1, "v": s + 1, "flow": (1 + np.sqrt(s)) ** 2}[prediction]
    share = sampler.probabilities * sampler.weights * per_sample
    # The rate per dσ is 1/(σ(1+σ²)); c is where it falls below p times its largest value.
    rate = 1 / (sigma * (1 + sigma**2))
    c = sigma[np.flatnonzero(rate >= 0.002 * rate.max())[-1]]
    expected = sigma * rate * sigma**3 / (sigma**3 + c**3) * -np.diff(oracle_samplings.edges(bar))
    np.testing.assert_allclose(share / share.sum(), expected / expected.sum(), rtol=2e-6)


def test_the_weight_is_divided_out() -> None:
    """A port's first mistake: P ∝ ρ, so that the weight acts once more."""
    bar = TABLES["cosine"]
    sigma = np.sqrt((1 - bar) / bar)
    p = {}
    for name in ("snr", "edm"):
        schedule = NoiseSchedule.from_alphas_cumprod(bar)
        sampler = TimestepSampler(schedule, InfoNoise(bins=1000, warm_up=1), name, "sample")
        sampler.update(np.arange(1000), mmse(sigma).astype(np.float32))
        p[name] = sampler.probabilities * sampler.weights
        p[name] /= p[name].sum()
    assert not differs(p["snr"], p["edm"], rtol=1e-9)


# ---- Continuous processes ------------------------------------------------------------------------

GRIDS = {"edm": (0.002, 80.0, 0.68, 0.98), "flow": (0.001 / 0.999, 0.999 / 0.001, 0.42, None)}
"""The range of σ, and c of a Gaussian source on it; the median σ of ρ."""


def learned(name: str, **parameters: Any) -> tuple[SigmaSampler, Table]:
    """A sampler that has been told the exact losses of a Gaussian source, and the σ of its bins' edges."""
    low, high, *_ = GRIDS[name]
    bins = 400
    sampler = getattr(SigmaSampler, name)(sampling=InfoNoise(bins=bins, warm_up=1, **parameters), seed=4)
    edges = np.exp(np.linspace(math.log(low), math.log(high), bins + 1))
    middle = np.sqrt(edges[:-1] * edges[1:])
    level = (middle / (1 + middle) if name == "flow" else middle).astype(np.float32)
    sampler.update(level, target_loss(middle, TARGET[name]).astype(np.float32))
    return sampler, edges


TARGET = {"edm": "sample", "flow": "flow"}


def sigma_of(name: str, level: Table) -> Table:
    level = level.astype(float)
    return level / (1 - level) if name == "flow" else level


def rho(sigma: Table, c: float) -> Table:
    """ρ per dσ."""
    return sigma**2 / ((1 + sigma**2) * (sigma**3 + c**3))


@pytest.mark.parametrize("name", GRIDS)
def test_draws_of_a_gaussian_source_have_its_closed_form(name: str) -> None:
    sampler, edges = learned(name)
    low, high, c, median = GRIDS[name]
    # c in closed form: σ(1+σ²) = σ_min(1+σ_min²)/p.
    exact = optimize.brentq(lambda x: x * (1 + x * x) - low * (1 + low * low) / 0.002, low, high)
    assert exact == pytest.approx(c, abs=0.006)
    level, w = sampler.sample(2 * 10**6)
    sigma = sigma_of(name, level)
    on_sample = w * ((1 + 1 / sigma) ** 2 if name == "flow" else 1)
    share, _ = np.histogram(sigma, edges, weights=on_sample)
    expected = np.array([integrate.quad(rho, a, b, args=(exact,))[0] for a, b in itertools.pairwise(edges)])
    cumulative, wanted = np.cumsum(share) / share.sum(), np.cumsum(expected) / expected.sum()
    assert abs(cumulative - wanted).max() < 0.015
    assert low * (1 - 1e-3) < sigma.min()
    assert sigma.max() < high * (1 + 1e-3)
    if median is not None:
        assert np.interp(0.5, wanted, edges[1:]) == pytest.approx(median, abs=0.01)
        assert np.interp(0.5, cumulative, edges[1:]) == pytest.approx(median, abs=0.04)


def test_c_is_the_last_of_the_large_rates_and_not_the_largest() -> None:
    """A port's second mistake: c at the largest rate, the lowest σ, where nearly all mass then is."""
    sampler, _ = learned("edm")
    assert (sampler.sample(10**5)[0] < 0.02).mean() < 1e-3
    ungated, _ = learned("edm", c=0.0)
    sigma, w = ungated.sample(10**5)
    # Without the gate ρ per ln σ is flat up to σ = 1, and P is that over the weight.
    assert np.average(sigma < 0.05, weights=w) > 0.4


def test_a_given_c_is_taken() -> None:
    for c in (0.15, 0.2):
        sampler, edges = learned("edm", c=c)
        sigma, w = sampler.sample(10**6)
        share, _ = np.histogram(sigma, edges[::8], weights=w)
        expected = [integrate.quad(rho, a, b, args=(c,))[0] for a, b in itertools.pairwise(edges[::8])]
        wanted = np.array(expected) / np.sum(expected)
        assert abs(share / share.sum() - wanted).max() < 0.003


@pytest.mark.parametrize("name", ["edm", "vp", "ve", "flow"])
def test_before_it_is_warm_it_draws_as_the_process_does(name: str) -> None:
    make = getattr(SigmaSampler, name)
    own = np.sort(make(seed=2).sample(200_000)[0])
    drawn = np.sort(make(seed=2, sampling=InfoNoise(bins=500)).sample(200_000)[0])
    places = np.quantile(own, [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99])
    assert abs(np.searchsorted(drawn, places) - np.searchsorted(own, places)).max() < 0.006 * 200_000


def test_it_does_not_wait_for_what_is_hardly_drawn() -> None:
    sampler = SigmaSampler.edm(sampling=InfoNoise(), seed=1)
    for _ in range(600):
        sigma, _ = sampler.sample(512)
        sampler.update(sigma, mmse(sigma))
    sigma, w = sampler.sample(10**6)
    # Most of ρ lies between a quarter and four, and nothing is left out.
    assert 0.75 < np.average((sigma > 0.25) & (sigma < 4), weights=w) < 0.95
    assert 0.8 < np.sort(sigma)[np.searchsorted(np.cumsum(w[np.argsort(sigma)]), w.sum() / 2)] < 1.15


# ---- Errors --------------------------------------------------------------------------------------


def test_a_weight_of_zero_is_an_error_that_names_the_step() -> None:
    schedule = NoiseSchedule.cosine(10)
    zero = weighting.Table([1, 1, 0, 1, 1, 1, 1, 1, 1, 1])
    with pytest.raises(speediff.SpeeDiffValueError, match=r"info_noise.*0\.0 at index 2 \(t = 3\)"):
        TimestepSampler(schedule, InfoNoise(5), zero, "v")
    curve = weighting.Table([(-5, 1), (0, 0), (0.1, 0), (5, 1)], "log_snr")
    with pytest.raises(speediff.SpeeDiffValueError, match=r"info_noise.*at sigma = 0\.9"):
        SigmaSampler.edm(sampling=InfoNoise(bins=200), weighting=curve)


def test_it_needs_a_target_and_a_weight_that_does_not_follow_it() -> None:
    schedule = NoiseSchedule.cosine(10)
    with pytest.raises(speediff.SpeeDiffValueError, match=r"prediction must be .* for info_noise"):
        TimestepSampler(schedule, InfoNoise(5))
    importance = weighting.Importance()
    for factor in (importance, weighting.ToEmphasis(), weighting.MinSNR() * importance):
        with pytest.raises(speediff.SpeeDiffValueError, match="must not depend on P with info_noise"):
            TimestepSampler(schedule, InfoNoise(5), factor, "v")
    with pytest.raises(speediff.SpeeDiffValueError, match="bins must be at most the number of steps"):
        TimestepSampler(schedule, "info_noise", "uniform", "v")


def test_a_resumed_run_is_the_uninterrupted_one() -> None:
    run, _ = learned("flow")
    resumed = SigmaSampler.flow(sampling=InfoNoise(bins=400, warm_up=1), seed=9)
    resumed.load_state_dict(json.loads(json.dumps(run.state_dict())))
    for _ in range(5):
        batches = [sampler.sample(64) for sampler in (run, resumed)]
        for first, second in zip(*batches, strict=True):
            assert (first == second).all()
        for sampler in (run, resumed):
            sampler.update(batches[0][0], np.square(batches[0][0]))
