"""Confidence intervals over seeds: for the median over all pairs of two arms' runs, and for a mean.

That of the median is by bootstrap over seeds: exact for five or six seeds of each, where all resamples can be
counted, and else from random ones. Its ends lie so far in the tails that a few thousand of these leave the
second digit uncertain.

The percentile bootstrap is too narrow for few seeds: with five of each, 95 % intervals hold the truth in 90 %
of cases. So the percentiles are those of Hesterberg's expanded interval (The American Statistician 69, 2015):
Φ(-√(n/(n-1))·t), with Student's t of n - 1 degrees of freedom in place of the normal quantile.
"""

from __future__ import annotations

import functools
import itertools
import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support.random_numbers import random_bits

if TYPE_CHECKING:
    from collections.abc import Sequence

    Table = np.ndarray[Any, np.dtype[np.float64]]

LEAST = 5
"""Seeds that each arm needs."""
LEAST_FOR_MEAN = 3
"""Numbers that the mean's interval needs."""
LEVEL = 0.95
COUNTED = 250_000
"""Up to so many pairs of resamples, each distinct one is counted once, with its probability."""
RESAMPLES = 20_000
"""The random ones, where there are more."""
RESAMPLING = 20
"""A purpose of random bits."""


def of_median_ratio(ratios: Table) -> tuple[float, float] | None:
    """The interval for the median of positive ratios, resampled over both arms' runs.

    Args:
        ratios: Shape (n, m): of each of n runs against each of m. Positive and finite.

    Returns:
        Both ends; None if either arm has fewer than five runs.
    """
    ends = of_median(np.log(ratios))
    return None if ends is None else (math.exp(ends[0]), math.exp(ends[1]))


def of_median(table: Table) -> tuple[float, float] | None:
    """The interval for the median of a table of pairs, (n, m); None if n or m is less than five."""
    rows, columns = table.shape
    if min(rows, columns) < LEAST:
        return None
    medians, shares = _counted(table) or _sampled(table)
    order = np.argsort(medians, kind="stable")
    medians, shares = medians[order], shares[order]
    tail = expanded_tail(min(rows, columns))
    # The innermost medians beyond which there is less than the tail's share.
    low = np.searchsorted(np.cumsum(shares), tail)
    high = len(medians) - 1 - np.searchsorted(np.cumsum(shares[::-1]), tail)
    return float(medians[low]), float(medians[high])


def _counted(table: Table) -> tuple[Table, Table] | None:
    """The median of each pair of resamples of rows and of columns, and its probability; None if too many."""
    sizes = [math.comb(2 * count - 1, count) for count in table.shape]
    if sizes[0] * sizes[1] > COUNTED:
        return None
    (rows, of_rows), (columns, of_columns) = (_multisets(count) for count in table.shape)
    drawn = table[rows[:, None, :, None], columns[None, :, None, :]]
    return np.median(drawn.reshape(sizes[0] * sizes[1], -1), axis=1), np.outer(of_rows, of_columns).ravel()


def _sampled(table: Table) -> tuple[Table, Table]:
    """The medians of random resamples, which are equally probable."""
    rows, columns = (_choices(index, count) for index, count in enumerate(table.shape))
    drawn = table[rows[:, :, None], columns[:, None, :]]
    return np.median(drawn.reshape(RESAMPLES, -1), axis=1), np.full(RESAMPLES, 1 / RESAMPLES)


@functools.cache
def _multisets(count: int) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Table]:
    """All ways to draw `count` of as many with replacement, without order, and their probabilities."""
    chosen = list(itertools.combinations_with_replacement(range(count), count))
    ways = [
        math.factorial(count) // math.prod(math.factorial(each.count(index)) for index in range(count))
        for each in chosen
    ]
    return np.array(chosen), np.array(ways) / count**count


def of_mean(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's interval for the mean of normal numbers; None for fewer than three."""
    count = len(values)
    if count < LEAST_FOR_MEAN:
        return None
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(count)
    reach = student_quantile((1 + LEVEL) / 2, count - 1) * error
    return mean - reach, mean + reach


def expanded_tail(count: int) -> float:
    """The share of resamples to leave out at each end, for this many seeds."""
    quantile = student_quantile((1 + LEVEL) / 2, count - 1)
    return NormalDist().cdf(-math.sqrt(count / (count - 1)) * quantile)


def student_quantile(share: float, freedom: int) -> float:
    """The quantile of Student's t for a share in (½, 1), by bisection of its closed-form distribution."""
    low, high = 0.0, 1e6
    while high - low > 1e-12 * max(1.0, low):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, freedom) < share else (low, middle)
    return (low + high) / 2


def student_cdf(t: float, freedom: int) -> float:
    """P(T ≤ t) for t ≥ 0. Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine, term, total = math.cos(angle), 1.0, 0.0
    is_odd = freedom % 2 == 1
    if is_odd:
        term = cosine
    for power in range(1 + is_odd, freedom, 2):
        total += term
        term *= cosine**2 * power / (power + 1)
    within = math.sin(angle) * total
    if is_odd:
        within = 2 / math.pi * (angle + within)
    return 0.5 + within / 2


def _choices(index: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Indices below `count`, (RESAMPLES, count). The same in every version of NumPy."""
    words = random_bits(0, index, RESAMPLING, RESAMPLES * count) >> np.uint64(32)
    return np.asarray(words * np.uint64(count) >> np.uint64(32), np.int64).reshape(RESAMPLES, count)
