"""Noise levels that learn from losses: draws and weights after updates, state, and what is refused."""

from __future__ import annotations

import copy
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from oracle_checks import pooled_chi_square
from scipy import stats
from statistics_helpers import UNLIKELY

import speediff
import speediff.torch
from speediff import SigmaSampler
from speediff.sampling import Adaptive, InfoNoise, LogitNormal, Stages, Truncated
from speediff.weighting import EDM, SNR, MinSNR, ToEmphasis, Uncertainty

if TYPE_CHECKING:
    from collections.abc import Callable

    from oracle_samplings import Table

NAN, INF = float("nan"), float("inf")
BINS = 8
PROCESSES: dict[str, tuple[Callable[[Table], Table], Callable[[Table], Table]]] = {
    "edm": (lambda x: stats.norm(-1.2, 1.2).cdf(np.log(x)), lambda x: (x**2 + 0.25) / (0.5 * x) ** 2),
    "ve": (lambda x: np.log(x / 0.02) / math.log(5000), lambda x: x**-2),
    "vp": (
        lambda x: (np.sqrt(0.01 + 39.8 * np.log1p(x**2)) - 0.1) / 19.9,
        lambda x: x**-2,
    ),
    "flow": (lambda x: x, np.ones_like),
}
"""The distribution function of a process's own draw, and its weight."""


def made(name: str, **options: Any) -> SigmaSampler:
    sampler: SigmaSampler = getattr(SigmaSampler, name)(seed=3, **options)
    return sampler


def loss_of(u: Table) -> Table:
    return (0.5 + u + np.sin(9 * u) ** 2).astype(np.float32)


def means(index: Table, values: Table, decay: float) -> Table:
    """The exponential mean of each bin, its start at zero divided out."""
    total, count = np.zeros(BINS), np.zeros(BINS)
    for place, value in zip(index, values, strict=True):
        total[place] = decay * total[place] + (1 - decay) * value
        count[place] += 1
    return total / (1 - decay**count)


@pytest.mark.parametrize("name", PROCESSES)
def test_adaptive_draws_follow_the_weighted_loss_and_keep_the_objective(name: str) -> None:
    cdf, weight = PROCESSES[name]
    sampler = made(name, sampling=Adaptive(bins=BINS, decay=0.99))
    plain = made(name).sample(500, step=7)
    for mine, own in zip(sampler.sample(500, step=7), plain, strict=True):
        np.testing.assert_allclose(mine, own, rtol=1e-5)
    seen: list[Any] = []
    for _ in range(6):
        x, _ = sampler.sample(200)
        losses = loss_of(cdf(x.astype(float)))
        sampler.update(x, losses)
        seen.append((x, losses))
    x, losses = (np.concatenate(part).astype(float) for part in zip(*seen, strict=True))
    mean = means((cdf(x) * BINS).astype(int).clip(0, BINS - 1), weight(x) * losses, 0.99)
    p = np.maximum(mean, 1e-3 * mean.mean())
    p /= p.sum()
    drawn, w = sampler.sample(400_000)
    u = cdf(drawn.astype(float)).clip(0, 1 - 1e-9)
    index = (u * BINS).astype(int)
    assert pooled_chi_square(np.bincount(index, minlength=BINS), p) > UNLIKELY
    # Within a bin, the process's own draw.
    for place in range(BINS):
        inside = (u * BINS - place)[index == place]
        assert len(inside) < 100 or stats.kstest(inside[:20_000], "uniform").pvalue > 1e-7
    off = np.abs(w * (BINS * p[index]) / weight(drawn.astype(float)) - 1)
    # A float32 level may lie on the other side of an edge.
    assert (off > 2e-4).mean() < 1e-3
    # E[w·loss] is that of the process's own draw.
    mine, own = made(name).sample(10**6)
    expected = np.average(loss_of(cdf(mine.astype(float))) * (mine > np.quantile(mine, 0.3)), weights=own)
    got = np.mean(w * loss_of(u) * (drawn > np.quantile(mine, 0.3))) / own.mean()
    assert got == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("name", PROCESSES)
def test_uncertainty_divides_each_bin_by_its_mean(name: str) -> None:
    cdf, weight = PROCESSES[name]
    factor = Uncertainty(bins=BINS, decay=0.99)
    sampler = made(name, weighting=factor if name == "flow" else (EDM() if name == "edm" else SNR()) * factor)
    seen: list[Any] = []
    for round_ in range(6):
        x, w = sampler.sample(200)
        if round_ == 0:
            np.testing.assert_allclose(w, weight(x.astype(float)), rtol=1e-5)
        losses = loss_of(cdf(x.astype(float)))
        sampler.update(x, losses)
        seen.append((x, losses))
    x, losses = (np.concatenate(part).astype(float) for part in zip(*seen, strict=True))
    mean = means((cdf(x) * BINS).astype(int).clip(0, BINS - 1), weight(x) * losses, 0.99)
    drawn, w = sampler.sample(10_000)
    assert (drawn == made(name).sample(10_000, step=6)[0]).all()
    index = (cdf(drawn.astype(float)).clip(0, 1 - 1e-9) * BINS).astype(int)
    off = np.abs(w / (weight(drawn.astype(float)) / mean[index]) - 1)
    # A float32 level may lie on the other side of an edge.
    assert (off > 1e-4).mean() < 1e-3


