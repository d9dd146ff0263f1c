"""Distribution functions of noise levels, in closed form and by SciPy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats
from scipy.interpolate import PchipInterpolator

from speediff import SigmaSampler

if TYPE_CHECKING:
    from collections.abc import Callable

    from oracle_samplings import Table

    Cdf = Callable[[Table], Table]

MAKERS: dict[str, Callable[..., SigmaSampler]] = {
    name: getattr(SigmaSampler, name) for name in ("edm", "vp", "ve", "flow", "fdm")
}
"""The constructors of continuous processes."""


def vp_time(sigma: Table, beta_d: float = 19.9, beta_min: float = 0.1) -> Table:
    """t from σ² = exp(½·β_d·t² + β_min·t) - 1."""
    return (np.sqrt(beta_min**2 + 2 * beta_d * np.log1p(sigma**2)) - beta_min) / beta_d


def vp_u(sigma: Table) -> Table:
    return (vp_time(sigma) - 1e-5) / (1 - 1e-5)


def ve_u(sigma: Table) -> Table:
    return np.log(sigma / 0.02) / math.log(5000)


def flow_level(t: Table) -> Table:
    return 2 * np.log((1 - t) / t)


def of_level(density: Any) -> Cdf:
    """The cdf of σ if λ = -2 ln σ has a density."""
    return lambda sigma: density.sf(-2 * np.log(sigma))


def of_flow_level(density: Any) -> Cdf:
    return lambda t: density.sf(flow_level(t))


def suppressed(cdf: Cdf, edge: float, k: float) -> Cdf:
    """A density divided by k beyond an edge."""
    below = float(cdf(np.array(edge)))
    return lambda x: (
        (np.minimum(cdf(x), below) + np.maximum(cdf(x) - below, 0) / k) / (below + (1 - below) / k)
    )


def curve(*points: tuple[float, float]) -> Cdf:
    """The distribution function of SciPy's curve through the points."""
    x, y = np.array(points).T
    area = PchipInterpolator(x, y).antiderivative()
    return lambda u: area(np.clip(u, x[0], x[-1])) / area(x[-1])


def curve_of_level(*points: tuple[float, float]) -> Cdf:
    return lambda sigma: 1 - curve(*points)(-2 * np.log(sigma))


def within(cdf: Cdf, low: float, high: float) -> Cdf:
    """A distribution cut to [low, high] and renormalized."""
    below, above = (float(cdf(np.array(edge))) for edge in (low, high))
    return lambda x: (cdf(np.clip(x, low, high)) - below) / (above - below)


EDM_CDF = of_level(stats.norm(2.4, 2.4))
"""EDM's own σ."""


def kolmogorov_smirnov(x: Table, cdf: Cdf) -> float:
    """The p-value of draws from a distribution, by the limit for many of them."""
    ordered = np.sort(x).astype(float)
    below = cdf(ordered)
    place = np.arange(len(x) + 1) / len(x)
    distance = max((place[1:] - below).max(), (below - place[:-1]).max())
    return float(stats.kstwobign.sf(distance * math.sqrt(len(x))))
