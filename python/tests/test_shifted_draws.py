"""A shift and an offset for each entry: closed forms, truncated densities, ranks, strata, bad input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from oracle_levels import MAKERS, kolmogorov_smirnov, ve_u, vp_u
from scipy import stats

import speediff
import speediff.torch
from speediff import NoiseSchedule, SigmaSampler, TimestepSampler
from speediff.sampling import (
    Adaptive,
    Blend,
    Laplace,
    LogitNormal,
    Mixture,
    Stages,
    Truncated,
    Uniform,
)
from speediff.weighting import EDM, Importance, MinSNR, ToEmphasis, Uncertainty

NAN, INF = float("nan"), float("inf")
RNG = np.random.default_rng(5)
SHIFTS = RNG.uniform(0.2, 5, 257)
OFFSETS = RNG.normal(0, 0.7, 257)
UNLIKELY = 1e-6


def flow_schedule(steps: int = 1000) -> NoiseSchedule:
    """The table of a flow-matching scheduler."""
    sigmas = np.arange(1, steps + 1) / steps
    data = (1 - sigmas) ** 2
    return NoiseSchedule.from_alphas_cumprod(data / (data + sigmas**2))


# ---- Values --------------------------------------------------------------------------------------


def test_flow_is_moved_by_the_formula() -> None:
    for sampling in ("uniform", "logit_normal", Laplace(0, 1), Blend(LogitNormal(), Uniform(), 10, 20)):
        sampler = SigmaSampler.flow(seed=1, sampling=sampling)
        for step in (0, 15):
            t = sampler.sample(257, step=step)[0].astype(float)
            a = SHIFTS * np.exp(OFFSETS)
            moved, w = sampler.sample(257, step=step, shift=SHIFTS, offset=OFFSETS)
            np.testing.assert_allclose(moved, a * t / (1 + (a - 1) * t), rtol=3e-7)
            assert (w == 1).all()
            one, _ = sampler.sample(257, step=step, shift=SHIFTS)
            np.testing.assert_allclose(one, SHIFTS * t / (1 + (SHIFTS - 1) * t), rtol=3e-7)


def test_edm_is_moved_by_the_formula_and_weighed_there() -> None:
    for weighting in (None, MinSNR(), EDM(0.7)):
        sampler = SigmaSampler.edm(seed=1, weighting=weighting)
        sigma = sampler.sample(257, step=3)[0].astype(float)
        moved, w = sampler.sample(257, step=3, shift=SHIFTS, offset=OFFSETS)
        np.testing.assert_allclose(moved, sigma * SHIFTS * np.exp(OFFSETS), rtol=2e-7)
        x = moved.astype(float)
        data = 0.7 if weighting == EDM(0.7) else 0.5
        expected = np.minimum(x**-2, 5) if weighting == MinSNR() else (x**2 + data**2) / (x * data) ** 2
        np.testing.assert_allclose(w, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["vp", "ve"])
@pytest.mark.parametrize("a", [0.3, 1.0, 3.0])
def test_a_bounded_process_draws_the_moved_density_cut_and_renormalized(name: str, a: float) -> None:
    u, low, high = {
        "vp": (vp_u, math.sqrt(math.expm1(0.5 * 19.9e-10 + 0.1e-5)), math.sqrt(math.expm1(10.05))),
        "ve": (ve_u, 0.02, 100.0),
    }[name]
    sampler = MAKERS[name](seed=2)
    x, w = sampler.sample(10**6, shift=a)
    # The base's share that is moved into the range.
    first, last = u(np.array([max(low / a, low), min(high / a, high)]))
    assert (
        kolmogorov_smirnov(x, lambda sigma: (np.clip(u(sigma / a), 0, 1) - first) / (last - first)) > UNLIKELY
    )
    assert x.min() >= low * max(a, 1) * (1 - 1e-6)
    assert x.max() <= high * min(a, 1) * (1 + 1e-6)
    np.testing.assert_allclose(w, 1 / x.astype(float) ** 2, rtol=1e-6)


@pytest.mark.parametrize("a", [0.2, 4.0])
def test_what_a_density_in_log_snr_has_outside_the_range_is_moved_in(a: float) -> None:
    sampler = SigmaSampler.ve(seed=3, sampling=Laplace(2, 3))
    x, _ = sampler.sample(10**6, shift=a)
    moved = stats.laplace(2 - 2 * math.log(a), 3)
    least, most = -2 * math.log(100), -2 * math.log(0.02)
    below, width = moved.cdf(least), moved.cdf(most) - moved.cdf(least)
    assert kolmogorov_smirnov(x, lambda sigma: 1 - (moved.cdf(-2 * np.log(sigma)) - below) / width) > UNLIKELY


def test_the_parts_of_a_mixture_keep_their_shares() -> None:
    narrow, other = Laplace(4, 0.1), Laplace(-4, 0.1)
    x, _ = SigmaSampler.ve(seed=3, sampling=Mixture(narrow, other, 0.3)).sample(10**5, shift=2.0)
    assert (-2 * np.log(x) > 0).mean() == pytest.approx(0.3, abs=0.01)


def test_the_stage_that_is_drawn_is_the_one_that_is_moved() -> None:
    mixed = Mixture(Laplace(4, 0.1), Laplace(-4, 0.1), 0.3)
    staged = SigmaSampler.ve(seed=3, sampling=Stages([(0, Laplace(2, 3)), (10, mixed), (20, Uniform())]))
    for step, sampling in ((0, Laplace(2, 3)), (9, Laplace(2, 3)), (10, mixed), (25, Uniform())):
        plain = SigmaSampler.ve(seed=3, sampling=sampling)
        for moves in ({}, {"shift": SHIFTS}, {"offset": OFFSETS}):
            ours, theirs = (sampler.sample(257, step=step, **moves) for sampler in (staged, plain))
            # A stage has no table that stands for its quantiles.
            np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-7)
            np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6)


@pytest.mark.parametrize("base", [Uniform(), Mixture(Uniform(), Uniform(), 0.3)], ids=str)
@pytest.mark.parametrize(("a", "low", "high"), [(2.0, 0.1, 4.0), (10.0, 5.0, 100.0), (0.1, 0.02, 1.0)])
def test_a_range_is_moved_and_then_cut_to_that_of_the_process(
    base: Any, a: float, low: float, high: float
) -> None:
    # ln σ of VE is uniform within [low, high], and within what is left of it when moved.
    sampler = SigmaSampler.ve(seed=3, sampling=Truncated(base, low=low, high=high))
    x, _ = sampler.sample(20_000, shift=a)
    start, end = max(a * low, 0.02), min(a * high, 100.0)
    u = np.log(x / start) / math.log(end / start)
    assert stats.kstest(u, "uniform").pvalue > UNLIKELY


def test_a_shift_of_one_and_an_offset_of_zero_change_nothing() -> None:
    for name, maker in MAKERS.items():
        sampler = maker(seed=4)
        plain = sampler.sample(100, step=2)
        for moves in ({"shift": np.ones(100)}, {"offset": np.zeros(100)}, {"shift": 1.0, "offset": 0.0}):
            moved = sampler.sample(100, step=2, **moves)
            assert (moved[0] == plain[0]).all(), name
            assert (moved[1] == plain[1]).all(), name


def test_an_offset_is_the_logarithm_of_a_shift() -> None:
    for name, maker in MAKERS.items():
        sampler = maker(seed=4)
        a = sampler.sample(257, step=1, shift=np.exp(OFFSETS))
        b = sampler.sample(257, step=1, offset=OFFSETS)
        np.testing.assert_allclose(a[0], b[0], rtol=3e-7, err_msg=name)


# ---- The contract of a draw ----------------------------------------------------------------------


@pytest.mark.parametrize("strata", ["none", "stratified", "low_discrepancy"])
@pytest.mark.parametrize("name", ["edm", "vp", "flow", "steps"])
def test_an_entry_depends_on_its_own_shift_alone_and_ranks_share_a_batch(name: str, strata: str) -> None:
    def make(**options: Any) -> Any:
        if name == "steps":
            return TimestepSampler(flow_schedule(), prediction="flow", seed=6, strata=strata, **options)
        return MAKERS[name](seed=6, strata=strata, **options)

    shift, offset = SHIFTS[:60], OFFSETS[:60]
    whole = make()
    parts = [make(rank=r, world_size=3, accumulation=2) for r in range(3)]
    for step in range(3):
        x, w = whole.sample(60, shift=shift, offset=offset)
        assert whole.step == step + 1
        calls, first = [], 0
        for _ in range(2):
            for part in parts:
                mine = slice(first, first + 10)
                calls.append(part.sample(10, shift=shift[mine], offset=offset[mine]))
                first += 10
        assert (np.concatenate([call[0] for call in calls]) == x).all()
        assert (np.concatenate([call[1] for call in calls]) == w).all()
        other = shift.copy()
        other[::2] = 1.0
        changed, _ = whole.sample(60, step=step, shift=other, offset=offset)
        assert (changed[1::2] == x[1::2]).all()
        part = whole.sample(7, step=step, offset=20, total=60, shift=shift[20:27] * np.exp(offset[20:27]))
        np.testing.assert_allclose(part[0], x[20:27], rtol=3e-7)


def test_plain_and_moved_calls_share_one_counter() -> None:
    sampler, reference = SigmaSampler.flow(seed=7), SigmaSampler.flow(seed=7)
    rows = [reference.sample(16)[0] for _ in range(6)]
    for step in range(6):
        x = sampler.sample(16, shift=1.0)[0] if step % 2 else sampler.sample(16)[0]
        assert (x == rows[step]).all()


def test_strata_hold_before_the_shift() -> None:
    t, _ = SigmaSampler.flow(seed=8, strata="stratified").sample(257, shift=SHIFTS)
    u = np.sort(t / (SHIFTS - (SHIFTS - 1) * t.astype(float)))
    assert (abs(u * 257 - np.arange(257) - 0.5) < 0.5 + 1e-3).all()


def test_micro_batches_of_one_step_have_one_size() -> None:
    sampler = SigmaSampler.flow(accumulation=2)
    sampler.sample(4, shift=2.0)
    with pytest.raises(speediff.SpeeDiffValueError, match="n must stay the same"):
        sampler.sample(5, shift=2.0)


def test_moved_draws_are_written_where_the_caller_says() -> None:
    out = np.empty(257, np.float32), np.empty(257, np.float32)
    sampler = SigmaSampler.edm(seed=9)
    x, _ = sampler.sample(257, step=0, shift=SHIFTS, out=out)
    assert x is out[0]
    assert (x == sampler.sample(257, step=0, shift=SHIFTS)[0]).all()
    assert (x == sampler.sample(257, step=0, shift=list(SHIFTS))[0]).all()
    single = SHIFTS.astype(np.float32)
    np.testing.assert_allclose(x, sampler.sample(257, step=0, shift=single)[0], rtol=2e-7)


# ---- Steps of a flow-matching schedule -----------------------------------------------------------


@pytest.mark.parametrize("weighting", ["uniform", "sigma_sqrt"])
def test_steps_are_those_nearest_to_the_moved_levels(weighting: str) -> None:
    sampler = TimestepSampler(flow_schedule(), "logit_normal", weighting, "flow", seed=1)
    sigmas = np.arange(1, 1001) / 1000
    steps, _ = sampler.sample(257, step=2)
    a = SHIFTS * np.exp(OFFSETS)
    sigma = a * sigmas[steps] / (1 + (a - 1) * sigmas[steps])
    distance = abs(sigmas[:, None] - sigma)
    moved, w = sampler.sample(257, step=2, shift=SHIFTS, offset=OFFSETS)
    chosen = distance[moved, np.arange(257)]
    np.testing.assert_allclose(chosen, distance.min(axis=0), atol=1e-9)
    assert (w == sampler.weights.astype(np.float32)[moved]).all()
    assert (sampler.sample(257, step=2, shift=1.0)[0] == steps).all()


def test_a_diffusers_scheduler_gives_its_own_timesteps() -> None:
    diffusers = pytest.importorskip("diffusers")
    for static in (1.0, 3.0):
        scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=static)
        sampler = speediff.torch.TimestepSampler.for_scheduler(scheduler, "logit_normal", seed=2)
        t, _ = sampler.sample(257, step=0)
        shift = torch.from_numpy(SHIFTS)
        moved, w = sampler.sample(257, step=0, shift=shift)
        names, sigmas = scheduler.timesteps.double(), scheduler.sigmas[:1000].double()
        sigma = sigmas[torch.stack([(names == value).nonzero()[0, 0] for value in t])]
        target = shift * sigma / (1 + (shift - 1) * sigma)
        expected = (sigmas[:, None] - target).abs().min(dim=0)
        got = sigmas[torch.stack([(names == value).nonzero()[0, 0] for value in moved])]
        torch.testing.assert_close((got - target).abs(), expected.values, atol=1e-6, rtol=0)
        assert (w == 1).all()


# ---- Tensors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKERS)
def test_tensors_are_the_arrays(name: str) -> None:
    ours, theirs = MAKERS[name](seed=8), getattr(speediff.torch.SigmaSampler, name)(seed=8)
    shift, offset = torch.from_numpy(SHIFTS), torch.from_numpy(OFFSETS)
    for _ in range(3):
        x, w = ours.sample(257, shift=SHIFTS, offset=OFFSETS)
        level, weight = theirs.sample(257, "cpu", shift=shift, offset=offset)
        assert (x == level.numpy()).all()
        assert (w == weight.numpy()).all()
    assert theirs.step == 3
    assert (theirs.sample(4, shift=2.0)[0].numpy() == ours.sample(4, shift=2.0)[0]).all()


def test_a_tensor_on_another_device_is_refused() -> None:
    sampler = speediff.torch.SigmaSampler.flow()
    for argument in ("shift", "offset"):
        with pytest.raises(speediff.SpeeDiffValueError, match=f"{argument} must be on the CPU or on cpu"):
            sampler.sample(4, **{argument: torch.ones(4, device="meta")})
    assert sampler.step == 0


# ---- Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -1.0, NAN, INF, -INF, 1e-40, 1e40])
@pytest.mark.parametrize("name", ["edm", "vp", "flow", "steps"])
def test_a_shift_out_of_range_is_named(name: str, value: float) -> None:
    sampler: Any = MAKERS["flow"]() if name == "steps" else MAKERS[name]()
    if name == "steps":
        sampler = TimestepSampler(flow_schedule(), prediction="flow")
    shift = np.ones(10)
    shift[7] = value
    out = np.full(10, 7, sampler.sample(1)[0].dtype), np.full(10, 7, np.float32)
    with pytest.raises(speediff.SpeeDiffValueError, match=r"shift\[7\] must be above 0"):
        sampler.sample(10, shift=shift, out=out)
    assert (out[0] == 7).all()
    assert sampler.step == 1


@pytest.mark.parametrize("value", [NAN, INF, 88.0, -88.0])
def test_an_offset_out_of_range_is_named(value: float) -> None:
    for sampler in (
        SigmaSampler.flow(),
        SigmaSampler.vp(),
        TimestepSampler(flow_schedule(), prediction="flow"),
    ):
        with pytest.raises(speediff.SpeeDiffValueError, match=r"offset\[1\]"):
            sampler.sample(2, offset=np.array([0, value]))


@pytest.mark.parametrize("name", ["vp", "ve"])
@pytest.mark.parametrize("offset", [20.0, -20.0])
def test_an_offset_that_leaves_the_process_range_is_named(name: str, offset: float) -> None:
    out = np.full(3, 7, np.float32), np.full(3, 7, np.float32)
    with pytest.raises(speediff.SpeeDiffValueError, match=r"offset\[2\] must leave some probability"):
        MAKERS[name]().sample(3, offset=np.array([0, 0.5, offset]), out=out)
    assert (out[0] == 7).all()


def test_other_lengths_and_types_are_refused() -> None:
    sampler = SigmaSampler.flow()
    for argument in ("shift", "offset"):
        for wrong in (np.ones(3), np.ones((4, 1)), [1.0, 2.0], np.ones(0)):
            with pytest.raises(speediff.SpeeDiffValueError, match=f"{argument} must have"):
                sampler.sample(4, **{argument: wrong})
        for wrong in ("3", np.array(["a"] * 4), np.ones(4, complex), object(), [True] * 4):
            with pytest.raises(speediff.SpeeDiffTypeError, match=argument):
                sampler.sample(4, **{argument: wrong})


def test_what_a_shift_would_invalidate_excludes_it() -> None:
    sigma = [
        SigmaSampler.edm(normalize=True),
        SigmaSampler.edm(weighting=ToEmphasis(SigmaSampler.edm(sampling=Laplace()))),
        SigmaSampler.edm(weighting=MinSNR() * ToEmphasis(SigmaSampler.edm(sampling=Laplace()))),
        SigmaSampler.flow(sampling=Adaptive()),
        SigmaSampler.vp(sampling="info_noise"),
        SigmaSampler.ve(weighting=MinSNR() * Uncertainty()),
    ]
    schedule = flow_schedule()
    steps = [
        TimestepSampler(NoiseSchedule.linear(1000)),
        TimestepSampler(schedule, prediction="flow", normalize=True),
        TimestepSampler(schedule, "laplace", Importance(), prediction="flow"),
        TimestepSampler(schedule, "laplace", MinSNR() * Importance(), prediction="flow"),
        TimestepSampler(schedule, "laplace", ToEmphasis(), prediction="flow"),
        TimestepSampler(schedule, "adaptive", prediction="flow"),
        TimestepSampler(schedule, Stages([(0, Uniform()), (5, Adaptive())]), prediction="flow"),
        TimestepSampler(schedule, "uniform", "uncertainty", prediction="flow"),
    ]
    for sampler in [*sigma, *steps]:
        for argument in ("shift", "offset"):
            with pytest.raises(speediff.SpeeDiffValueError, match=argument):
                sampler.sample(4, **{argument: np.ones(4)})
