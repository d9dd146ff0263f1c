"""Continuous processes: seeds, steps, ranks, states and tensors, as for time steps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from oracle_levels import EDM_CDF, MAKERS, ve_u, vp_u

import speediff
import speediff.torch
from speediff import SigmaSampler
from speediff.sampling import Cauchy, Laplace
from speediff.weighting import ChangeAware, MinSNR

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("strata", ["none", "stratified", "low_discrepancy"])
@pytest.mark.parametrize("name", MAKERS)
def test_ranks_and_micro_batches_slice_one_global_batch(name: str, strata: str) -> None:
    whole = MAKERS[name](seed=3, strata=strata)
    parts = [MAKERS[name](seed=3, strata=strata, rank=r, world_size=3, accumulation=2) for r in range(3)]
    for step in range(3):
        x, w = whole.sample(60)
        calls = [part.sample(10) for _ in range(2) for part in parts]
        assert (np.concatenate([call[0] for call in calls]) == x).all()
        assert (np.concatenate([call[1] for call in calls]) == w).all()
        assert (whole.sample(60, step=step)[0] == x).all()
    assert not (MAKERS[name](seed=4, strata=strata).sample(60)[0] == whole.sample(60, step=0)[0]).any()


@pytest.mark.parametrize("name", MAKERS)
def test_any_step_is_drawn_directly_and_a_run_resumes(name: str) -> None:
    run = MAKERS[name](seed=5)
    rows = [run.sample(16) for _ in range(100)]
    assert run.step == 100
    state = json.loads(json.dumps(run.state_dict()))
    assert (run.sample(16, step=70)[0] == rows[70][0]).all()
    assert run.step == 100
    resumed = MAKERS[name](seed=99)
    resumed.load_state_dict(state)
    assert (resumed.sample(16)[0] == run.sample(16)[0]).all()
    for key in state:
        with pytest.raises(speediff.SpeeDiffError):
            resumed.load_state_dict({**state, key: object()})
    # FDM without a warm-up is EDM.
    other = MAKERS["flow" if name == "ve" else "ve"]
    with pytest.raises(speediff.SpeeDiffValueError):
        other().load_state_dict(state)


@pytest.mark.parametrize(
    ("name", "cdf"), [("edm", EDM_CDF), ("vp", vp_u), ("ve", ve_u), ("flow", lambda t: t)]
)
def test_strata_are_even(name: str, cdf: Callable[[Any], Any]) -> None:
    for n in (7, 64, 1000):
        u = np.sort(cdf(MAKERS[name](seed=6, strata="stratified").sample(n)[0].astype(float)))
        assert (abs(u * n - np.arange(n) - 0.5) < 0.5 + 1e-3).all()
        u = np.sort(cdf(MAKERS[name](seed=6, strata="low_discrepancy").sample(n)[0].astype(float)))
        np.testing.assert_allclose(np.diff(u), 1 / n, atol=2e-6)


def test_normalized_weights_have_mean_one() -> None:
    for options in ({"weighting": ChangeAware()}, {"sampling": Laplace(), "weighting": MinSNR()}):
        plain = SigmaSampler.edm(seed=7, **options).sample(10**6)[1].astype(float)
        w = SigmaSampler.edm(seed=7, normalize=True, **options).sample(10**6)[1].astype(float)
        assert w.mean() == pytest.approx(1, abs=2e-3)
        np.testing.assert_allclose(w / plain, w[0] / plain[0], rtol=1e-5)


@pytest.mark.parametrize("name", MAKERS)
def test_tensors_are_the_arrays(name: str) -> None:
    ours, theirs = MAKERS[name](seed=8), getattr(speediff.torch.SigmaSampler, name)(seed=8)
    for _ in range(70):
        (x, w), (level, weight) = ours.sample(33), theirs.sample(33, "cpu")
        assert (level.dtype, weight.dtype) == (torch.float32, torch.float32)
        assert (x == level.numpy()).all()
        assert (w == weight.numpy()).all()
    theirs.load_state_dict(ours.state_dict())
    assert (ours.sample(5)[0] == theirs.sample(5)[0].numpy()).all()


@pytest.mark.parametrize("weighting", ["snr", "min_snr", "soft_min_snr", "p2", "sigma_sqrt", "inverse_snr"])
def test_heavy_tails_give_numbers(weighting: str) -> None:
    sampler = SigmaSampler.edm(seed=1, sampling=Cauchy(scale=1e5), weighting=weighting)
    x, w = sampler.sample(10_000)
    assert np.isfinite(x).all()
    assert (x > 0).all()
    assert np.isfinite(w).all()
    assert (w >= 0).all()
