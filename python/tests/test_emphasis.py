"""Emphasis: what a method asks the network to learn, and equal losses where it is equal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import oracle_samplings
import oracle_weightings as oracle
import pytest
from oracle_checks import TABLES, differs
from oracle_weightings import TARGETS
from pairwise import pairwise
from scipy import stats
from scipy.special import expit
from statistics_helpers import UNLIKELY_Z

import speediff
from speediff import NoiseSchedule, TimestepSampler
from speediff.sampling import (
    Asymmetric,
    Beta,
    Laplace,
    LogitNormal,
    LogNormal,
    Mixture,
    Mode,
    Truncated,
    Uniform,
)
from speediff.weighting import EDM, P2, SNR, ChangeAware, CosMap, Importance, MinSNR, Sigmoid, ToEmphasis

if TYPE_CHECKING:
    from oracle_samplings import Table

METHODS: list[tuple[Any, Any, str | None]] = [
    (Uniform(), ChangeAware(), None), (Asymmetric(5, r=1.6), ChangeAware(), "epsilon"),
    (Uniform(), MinSNR(), "v"), (Laplace(), MinSNR(), "sample"), (LogNormal(), EDM(), "sample"),
    (LogitNormal(), CosMap(), "flow"), (Beta(), P2(), "flow"), (Mode(), ChangeAware(), "v"),
    (Laplace(0, 2), SNR() * MinSNR(), "v"), (Laplace(0, 1), Importance() * MinSNR(3), "epsilon"),
]  # fmt: skip


def schedule_of(table: str) -> NoiseSchedule:
    return NoiseSchedule.from_alphas_cumprod(TABLES[table])


def make(table: str, method: tuple[Any, Any, str | None], **options: Any) -> TimestepSampler:
    return TimestepSampler(schedule_of(table), *method, **options)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_emphasis_is_that_of_the_oracle(table: str, method: tuple[Any, Any, str | None]) -> None:
    bar, sampler = TABLES[table], make(table, method)
    level, density = sampler.emphasis()
    expected_level, expected = oracle.emphasis(bar, sampler.probabilities, sampler.weights, method[2])
    assert len(level) == np.count_nonzero(bar)
    assert not differs(level, expected_level, rtol=1e-13, atol=1e-13)
    assert not differs(density, expected, rtol=1e-9)
    assert math.fsum(density * oracle.slope(bar)) == pytest.approx(1, rel=1e-12)
    assert (np.diff(level) < 0).all()


def test_normalizing_the_weights_leaves_the_emphasis_alone() -> None:
    plain, normalized = (
        make("cosine", (Laplace(), MinSNR(), "v"), normalize=choice).emphasis()[1] for choice in (False, True)
    )
    assert not differs(normalized, plain, rtol=1e-12)


def test_the_emphasis_of_a_density_of_log_snr_is_that_density() -> None:
    level = np.linspace(10, -10, 4001)
    schedule = NoiseSchedule.from_alphas_cumprod(expit(level))
    _, density = TimestepSampler(schedule, Laplace(0.5, 1)).emphasis()
    inner = slice(1, -1)
    expected = stats.laplace(0.5, 1).pdf(level)
    # Bins of 1/200, and a kink in one of them.
    np.testing.assert_allclose(density[inner], expected[inner], rtol=3e-3)


# ---- ToEmphasis ----------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", TARGETS)
@pytest.mark.parametrize("table", ["linear", "twenty steps", "three steps", "zero terminal", "fifty steps"])
@pytest.mark.parametrize(
    "of", [None, (Laplace(), MinSNR(), "v"), (Asymmetric(5, r=1.6), ChangeAware(), None)]
)
def test_weights_to_an_emphasis_are_those_of_the_oracle(table: str, of: Any, prediction: str) -> None:
    bar, other = TABLES[table], None if of is None else make(table, of)
    sampler = make(table, (Beta(0.9, 0.8), ToEmphasis(other), prediction))
    target = oracle.uniform_emphasis(bar) if other is None else other.emphasis()
    expected = oracle.to_emphasis(bar, sampler.probabilities, target, prediction)
    assert not differs(sampler.weights, expected)
    _, density = sampler.emphasis()
    assert not differs(density, target[1])


@pytest.mark.parametrize("of", METHODS, ids=str)
@pytest.mark.parametrize(
    ("own", "others"), [("linear", "cosine"), ("cosine", "linear"), ("zero terminal", "cosine")]
)
def test_an_emphasis_of_another_schedule_is_interpolated(own: str, others: str, of: Any) -> None:
    other = make(others, of)
    sampler = make(own, (Mixture(Laplace(0, 3), Uniform(), 0.5), ToEmphasis(of=other), "v"))
    expected = oracle.to_emphasis(TABLES[own], sampler.probabilities, other.emphasis(), "v")
    assert not differs(sampler.weights, expected)
    epsilon = make(own, (Mixture(Laplace(0, 3), Uniform(), 0.5), ToEmphasis(of=other), "epsilon"))
    assert float(epsilon.probabilities @ epsilon.weights) == pytest.approx(1, rel=1e-12)


def test_the_other_sampler_may_be_closed() -> None:
    other = make("cosine", (Laplace(), MinSNR(), "v"))
    sampler = make("cosine", (Uniform(), ToEmphasis(other), "v"))
    before, (t, w) = sampler.weights, sampler.sample(8, step=5)
    other.close()
    assert (sampler.weights == before).all()
    assert (sampler.sample(8, step=5)[1] == w).all()
    assert (w == before[t].astype(np.float32)).all()


def test_steps_that_are_never_drawn_cannot_carry_emphasis(linear: NoiseSchedule) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match=r"\b(500|501)\b"):
        TimestepSampler(linear, Truncated(Uniform(), 0, 500), ToEmphasis(), "epsilon")
    early = TimestepSampler(linear, Truncated(Uniform(), 0, 400))
    sampler = TimestepSampler(linear, Truncated(Uniform(), 0, 500), ToEmphasis(early), "epsilon")
    assert not differs(sampler.weights, np.repeat([1.25, 0, 0], [400, 100, 500]), rtol=1e-12)


@pytest.mark.parametrize("of", [3, "speed", Laplace(), MinSNR(), TimestepSampler])
def test_only_a_sampler_has_an_emphasis(of: Any) -> None:
    with pytest.raises(speediff.SpeeDiffTypeError, match="of"):
        ToEmphasis(of)


# ---- A problem with a closed form ----------------------------------------------------------------


class GaussianProblem(NamedTuple):
    """Data from N(0, c²), and its best linear denoiser with a wrong coefficient at every noise level.

    ε̂ = a·x with x = √ᾱ·x₀ + √(1-ᾱ)·ε: E[(ε̂-ε)²] is a quadratic function of a, least at the best one.
    """

    bar: Table
    deviation: float = 0.7

    def variance(self) -> Table:
        return self.bar * self.deviation**2 + 1 - self.bar

    def coefficient(self) -> Table:
        best = np.sqrt(1 - self.bar) / self.variance()
        return best * (1 + 0.3 * np.sin(oracle_samplings.log_snr(self.bar)))

    def loss(self, prediction: str | None) -> Table:
        """The expected squared error of each step, of the target that follows from ε̂."""
        a, bar = self.coefficient(), self.bar
        epsilon = a**2 * self.variance() - 2 * a * np.sqrt(1 - bar) + 1
        return epsilon / oracle.from_epsilon(np.ones(len(bar)), oracle.snr(bar), prediction)


def expected_loss(sampler: TimestepSampler, prediction: str | None) -> float:
    """E[w·loss], in closed form."""
    problem = GaussianProblem(sampler.schedule.alphas_cumprod)
    return math.fsum(sampler.probabilities * sampler.weights * problem.loss(prediction))


def scale(sampler: TimestepSampler, prediction: str | None) -> float:
    """E[w_eps]: objectives are equal up to this factor."""
    bar = sampler.schedule.alphas_cumprod
    return math.fsum(sampler.probabilities * oracle.to_epsilon(sampler.weights, oracle.snr(bar), prediction))


def test_the_closed_form_is_the_loss() -> None:
    problem = GaussianProblem(TABLES["twenty steps"])
    x0, epsilon = np.random.default_rng(0).standard_normal((2, 10**6))
    for i, (bar, a) in enumerate(zip(problem.bar, problem.coefficient(), strict=True)):
        signal, noise = math.sqrt(bar), math.sqrt(1 - bar)
        x = signal * problem.deviation * x0 + noise * epsilon
        predicted = a * x
        denoised = (x - noise * predicted) / signal
        clean = problem.deviation * x0
        errors = {
            "epsilon": predicted - epsilon,
            "sample": denoised - clean,
            "v": signal * (predicted - epsilon) - noise * (denoised - clean),
            "flow": predicted - epsilon - (denoised - clean),
        }
        for prediction, error in errors.items():
            assert np.mean(error**2) == pytest.approx(problem.loss(prediction)[i], rel=0.01), prediction


SAMPLINGS = Uniform(), Beta(0.9, 0.8), Asymmetric(3, r=1.5), Laplace(0, 3)


@pytest.mark.parametrize(
    ("table", "direct", "sampling", "prediction"),
    pairwise(["linear", "cosine", "twenty steps", "three steps"], METHODS, SAMPLINGS, TARGETS),
    ids=str,
)
def test_equal_emphasis_is_an_equal_expected_loss(
    table: str, direct: Any, sampling: Any, prediction: str
) -> None:
    first = make(table, direct)
    second = make(table, (sampling, ToEmphasis(first), prediction))
    expected = expected_loss(first, direct[2]) / scale(first, direct[2])
    assert expected_loss(second, prediction) == pytest.approx(expected, rel=1e-10)
    assert scale(second, prediction) == pytest.approx(1, rel=1e-10)


@pytest.mark.parametrize("direct", [(Laplace(), MinSNR(), "v"), (Laplace(0.5, 0.3), Sigmoid(), "epsilon")])
def test_equal_emphasis_is_an_equal_expected_loss_on_another_schedule(direct: Any) -> None:
    # Both schedules reach far beyond this emphasis; what is left is the error of two sums for one integral.
    first = make("cosine", direct)
    second = make("linear", (Uniform(), ToEmphasis(first), "sample"))
    expected = expected_loss(first, direct[2]) / scale(first, direct[2])
    assert expected_loss(second, "sample") == pytest.approx(expected, rel=1e-3)


def test_draws_with_equal_emphasis_have_the_same_mean_loss() -> None:
    first = make("cosine", (Laplace(), MinSNR(), "v"), seed=3)
    second = make("cosine", (Mode(), ToEmphasis(first), "epsilon"), seed=4)
    expected = expected_loss(first, "v") / scale(first, "v")
    for sampler, prediction in ((first, "v"), (second, "epsilon")):
        loss = GaussianProblem(TABLES["cosine"]).loss(prediction)
        t, w = sampler.sample(10**6)
        values = w * loss[t] / scale(sampler, prediction)
        error = values.std() / math.sqrt(len(values))
        assert abs(values.mean() - expected) < UNLIKELY_Z * error
