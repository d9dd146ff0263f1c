"""Pairs (t, r) of rectified flow: their distribution, the share with r ≠ t, ranks, resume, and bad input."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logit
from statistics_helpers import UNLIKELY

import speediff
import speediff.torch
from speediff import SigmaSampler
from speediff.sampling import LogitNormal

if TYPE_CHECKING:
    from collections.abc import Callable

    from oracle_samplings import Table

MEANFLOW = [
    {"sampling": LogitNormal(-0.4, 1), "q": 0.25},
    {"sampling": LogitNormal(-2, 2), "q": 0.75},
    {"sampling": LogitNormal(-0.6, 1.6), "second": LogitNormal(-4, 1.6), "q": 0.75},
]
"""ImageNet's, CIFAR-10's, and CIFAR-10's with a density for each time."""


def densities(options: dict[str, Any]) -> tuple[Callable[[Table], Table], Callable[[Table], Table]]:
    a = options["sampling"]
    b = options.get("second", a)
    return (
        lambda t: stats.norm(a.mean, a.std).cdf(logit(t)),
        lambda t: stats.norm(b.mean, b.std).cdf(logit(t)),
    )


@pytest.mark.parametrize("options", MEANFLOW, ids=str)
def test_pairs_are_two_sorted_draws_and_r_is_t_elsewhere(options: dict[str, Any]) -> None:
    t, r, w = SigmaSampler.flow_pairs(5, **options).sample(400_000)
    assert t.dtype == r.dtype == w.dtype == np.float32
    assert (r <= t).all()
    assert ((r > 0) & (t < 1)).all()
    assert (w == 1).all()
    apart = r < t
    assert abs(apart.mean() - options["q"]) < 1e-4
    one, two = densities(options)
    # The larger of two independent draws, and the smaller.
    assert stats.kstest(t[~apart].astype(float), lambda x: one(x) * two(x)).pvalue > UNLIKELY
    assert stats.kstest(t[apart].astype(float), lambda x: one(x) * two(x)).pvalue > UNLIKELY
    smaller = stats.kstest(r[apart].astype(float), lambda x: 1 - (1 - one(x)) * (1 - two(x)))
    assert smaller.pvalue > UNLIKELY
    # Independent: P(t ≤ m, r ≤ l) = F(m)G(m) - (F(m)-F(l))(G(m)-G(l)).
    for high, low in ((0.5, 0.2), (0.7, 0.4), (0.3, 0.05)):
        share = ((t <= high) & (r <= low))[apart].mean()
        expected = one(high) * two(high) - (one(high) - one(low)) * (two(high) - two(low))
        assert abs(share - expected) < 6 / np.sqrt(apart.sum())


