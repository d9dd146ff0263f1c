"""Properties of any schedule with any parameters."""

from __future__ import annotations

import numpy as np
import reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from speediff import NoiseSchedule, TimestepSampler
from speediff.sampling import Asymmetric
from speediff.weighting import ChangeAware

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)


@st.composite
def betas(draw: st.DrawFn) -> np.ndarray:
    """Valid tables of 3 to 500 steps, rough or smooth, with or without a last β of 1."""
    steps = draw(st.integers(3, 500))
    low = draw(st.floats(1e-5, 0.01))
    high = draw(st.floats(1e-4, 0.3))
    table = low + high * np.random.default_rng(draw(st.integers(0, 2**32))).random(steps)
    if draw(st.booleans()):
        table.sort()
    if draw(st.booleans()):
        table[-1] = 1
    assume(np.cumprod(1 - table)[-2] > 1e-300)
    return table


@SETTINGS
@given(table=betas())
def test_tables_of_any_schedule_follow_from_its_betas(table: np.ndarray) -> None:
    schedule = NoiseSchedule.from_betas(table)
    bar = np.cumprod(1 - table)
    np.testing.assert_allclose(schedule.alphas_cumprod, bar, rtol=1e-9)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(schedule.snr, bar / (1 - bar), rtol=1e-9)
        np.testing.assert_allclose(schedule.sigmas, np.sqrt((1 - bar) / bar), rtol=1e-9)
        np.testing.assert_allclose(schedule.log_snr, np.log(bar / (1 - bar)), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(schedule.process_increments().magnitude, 1 / bar, rtol=1e-9)
    again = NoiseSchedule.from_alphas_cumprod(schedule.alphas_cumprod)
    np.testing.assert_allclose(again.betas, table, rtol=1e-9, atol=1e-12)


@SETTINGS
@given(data=st.data(), table=betas(), lam=st.floats(0.5, 1), k=st.floats(1, 1e6))
def test_speed_on_any_schedule_has_valid_probabilities_weights_and_draws(
    data: st.DataObject, table: np.ndarray, lam: float, k: float
) -> None:
    steps = len(table)
    tau = data.draw(st.integers(1, steps - 1))
    sampler = TimestepSampler(NoiseSchedule.from_betas(table), Asymmetric(k, tau=tau), ChangeAware(lam))
    exact = np.array([float(p) for p in reference.asymmetric(steps, k, tau)])
    np.testing.assert_allclose(sampler.probabilities, exact, rtol=1e-13)
    assert abs(sampler.probabilities.sum() - 1) < 1e-12
    w = sampler.weights
    assert np.isfinite(w).all()
    assert w.min() >= 1 - lam - 1e-12
    assert w.max() <= lam + 1e-12
    np.testing.assert_allclose(w, reference.change_aware(np.cumprod(1 - table), lam), atol=1e-7)
    t, drawn = sampler.sample(data.draw(st.integers(0, 300)))
    assert ((t >= 0) & (t < steps)).all()
    assert (drawn == w[t].astype(np.float32)).all()


@SETTINGS
@given(
    data=st.data(),
    steps=st.integers(3, 500),
    k=st.floats(1, 1e4),
    seed=st.integers(0, 2**64 - 1),
    step=st.integers(0, 2**63 - 2),
    n=st.integers(1, 64),
)
def test_any_draw_is_that_of_the_reference(
    data: st.DataObject, steps: int, k: float, seed: int, step: int, n: int
) -> None:
    schedule = NoiseSchedule.constant(steps, beta=0.01)
    sampling = Asymmetric(k, tau=data.draw(st.integers(1, steps - 1)))
    inner = reference.boundaries(reference.asymmetric(steps, k, sampling.tau or 0))
    for strata, draw in (
        ("none", reference.draw),
        ("stratified", reference.draw_stratified),
        ("low_discrepancy", reference.draw_low_discrepancy),
    ):
        t, _ = TimestepSampler(schedule, sampling, seed=seed, strata=strata).sample(n, step=step)
        assert t.tolist() == draw(seed, step, n, inner).tolist()


@SETTINGS
@given(
    data=st.data(),
    world_size=st.integers(1, 9),
    accumulation=st.integers(1, 5),
    n=st.integers(0, 40),
    strata=st.sampled_from(["none", "stratified", "low_discrepancy"]),
)
def test_any_division_of_a_batch_is_a_division_of_the_same_batch(
    data: st.DataObject, world_size: int, accumulation: int, n: int, strata: str
) -> None:
    schedule = NoiseSchedule.linear(100)
    total, step = world_size * accumulation * n, data.draw(st.integers(0, 2**40))
    whole = TimestepSampler(schedule, strata=strata).sample(total, step=step)[0]
    rank = data.draw(st.integers(0, world_size - 1))
    micro_batch = data.draw(st.integers(0, accumulation - 1))
    options = {"rank": rank, "world_size": world_size, "accumulation": accumulation}
    sampler = TimestepSampler(schedule, strata=strata, **options)
    first = (micro_batch * world_size + rank) * n
    t, _ = sampler.sample(n, step=step, micro_batch=micro_batch)
    assert (t == whole[first : first + n]).all()
    cut = data.draw(st.integers(0, total))
    t, _ = sampler.sample(total - cut, step=step, offset=cut, total=total)
    assert (t == whole[cut:]).all()


@SETTINGS
@given(table=betas(), n=st.integers(1, 100), k=st.floats(1, 100))
def test_the_official_marginal_is_a_distribution(table: np.ndarray, n: int, k: float) -> None:
    bar = np.cumprod(1 - table)
    center = reference.dual_center(bar)
    assume(center < len(table))
    schedule = NoiseSchedule.from_betas(table)
    sampler = TimestepSampler.speed(schedule, k=k, tau=len(table) // 2, preset="official")
    marginal = sampler.marginal(n)
    assert abs(marginal.sum() - 1) < 1e-12
    expected = reference.official_marginal(sampler.probabilities, center, n)
    np.testing.assert_allclose(marginal, expected, rtol=1e-9, atol=1e-15)
    t, w = sampler.sample(n)
    first = reference.primaries(n)
    assert (t[first:] == abs(center - t[: n - first])).all()
    assert np.isfinite(w).all()
