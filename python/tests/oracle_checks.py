"""Tables of ᾱ to hold the library to its oracles on, and how to compare the two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import reference
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Table = NDArray[np.float64]


def zero_terminal(bar: Table) -> Table:
    """Lin et al. 2023, Algorithm 1: √ᾱ moved and stretched, so that it keeps its start and ends at 0."""
    root = np.sqrt(bar)
    return ((root - root[-1]) * (root[0] / (root[0] - root[-1]))) ** 2


TABLES: dict[str, Table] = {
    **{name: np.cumprod(1 - betas(1000)) for name, betas in reference.BETAS.items()},
    "three steps": np.array([0.9, 0.6, 0.1]),
    "twenty steps": np.cumprod(1 - reference.cosine_betas(20)),
    "zero terminal": zero_terminal(np.cumprod(1 - reference.linear_betas(1000))),
    "fifty steps": (1 - np.arange(1, 51) / 50) ** 1.5,
}


def differs(actual: Table, expected: Table, rtol: float = 1e-9, atol: float = 1e-15) -> str:
    """Nothing if the tables agree, or else the largest error and where it is."""
    if actual.shape != expected.shape:
        return f"shape {actual.shape} instead of {expected.shape}"
    excess = abs(actual - expected) - (atol + rtol * abs(expected))
    worst = int(np.argmax(np.where(np.isnan(excess), np.inf, excess)))
    if excess[worst] <= 0:
        return ""
    return f"entry {worst} is {actual[worst]!r} and not {expected[worst]!r}"


def pooled_chi_square(counts: NDArray[np.int64], p: Table, least: float = 20) -> float:
    """The p-value of counts for a distribution, with neighbours taken together until each expects enough."""
    assert not counts[p == 0].any(), "a step without mass was drawn"
    counts, expected = counts[p > 0], p[p > 0] * counts.sum()
    ends = (np.cumsum(expected) / least).astype(int)
    # Each group starts where the sum before it passes the next multiple of `least`; the last takes the rest.
    group = np.minimum(np.concatenate([[0], ends[:-1]]), max(int(ends[-1]) - 2, 0))
    _, group = np.unique(group, return_inverse=True)
    if group[-1] == 0:
        return 1.0
    return float(stats.chisquare(np.bincount(group, counts), np.bincount(group, expected)).pvalue)