LEARNERS: dict[str, Callable[..., SigmaSampler]] = {
    "adaptive": lambda **options: made("edm", sampling=Adaptive(bins=5, decay=0.9), **options),
    "info_noise": lambda **options: made("flow", sampling=InfoNoise(bins=5, warm_up=2), **options),
    "uncertainty": lambda **options: made(
        "flow", sampling=LogitNormal(), weighting=Uncertainty(bins=4), **options
    ),
    "both": lambda **options: made(
        "vp", sampling="adaptive", weighting=MinSNR() * Uncertainty(bins=3) * Uncertainty(5, 0.5), **options
    ),
    "rate and uncertainty": lambda **options: made(
        "ve", sampling=InfoNoise(bins=6, warm_up=1), weighting=EDM() * Uncertainty(bins=4), **options
    ),
}


def train(sampler: SigmaSampler, steps: int, seed: int = 0) -> list[Any]:
    random, drawn = np.random.default_rng(seed), []
    for _ in range(steps):
        x, w = sampler.sample(32)
        drawn.append((x.tolist(), w.tolist()))
        sampler.update(x, (random.random(32) * (1 + np.sin(x))).astype(np.float32))
    return drawn


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(learner: str) -> None:
    for told in (0, 1, 30):
        run, resumed = LEARNERS[learner](), LEARNERS[learner]()
        assert run.learns
        train(run, told)
        state = json.loads(json.dumps(run.state_dict()))
        resumed.load_state_dict(state)
        twin = copy.deepcopy(run)
        rest = train(run, 20, 1)
        assert train(resumed, 20, 1) == rest
        assert train(twin, 20, 1) == rest
        assert run.state_dict() != state
        run.load_state_dict(state)
        assert run.state_dict() == state