@pytest.mark.parametrize("q", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_the_count_is_fixed_in_each_global_batch(q: float) -> None:
    pairs = SigmaSampler.flow_pairs(2, q=q)
    for _ in range(100):
        t, r, _ = pairs.sample(64)
        assert (r < t).sum() == 64 * q


def test_a_count_that_is_no_whole_number_is_rounded_either_way() -> None:
    pairs = SigmaSampler.flow_pairs(2, q=0.3)
    counts = [int((r < t).sum()) for t, r, _ in (pairs.sample(16) for _ in range(2000))]
    assert set(counts) == {4, 5}
    assert np.mean(counts) == pytest.approx(4.8, abs=0.05)


def test_a_free_count_is_binomial() -> None:
    pairs = SigmaSampler.flow_pairs(2, q=0.25, fixed_count=False)
    counts = [int((r < t).sum()) for t, r, _ in (pairs.sample(64) for _ in range(4000))]
    expected = stats.binom(64, 0.25)
    assert np.mean(counts) == pytest.approx(16, abs=5 * expected.std() / np.sqrt(4000))
    assert np.var(counts) == pytest.approx(expected.var(), rel=0.12)


@pytest.mark.parametrize("strata", ["none", "stratified"])
def test_ranks_and_micro_batches_share_one_global_batch(strata: str) -> None:
    whole = SigmaSampler.flow_pairs(7, strata=strata).sample(24, step=5)
    assert (whole[1] < whole[0]).sum() == 6
    for accumulation in (1, 2):
        parts = []
        for micro_batch in range(accumulation):
            for rank in range(3):
                part = SigmaSampler.flow_pairs(
                    7, strata=strata, rank=rank, world_size=3, accumulation=accumulation
                )
                parts.append(part.sample(8 // accumulation, step=5, micro_batch=micro_batch))
        for k in range(3):
            assert (np.concatenate([part[k] for part in parts]) == whole[k]).all()
    sliced = SigmaSampler.flow_pairs(7, strata=strata).sample(10, step=5, offset=3, total=24)
    assert all((a == b[3:13]).all() for a, b in zip(sliced, whole, strict=True))


def test_strata_spread_both_times() -> None:
    pairs = SigmaSampler.flow_pairs(7, sampling="uniform", q=1, strata="stratified")
    t, r, _ = pairs.sample(64)
    assert (np.bincount((np.concatenate([t, r]) * 64).astype(int), minlength=64) == 2).all()


def test_a_resumed_run_is_the_uninterrupted_one() -> None:
    run, resumed = SigmaSampler.flow_pairs(1, q=0.6), SigmaSampler.flow_pairs(9, q=0.6)
    for _ in range(70):
        run.sample(8)
    state = json.loads(json.dumps(run.state_dict()))
    resumed.load_state_dict(state)
    twin = copy.deepcopy(run)
    stepped = SigmaSampler.flow_pairs(1, q=0.6)
    stepped.step = 70
    for _ in range(5):
        batches = [pairs.sample(8) for pairs in (run, resumed, twin, stepped)]
        assert all((a == b).all() for batch in batches[1:] for a, b in zip(batch, batches[0], strict=True))
    assert (run.step, run.seed) == (75, 1)


def test_an_interrupted_draw_does_not_part_the_samplers(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs, expected = SigmaSampler.flow_pairs(1), SigmaSampler.flow_pairs(1)
    pairs.sample(8)
    with monkeypatch.context() as patch:

        def interrupted(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(pairs._second, "sample", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pairs.sample(8)
    expected.step = 2
    for a, b in zip(pairs.sample(8), expected.sample(8), strict=True):
        assert (a == b).all()


def test_the_weights_are_those_at_t() -> None:
    t, _, w = SigmaSampler.flow_pairs(1, weighting="cosmap", second="uniform").sample(1000)
    expected = 2 / (np.pi * (1 - 2 * t + 2 * t.astype(float) ** 2))
    np.testing.assert_allclose(w, expected, rtol=1e-5)


def test_tensors_are_what_arrays_are() -> None:
    array, tensor = SigmaSampler.flow_pairs(4), speediff.torch.SigmaSampler.flow_pairs(4)
    for _ in range(3):
        for a, b in zip(array.sample(16), tensor.sample(16, "cpu"), strict=True):
            assert isinstance(b, torch.Tensor)
            assert (a == b.numpy()).all()


def test_a_state_of_something_else_is_refused_and_changes_nothing() -> None:
    pairs = SigmaSampler.flow_pairs(4)
    before = pairs.state_dict()
    other = SigmaSampler.flow_pairs(4, q=0.5).state_dict()
    single = SigmaSampler.flow().state_dict()
    for state in (other, single, None, {}, {**before, "version": 9}, {**before, "second": single}):
        with pytest.raises(speediff.SpeeDiffError, match="state"):
            pairs.load_state_dict(state)  # type: ignore[arg-type]
        assert pairs.state_dict() == before


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"q": -0.1}, r"q must be in \[0, 1\]"), ({"q": 1.1}, r"q must be in \[0, 1\]"),
        ({"q": float("nan")}, r"q must be in \[0, 1\]"), ({"q": "0.5"}, "q must be a real number"),
        ({"fixed_count": 1}, "fixed_count"), ({"normalize": True}, "normalize"), ({"seed": -1}, "seed"),
        ({"sampling": "adaptive"}, "must not learn"), ({"second": "info_noise"}, "must not learn"),
        ({"weighting": "uncertainty"}, "must not learn"), ({"second": "no"}, "second must be one of"),
        ({"unknown": 1}, "options must be among"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_options_are_named(options: dict[str, Any], match: str) -> None:
    with pytest.raises(speediff.SpeeDiffError, match=match):
        SigmaSampler.flow_pairs(**options)
    pairs = SigmaSampler.flow_pairs()
    pairs.close()
    with pytest.raises(speediff.SpeeDiffClosedError):
        pairs.sample(3)
