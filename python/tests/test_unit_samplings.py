"""Samplings in u = t/T against SciPy: step i has the mass of [i/T, (i+1)/T)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import logit

from speediff import NoiseSchedule, SigmaSampler, TimestepSampler, sampling

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLINGS = [
    (sampling.Uniform(), stats.uniform.cdf),
    (sampling.Beta(2.0, 5.0), stats.beta(2, 5).cdf),
    (sampling.Beta(0.5, 0.5), stats.arcsine.cdf),
    (sampling.LogitNormal(0.5, 1.5), lambda u: stats.norm(0.5, 1.5).cdf(logit(u))),
]
"""A sampling, and its distribution function."""


@pytest.mark.parametrize(("method", "cdf"), SAMPLINGS, ids=[str(row[0]) for row in SAMPLINGS])
def test_steps_have_the_mass_of_their_interval(method: Any, cdf: Callable[[Any], Any]) -> None:
    for steps in (3, 100, 1000):
        p = TimestepSampler(NoiseSchedule.cosine(steps), method).probabilities
        np.testing.assert_allclose(p, np.diff(cdf(np.arange(steps + 1) / steps)), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("method", "cdf"), SAMPLINGS, ids=[str(row[0]) for row in SAMPLINGS])
def test_rectified_flow_draws_the_same_distribution(method: Any, cdf: Callable[[Any], Any]) -> None:
    t, _ = SigmaSampler.flow(seed=1, sampling=method).sample(100_000)
    assert stats.kstest(t.astype(float), cdf).pvalue > 1e-6
