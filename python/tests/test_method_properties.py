"""Properties of every method with any valid parameters, on any schedule of 3 to 5000 steps."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np
import oracle_samplings
import oracle_weightings
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from method_strategies import WEIGHTINGS, Drawn, combined, numbers, of_steps, samplings, schedules
from oracle_checks import differs, pooled_chi_square

import speediff
from speediff import NoiseSchedule, TimestepSampler, weighting
from speediff.sampling import Beta, Blend, Cauchy, Mixture, Shifted, Stages, Truncated, Uniform

EXAMPLES = 200
SETTINGS = settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
IMPOSSIBLE = 1e-7
"""A p-value that some hundreds of tests do not reach by chance."""


def names(kind: str) -> set[str]:
    return {info.name for info in speediff.methods() if info.kind == kind and info.implemented}


def check_tables(sampler: TimestepSampler) -> None:
    p, w = sampler.probabilities, sampler.weights
    assert abs(math.fsum(p) - 1) < 1e-12
    assert (p >= 0).all()
    assert np.isfinite(w).all()
    assert (w >= 0).all()


def check_draws(sampler: TimestepSampler, n: int = 100_000) -> None:
    """What is drawn is in range, has mass, carries its weight, and comes as often as it should."""
    p, w = sampler.probabilities, sampler.weights
    t, drawn = sampler.sample(n, step=sampler.step)
    assert ((t >= 0) & (t < len(p))).all()
    assert (p[t] > 0).all()
    # The largest float32 stands for what lies beyond.
    assert (drawn == np.minimum(w[t], np.finfo(np.float32).max).astype(np.float32)).all()
    assert pooled_chi_square(np.bincount(t, minlength=len(p)), p) > IMPOSSIBLE


@pytest.mark.parametrize("name", sorted(of_steps(3)))
def test_every_sampling_is_a_distribution_and_is_what_is_drawn(name: str) -> None:
    @SETTINGS
    @given(data=st.data(), table=schedules())
    def check(data: st.DataObject, table: Drawn) -> None:
        bar = table.bar
        method = data.draw(of_steps(len(bar))[name])
        seed = data.draw(st.integers(0, 2**64 - 1))
        sampler = TimestepSampler(table.schedule, method, prediction="v", seed=seed)
        check_tables(sampler)
        check_draws(sampler)
        if name != "mode" or len(bar) < 200:
            expected = oracle_samplings.probabilities(bar, method)
            assert not differs(sampler.probabilities, expected, atol=1e-14)

    check()


@SETTINGS
@given(data=st.data(), table=schedules(), step=st.integers(0, 10**6), seed=st.integers(0, 2**64 - 1))
def test_every_combination_is_a_distribution_and_is_what_is_drawn(
    data: st.DataObject, table: Drawn, step: int, seed: int
) -> None:
    method = data.draw(combined(len(table.bar)))
    sampler = TimestepSampler(table.schedule, method, prediction="v", seed=seed)
    sampler.load_state_dict({**sampler.state_dict(), "step": step})
    check_tables(sampler)
    check_draws(sampler)


@SETTINGS
@given(data=st.data(), table=schedules(most=100), step=st.integers(0, 10**5))
def test_every_combination_is_that_of_the_oracle(data: st.DataObject, table: Drawn, step: int) -> None:
    method = data.draw(combined(len(table.bar)))
    sampler = TimestepSampler(table.schedule, method, prediction="v")
    sampler.load_state_dict({**sampler.state_dict(), "step": step})
    expected = oracle_samplings.probabilities(table.bar, method, step)
    assert not differs(sampler.probabilities, expected, atol=1e-13)


def test_every_sampling_there_is_has_its_strategy() -> None:
    combinators = {kind.name for kind in (Shifted, Truncated, Mixture, Blend, Stages)}
    assert set(of_steps(3)) | combinators == names("sampling")


# ---- Weightings ----------------------------------------------------------------------------------


@SETTINGS
@given(
    data=st.data(),
    table=schedules(),
    factors=st.lists(st.one_of(*WEIGHTINGS.values()), min_size=1, max_size=3),
    prediction=st.sampled_from(oracle_weightings.TARGETS),
    normalize=st.booleans(),
)
def test_every_product_of_weightings_is_finite_or_an_error(
    data: st.DataObject, table: Drawn, factors: list[Any], prediction: str, normalize: bool
) -> None:
    rate = np.gradient(table.bar)
    # A process of one rate has no change to be aware of.
    assume(np.ptp(rate) > 1e-6 * abs(rate).max())
    method = data.draw(samplings(len(table.bar)))
    product = functools.reduce(operator.mul, factors)
    tables = [oracle_weightings.weights(table.bar, [factor], prediction) for factor in factors]

    def make() -> TimestepSampler:
        return TimestepSampler(table.schedule, method, product, prediction, normalize=normalize)

    inside = table.bar > 0
    divides_by_0 = "info_noise" in str(method.describe()) and (np.prod(tables, axis=0)[inside] == 0).any()
    if not np.isfinite(tables).all() or divides_by_0:
        with pytest.raises(speediff.SpeeDiffValueError):
            make()
        return
    expected = np.prod(tables, axis=0)
    p = TimestepSampler(table.schedule, method, prediction=prediction).probabilities
    if "loss_second_moment" in str(method.describe()) or "adaptive" in str(method.describe()):
        expected = expected / np.where(p > 0, p * len(p), np.inf)
    mean = math.fsum(p * expected)
    if normalize and mean == 0:
        with pytest.raises(speediff.SpeeDiffValueError):
            make()
        return
    sampler = make()
    check_tables(sampler)
    check_draws(sampler, 1000)
    assert not differs(sampler.weights, expected / mean if normalize else expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_the_forms_of_every_weighting_train_the_same_objective(name: str) -> None:
    @settings(SETTINGS, max_examples=20)
    @given(table=schedules(), method=WEIGHTINGS[name])
    def check(table: Drawn, method: Any) -> None:
        inside = table.bar > 0
        # Up to the end without signal, where some forms diverge.
        schedule = NoiseSchedule.from_alphas_cumprod(table.bar[inside])
        s = oracle_weightings.snr(table.bar[inside])
        # A rate that rounding alone varies is refused.
        rate = np.gradient(1 - table.bar[inside])
        assume(name != "change_aware" or np.ptp(rate) > 2e-9 * rate.max())
        forms = {
            target: TimestepSampler(schedule, "uniform", method, target).weights
            for target in oracle_weightings.TARGETS
        }
        for target, w in forms.items():
            if name in ("uniform", "change_aware", "table"):
                assert (w == forms["epsilon"]).all()
            else:
                expected = oracle_weightings.from_epsilon(forms["epsilon"], s, target)
                assert not differs(w, expected, rtol=1e-12, atol=0)

    check()


@SETTINGS
@given(data=st.data(), table=schedules(), prediction=st.sampled_from(oracle_weightings.TARGETS))
def test_any_two_samplers_can_have_one_emphasis(data: st.DataObject, table: Drawn, prediction: str) -> None:
    inside = int(np.count_nonzero(table.bar))
    schedule = NoiseSchedule.from_alphas_cumprod(np.ascontiguousarray(table.bar[:inside]))
    other = TimestepSampler(
        schedule, data.draw(samplings(inside) if inside > 2 else st.just("uniform")), "min_snr", prediction
    )
    own = data.draw(st.sampled_from([Uniform(), Beta(), Cauchy(0, 3)]))
    sampler = TimestepSampler(schedule, own, weighting.ToEmphasis(other), prediction)
    check_tables(sampler)
    assert not differs(sampler.emphasis()[1], other.emphasis()[1], rtol=1e-9, atol=1e-12)


def test_every_weighting_there_is_has_its_strategy() -> None:
    assert {*WEIGHTINGS, "uncertainty", "to_emphasis", "importance"} == names("weighting")


# ---- Updates -------------------------------------------------------------------------------------


@SETTINGS
@given(
    data=st.data(),
    table=schedules(most=300),
    weights=st.sampled_from(["uniform", "change_aware", "min_snr", "importance", "uncertainty"]),
    seed=st.integers(0, 2**32),
    rounds=st.integers(1, 4),
)
def test_any_losses_leave_a_distribution(
    data: st.DataObject, table: Drawn, weights: str, seed: int, rounds: int
) -> None:
    steps, random = len(table.bar), np.random.default_rng(seed)
    kinds = ["loss_second_moment", "adaptive", *(["info_noise"] if weights != "importance" else [])]
    learner = data.draw(st.one_of(*(of_steps(steps)[kind] for kind in kinds)))
    method = data.draw(st.sampled_from([learner, Mixture(learner, Uniform(), 0.3), Shifted(learner, 1.5)]))
    factor: Any = weighting.Uncertainty(bins=min(3, steps)) if weights == "uncertainty" else weights
    sampler = TimestepSampler(table.schedule, method, factor, "v")
    for _ in range(rounds):
        t = random.permutation(np.repeat(np.arange(steps), 2))
        losses = random.random(2 * steps) * 10.0 ** random.integers(-30, 30)
        losses *= random.random(2 * steps) < data.draw(numbers(0, 1))
        sampler.update(t, losses.astype(np.float32))
        check_tables(sampler)
        check_draws(sampler, 1000)