@pytest.mark.parametrize("strata", ["none", "stratified", "low_discrepancy"])
@pytest.mark.parametrize("learner", LEARNERS)
def test_ranks_and_micro_batches_share_one_global_batch(learner: str, strata: str) -> None:
    alone = LEARNERS[learner](strata=strata)
    train(alone, 20)
    state, whole = alone.state_dict(), alone.sample(24, step=50)
    for accumulation in (1, 2):
        parts = []
        for micro_batch in range(accumulation):
            for rank in range(3):
                part = LEARNERS[learner](strata=strata, rank=rank, world_size=3, accumulation=accumulation)
                part.load_state_dict({**state, "accumulation": accumulation})
                parts.append(part.sample(24 // 3 // accumulation, step=50, micro_batch=micro_batch))
        for k in range(2):
            assert (np.concatenate([part[k] for part in parts]) == whole[k]).all()


@pytest.mark.parametrize("learner", ["adaptive", "info_noise"])
def test_strata_fill_what_is_learned_evenly(learner: str) -> None:
    sampler, free = LEARNERS[learner](strata="stratified"), LEARNERS[learner]()
    for each in (sampler, free):
        train(each, 30)
        each.load_state_dict({**each.state_dict(), "seed": 5})
    sampler.load_state_dict({**sampler.state_dict(), "history": free.state_dict()["history"]})
    many = np.sort(free.sample(10**6)[0])
    x = np.sort(sampler.sample(64)[0])
    place = np.searchsorted(many, x) / len(many)
    assert abs(place - (np.arange(64) + 0.5) / 64).max() < 1 / 64 + 0.005


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_bad_update_changes_nothing(learner: str) -> None:
    sampler = LEARNERS[learner]()
    train(sampler, 9)
    before = sampler.state_dict()
    one = np.full(3, 0.5, np.float32)
    for levels, losses, match in (
        *((np.array([0.5, 0.5, bad], np.float32), one, r"levels\[2\]") for bad in (0, -1, NAN, INF)),
        *((one, np.array([1, bad, 1], np.float32), r"losses\[1\]") for bad in (-1, NAN, INF)),
        (one, one[:2], "losses"), (one.astype(float), one, "levels"), (one, one.astype(float), "losses"),
        (None, one, "levels"), (one[None], one, "levels"),
    ):  # fmt: skip
        with pytest.raises(speediff.SpeeDiffError, match=match):
            sampler.update(levels, losses)  # type: ignore[arg-type]
        assert sampler.state_dict() == before
    sampler.update(one[:0], one[:0])
    assert sampler.state_dict() == before
    if sampler.process.describe()["name"] == "flow":
        with pytest.raises(speediff.SpeeDiffValueError, match=r"levels\[0\] must be in \(0, 1\), got 1"):
            sampler.update(np.ones(1, np.float32), one[:1])


@pytest.mark.parametrize("learner", LEARNERS)
def test_losses_of_any_size_leave_finite_weights(learner: str) -> None:
    sampler = LEARNERS[learner]()
    for size in (0, 3e38, 1e-45, 1.0):
        for _ in range(10):
            x, w = sampler.sample(64)
            assert np.isfinite(w).all()
            assert (w >= 0).all()
            assert (x > 0).all()
            sampler.update(x, np.full(64, size, np.float32))


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_damaged_history_is_refused(learner: str) -> None:
    sampler = LEARNERS[learner]()
    train(sampler, 9)
    before = sampler.state_dict()
    history = before["history"]
    for bad in (
        None,
        "",
        history[:-8],
        history + "AAAAAAAA",
        "!" + history[1:],
        history[:11] + "/" * 21 + history[32:],
    ):
        with pytest.raises(speediff.SpeeDiffError):
            sampler.load_state_dict({**before, "history": bad})
        assert sampler.state_dict() == before


def test_what_does_not_fit_is_refused() -> None:
    for make, match in (
        (lambda: made("edm", sampling="adaptive", normalize=True), "normalize must be false"),
        (lambda: made("edm", weighting=Uncertainty(), normalize=True), "normalize must be false"),
        (lambda: made("edm", sampling="adaptive", weighting=ToEmphasis(made("edm"))), "to_emphasis"),
        (lambda: made("edm", sampling=Stages([(0, "adaptive")])), "learns from losses; use it without"),
        (lambda: made("flow", sampling=Truncated("info_noise", low=0.5)), "without a shift or a sampling"),
        (lambda: made("flow", sampling="adaptive", shift=3.0), "learns from losses; use it without a shift"),
        (lambda: made("fdm", sampling="adaptive", warm_up=9), "sampling must not learn with a warm-up"),
        (lambda: made("fdm", sampling="info_noise", warm_up=9), "sampling must not learn.*leave out warm_up"),
        (lambda: made("fdm", weighting=EDM() * Uncertainty(), warm_up=9), "weighting must not learn"),
        (lambda: made("flow", sampling="loss_second_moment"), "one of timesteps alone"),
        (lambda: made("edm").update(np.ones(1, np.float32), np.ones(1, np.float32)), "learns nothing"),
    ):
        with pytest.raises(speediff.SpeeDiffValueError, match=match):
            make()
    assert not made("edm").learns
    assert made("edm").state_dict()["history"] is None


def test_tensors_teach_what_arrays_teach() -> None:
    array, tensor = (
        kind.flow(seed=3, sampling=Adaptive(bins=5)) for kind in (SigmaSampler, speediff.torch.SigmaSampler)
    )
    for _ in range(5):
        x, t = array.sample(32)[0], tensor.sample(32)[0]
        assert (t.numpy() == x).all()
        array.update(x, x**2)
        tensor.update(t, (t**2).double())
    assert array.state_dict() == tensor.state_dict()
    for levels, losses, match in (
        (t.double(), t, "levels must have dtype float32"), (t, t[:3], "32 entries"), (t[None], t, "levels"),
        (t.numpy(), t, "levels must be a tensor"), (t, t.long(), "floating"),
    ):  # fmt: skip
        with pytest.raises(speediff.SpeeDiffError, match=match):
            tensor.update(levels, losses)
    assert torch.equal(tensor.sample(8)[0], torch.from_numpy(array.sample(8)[0]))


def test_the_loss_of_a_denoiser_teaches_its_sampler() -> None:
    loss = speediff.torch.DenoisingLoss("edm", sampling=Adaptive(bins=5), seed=3)
    alone = speediff.torch.SigmaSampler.edm(3, sampling=Adaptive(bins=5))
    images, noise = torch.linspace(-1, 1, 64).reshape(16, 1, 2, 2), torch.ones(16, 1, 2, 2)
    for _ in range(4):
        sigma, weight = alone.sample(16)
        error = (sigma[:, None, None, None] * noise) ** 2
        alone.update(sigma, error.mean((1, 2, 3)))
        out = loss(lambda noisy, *_: noisy, images, noise=noise)
        torch.testing.assert_close(out, weight[:, None, None, None] * error, rtol=1e-3, atol=1e-5)
    expected = alone.sample(16)[0]
    torch.testing.assert_close(loss.sampler.sample(16)[0], expected, rtol=1e-4, atol=0)
    assert not torch.equal(expected, speediff.torch.SigmaSampler.edm(3).sample(16, step=4)[0])


def test_the_emphasis_follows_what_was_learned() -> None:
    sampler = made("flow", sampling=InfoNoise(bins=50, warm_up=1))
    before = sampler.emphasis()[1]
    sampler.update(*(np.linspace(0.001, 0.999, 5000, dtype=np.float32) for _ in range(2)))
    level, after = sampler.emphasis()
    assert before.shape == after.shape
    assert abs((after * np.abs(np.gradient(level))).sum() - 1) < 1e-9
