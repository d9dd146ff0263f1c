"""Statistics of draws. Seeds are fixed, so that each test has one outcome; none was chosen by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speediff import TimestepSampler

UNLIKELY = 1e-4
"""A p-value below which a test fails."""

UNLIKELY_Z = 4.5
"""The same for the largest of some tens of standard scores."""


def batches(sampler: TimestepSampler, n: int, steps: int, first: int = 0) -> NDArray[np.int64]:
    """The time steps of many batches of a fresh sampler, shape (steps, n)."""
    if first:
        sampler.load_state_dict({**sampler.state_dict(), "step": first})
    result = np.empty((steps, n), np.int64)
    for row in result:
        row[:] = sampler.sample(n)[0]
    return result


def chi_square(t: NDArray[np.int64], p: NDArray[np.float64]) -> float:
    """The p-value of draws for a distribution."""
    counts = np.bincount(t.ravel(), minlength=len(p))
    assert len(counts) == len(p), "a timestep is out of range"
    return chi_square_of_counts(counts, p)


def chi_square_of_counts(counts: NDArray[np.int64], p: NDArray[np.float64]) -> float:
    assert counts.sum() * p[p > 0].min() >= 5, "too few draws for a chi-square test"
    assert not counts[p == 0].any()
    return float(stats.chisquare(counts[p > 0], counts.sum() * p[p > 0]).pvalue)


def largest_z(values: NDArray[np.float64], expected: NDArray[np.float64] | float) -> float:
    """The largest standard score of the means of independent rows, shape (rows, quantities)."""
    values = np.atleast_2d(values)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return float(np.max(abs(values.mean(axis=0) - expected) / error))


def permutation_chi_square(orders: NDArray[np.int64]) -> float:
    """The p-value of the position marginals of random permutations, shape (samples, N).

    The counts of a uniform permutation matrix have (N-1)² degrees of freedom, each of variance
    samples/(N-1).
    """
    samples, size = orders.shape
    counts = np.zeros((size, size))
    np.add.at(counts, (np.broadcast_to(np.arange(size), orders.shape), orders), 1)
    statistic = float(((counts - samples / size) ** 2).sum()) * (size - 1) / samples
    return float(stats.chi2.sf(statistic, (size - 1) ** 2))
