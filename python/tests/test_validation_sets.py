"""Fixed sets for a validation loss: even levels, normal noise, nothing of the sampler's own luck."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import reference
import torch
from oracle_levels import EDM_CDF, MAKERS, ve_u, vp_u
from scipy import stats
from test_shifted_draws import flow_schedule

import speediff
import speediff.torch
from speediff import NoiseSchedule, SigmaSampler, TimestepSampler
from speediff.sampling import Laplace, LogitNormal
from speediff.weighting import MinSNR

UNIFORM: dict[str, Any] = {"edm": EDM_CDF, "vp": vp_u, "ve": ve_u, "flow": lambda t: t}


@pytest.mark.parametrize("name", UNIFORM)
@pytest.mark.parametrize("n", [1, 10, 64, 100, 1000])
def test_levels_are_one_in_each_stratum(name: str, n: int) -> None:
    sampler = MAKERS[name](seed=3, sampling=Laplace(1, 1), weighting=MinSNR())
    levels, noise = sampler.validation(n, (2, 3))
    assert (levels.dtype, noise.dtype, noise.shape) == (np.float32, np.float32, (n, 2, 3))
    u = np.sort(UNIFORM[name](levels.astype(float)))
    assert (abs(u * n - np.arange(n) - 0.5) < 0.5 + 1e-3).all()


@pytest.mark.parametrize("n", [10, 50, 200, 1000])
def test_steps_are_one_in_each_stratum(n: int) -> None:
    sampler = TimestepSampler(NoiseSchedule.linear(1000), "laplace", "min_snr", "epsilon", seed=3)
    t, _ = sampler.validation(n, (1,))
    assert t.dtype == np.int64
    assert (np.sort(t) * n // 1000 == np.arange(n)).all()


def test_another_density_is_drawn_where_it_is_asked_for() -> None:
    t, _ = SigmaSampler.flow().validation(1000, (1,), sampling=LogitNormal(1, 0.5))
    x = np.sort(stats.norm(1, 0.5).cdf(np.log(t.astype(float) / (1 - t.astype(float)))))
    assert (abs(x * 1000 - np.arange(1000) - 0.5) < 0.5 + 1e-3).all()
    t, _ = TimestepSampler(NoiseSchedule.linear(1000)).validation(1000, (1,), sampling="asymmetric")
    assert (t >= 700).sum() == pytest.approx(79, abs=1)


def test_the_set_does_not_depend_on_the_sampler_but_on_its_arguments() -> None:
    reference = SigmaSampler.flow().validation(60, (3, 4), 5)
    others = [
        SigmaSampler.flow(seed=9, sampling="logit_normal", shift=3.0, normalize=True),
        SigmaSampler.flow(rank=1, world_size=4, accumulation=2, strata="low_discrepancy"),
    ]
    others[0].sample(10)
    for other in others:
        before = other.step
        found = other.validation(60, (3, 4), 5)
        assert all((a == b).all() for a, b in zip(found, reference, strict=True))
        assert other.step == before
    different = SigmaSampler.flow().validation(60, (3, 4), 6)
    assert not any((a == b).any() for a, b in zip(different, reference, strict=True))


def test_the_noise_is_normal_and_an_entry_keeps_its_own() -> None:
    sampler = SigmaSampler.edm()
    _, noise = sampler.validation(500, (3, 16, 16))
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-4
    assert abs(np.corrcoef(noise.reshape(500, -1)[:20]) - np.eye(20)).max() < 0.2
    _, fewer = sampler.validation(7, (3, 16, 16))
    assert (fewer == noise[:7]).all()
    _, odd = sampler.validation(2, (3,))
    assert np.isfinite(odd).all()
    assert odd.shape == (2, 3)


@pytest.mark.parametrize("n", [5, 100])
@pytest.mark.parametrize("shape", [(4,), (3, 3)])
def test_the_set_is_what_the_documentation_says(n: int, shape: tuple[int, ...]) -> None:
    """Whoever compares validation losses over months needs the same numbers."""
    t, noise = TimestepSampler(NoiseSchedule.linear(1000)).validation(n, shape, 2**40 + 1)
    boundaries = reference.boundaries(reference.uniform(1000))
    assert t.tolist() == reference.draw_stratified(2**40 + 1, 0, n, boundaries).tolist()
    half = (math.prod(shape) + 1) // 2
    for index in (0, n - 1):
        generator = np.random.Philox(key=np.array([2**40 + 1, index], np.uint64), counter=[0, 0, 0, 4])
        u = [((int(word) >> 11) + 0.5) / 2**53 for word in generator.random_raw(2 * half)]
        pairs = [(math.sqrt(-2 * math.log(a)), 2 * math.pi * b) for a, b in zip(u, u[half:], strict=False)]
        normals = [r * math.cos(turn) for r, turn in pairs] + [r * math.sin(turn) for r, turn in pairs]
        expected = np.reshape(normals[: math.prod(shape)], shape)
        np.testing.assert_allclose(noise[index], expected, rtol=1e-6)


@pytest.mark.parametrize("name", UNIFORM)
def test_tensors_are_the_arrays(name: str) -> None:
    levels, noise = MAKERS[name]().validation(20, (2, 2), 4)
    theirs = getattr(speediff.torch.SigmaSampler, name)().validation(20, (2, 2), 4, "cpu")
    assert (theirs[0].numpy() == levels).all()
    assert (theirs[1].numpy() == noise).all()


def test_a_scheduler_gets_its_own_timesteps() -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    sampler = speediff.torch.TimestepSampler.for_scheduler(scheduler)
    t, noise = sampler.validation(100, (4, 8, 8))
    assert t.dtype == torch.float32
    assert torch.isin(t, scheduler.timesteps).all()
    assert noise.shape == (100, 4, 8, 8)


@pytest.mark.parametrize(
    ("change", "argument"),
    [({"n": 0}, "n"), ({"n": -1}, "n"), ({"shape": (0,)}, r"shape\[0\]"), ({"shape": (2, -1)}, r"shape\[1\]"),
     ({"seed": -1}, "seed"), ({"seed": 2**64}, "seed"), ({"sampling": "unifrom"}, "sampling")],
)  # fmt: skip
def test_values_out_of_range_are_named(change: dict[str, Any], argument: str) -> None:
    for sampler in (SigmaSampler.flow(), TimestepSampler(flow_schedule())):
        with pytest.raises(speediff.SpeeDiffValueError, match=argument):
            sampler.validation(**{"n": 3, "shape": (2,), **change})


@pytest.mark.parametrize(
    "change", [{"n": 2.0}, {"shape": 3}, {"shape": "22"}, {"shape": (2.0,)}, {"seed": "1"}]
)
def test_values_of_other_types_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(speediff.SpeeDiffTypeError, match=next(iter(change))):
        SigmaSampler.edm().validation(**{"n": 3, "shape": (2,), **change})
