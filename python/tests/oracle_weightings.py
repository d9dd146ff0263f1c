"""The oracle of the weightings: w of each for every target, as its authors write it, and emphasis.

Every form is written out by itself, so that the rules which turn one into another are a test and not an
assumption. Where a form diverges it gives inf. Nothing here calls the library: of the objects that are passed
in, only `name` and the parameters are read.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import reference
from oracle_samplings import floored, log_snr, normalized, running_means
from scipy.interpolate import PchipInterpolator
from scipy.special import expit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oracle_samplings import Table, Updates

    Form = Callable[[Table, Any], Table]

TARGETS = ("epsilon", "sample", "v", "flow")


def snr(bar: Table) -> Table:
    return bar / (1 - bar)


def flow_scale(s: Table) -> Table:
    """(1+√S)²: loss_flow = (1+√S)²·loss_x0."""
    return (1 + np.sqrt(s)) ** 2


def flow_sigma(s: Table) -> Table:
    """σ of rectified flow: x = (1-σ)x₀ + σε, up to a factor."""
    return 1 / (1 + np.sqrt(s))


def _min_snr_epsilon(s: Table, m: Any) -> Table:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(s == 0, 1.0, np.minimum(s, m.gamma) / s)


def _sd3_cosmap(s: Table) -> Table:
    sigma = flow_sigma(s)
    return 2 / (math.pi * (1 - 2 * sigma + 2 * sigma**2))


def _bell(s: Table) -> Table:
    """ai-toolkit's table of 1000 steps, between its steps: e^{-2(σ-½)²} less that at σ = 0, with mean 1."""
    step = 1000 * flow_sigma(s)
    y = np.exp(-2 * ((np.arange(1000) - 500) / 1000) ** 2)
    return (np.exp(-2 * ((step - 500) / 1000) ** 2) - y.min()) * (1000 / (y - y.min()).sum())


# The Min-SNR code gives all of its own as weights of the x₀ loss, and so do Karras et al. 2022; Esser et al.
# 2024 (SD3) give their two as weights of the flow loss.
FORMS: dict[str, dict[str, Form]] = {
    "p2": {
        "epsilon": lambda s, m: 1 / (m.k + s) ** m.gamma,
        "sample": lambda s, m: s / (m.k + s) ** m.gamma,
        "v": lambda s, m: s / ((m.k + s) ** m.gamma * (s + 1)),
        "flow": lambda s, m: s / ((m.k + s) ** m.gamma * flow_scale(s)),
    },
    "min_snr": {
        "epsilon": _min_snr_epsilon,
        "sample": lambda s, m: np.minimum(s, m.gamma),
        "v": lambda s, m: np.minimum(s, m.gamma) / (s + 1),
        "flow": lambda s, m: np.minimum(s, m.gamma) / flow_scale(s),
    },
    "soft_min_snr": {
        "epsilon": lambda s, m: m.gamma / (s + m.gamma),
        "sample": lambda s, m: m.gamma * s / (s + m.gamma),
        "v": lambda s, m: m.gamma * s / ((s + m.gamma) * (s + 1)),
        "flow": lambda s, m: m.gamma * s / ((s + m.gamma) * flow_scale(s)),
    },
    "debiased": {
        "epsilon": lambda s, m: 1 / np.sqrt(s),
        "sample": lambda s, m: np.sqrt(s),
        "v": lambda s, m: np.sqrt(s) / (s + 1),
        "flow": lambda s, m: np.sqrt(s) / flow_scale(s),
    },
    "snr": {
        "epsilon": lambda s, m: np.ones_like(s),
        "sample": lambda s, m: s,
        "v": lambda s, m: s / (s + 1),
        "flow": lambda s, m: s / flow_scale(s),
    },
    "inverse_snr": {
        "epsilon": lambda s, m: 1 / s**2,
        "sample": lambda s, m: 1 / s,
        "v": lambda s, m: 1 / (s * (s + 1)),
        "flow": lambda s, m: 1 / (s * flow_scale(s)),
    },
    "max_snr": {
        "epsilon": lambda s, m: np.maximum(s, m.gamma) / s,
        "sample": lambda s, m: np.maximum(s, m.gamma),
        "v": lambda s, m: np.maximum(s, m.gamma) / (s + 1),
        "flow": lambda s, m: np.maximum(s, m.gamma) / flow_scale(s),
    },
    "truncated_snr": {
        "epsilon": lambda s, m: np.maximum(s, 1) / s,
        "sample": lambda s, m: np.maximum(s, 1),
        "v": lambda s, m: np.maximum(s, 1) / (s + 1),
        "flow": lambda s, m: np.maximum(s, 1) / flow_scale(s),
    },
    "edm": {
        "epsilon": lambda s, m: 1 + 1 / (m.sigma_data**2 * s),
        "sample": lambda s, m: s + 1 / m.sigma_data**2,
        "v": lambda s, m: (s + 1 / m.sigma_data**2) / (s + 1),
        "flow": lambda s, m: (s + 1 / m.sigma_data**2) / flow_scale(s),
    },
    "sigma_sqrt": {
        "epsilon": lambda s, m: (1 + np.sqrt(s)) ** 4 / s,
        "sample": lambda s, m: (1 + np.sqrt(s)) ** 4,
        "v": lambda s, m: (1 + np.sqrt(s)) ** 4 / (s + 1),
        "flow": lambda s, m: flow_sigma(s) ** -2,
    },
    "cosmap": {
        "epsilon": lambda s, m: _sd3_cosmap(s) * flow_scale(s) / s,
        "sample": lambda s, m: _sd3_cosmap(s) * flow_scale(s),
        "v": lambda s, m: _sd3_cosmap(s) * flow_scale(s) / (s + 1),
        "flow": lambda s, m: _sd3_cosmap(s),
    },
    "bsmntw": {
        "epsilon": lambda s, m: _bell(s) * flow_scale(s) / s,
        "sample": lambda s, m: _bell(s) * flow_scale(s),
        "v": lambda s, m: _bell(s) * flow_scale(s) / (s + 1),
        "flow": lambda s, m: _bell(s),
    },
    "linear_sigma": {
        "epsilon": lambda s, m: (1 + m.shift * flow_sigma(s)) * flow_scale(s) / s,
        "sample": lambda s, m: (1 + m.shift * flow_sigma(s)) * flow_scale(s),
        "v": lambda s, m: (1 + m.shift * flow_sigma(s)) * flow_scale(s) / (s + 1),
        "flow": lambda s, m: 1 + m.shift * flow_sigma(s),
    },
}
"""The weightings that are functions of S."""


def slope(bar: Table) -> Table:
    """abs(dλ/di) of the entries with S > 0."""
    return abs(np.gradient(log_snr(bar)))


def sigmoid(bar: Table, bias: float, prediction: str) -> Table:
    """Kingma and Gao's sigmoid(b-λ)·abs(dλ/du), with u = i/T; it diverges where λ does."""
    if (bar == 0).any():
        return np.where(bar == 0, np.inf, 1.0)
    s, level = snr(bar), log_snr(bar)
    epsilon = expit(bias - level) * slope(bar) * len(bar)
    return from_epsilon(epsilon, s, prediction)


def from_epsilon(w: Table, s: Table, prediction: str | None) -> Table:
    """What multiplies the loss of another target if w multiplies that of ε."""
    factors = {"epsilon": 1.0, "sample": s, "v": s / (s + 1), "flow": s / flow_scale(s)}
    return w * factors[prediction or "epsilon"]


def to_epsilon(w: Table, s: Table, prediction: str | None) -> Table:
    factors = {"epsilon": 1.0, "sample": 1 / s, "v": (s + 1) / s, "flow": flow_scale(s) / s}
    return w * factors[prediction or "epsilon"]


def one_weight(bar: Table, m: Any, prediction: str | None, p: Table | None) -> Table:
    """w of one weighting that neither learns nor looks at another sampler."""
    steps = len(bar)
    with np.errstate(divide="ignore", invalid="ignore"):
        if m.name in FORMS:
            assert prediction is not None
            return FORMS[m.name][prediction](snr(bar), m)
        if m.name == "sigmoid":
            assert prediction is not None
            return sigmoid(bar, m.bias, prediction)
        if m.name == "importance":
            assert p is not None
            return 1 / (steps * p)
    if m.name == "change_aware":
        return reference.change_aware(bar, m.lam)
    if m.name == "table":
        return own_table(bar, m)
    assert m.name == "uniform", f"no oracle for {m.name}"
    return np.ones(steps)


def own_table(bar: Table, m: Any) -> Table:
    """The user's numbers, or SciPy's curve in each step's middle or at its λ; constant beyond the ends."""
    values = np.array(m.values, float)
    if values.ndim == 1:
        return values
    with np.errstate(divide="ignore"):
        middle = (np.arange(len(bar)) + 0.5) / len(bar)
        place = middle if m.over == "u" else np.log(bar) - np.log1p(-bar)
    x, y = values.T
    return np.maximum(0, PchipInterpolator(x, y)(np.clip(place, x[0], x[-1])))


def weights(
    bar: Table, factors: Sequence[Any], prediction: str | None = None, p: Table | None = None
) -> Table:
    """w of a product of weightings.

    Args:
        bar: ᾱ.
        factors: The weightings.
        prediction: The target whose loss they multiply.
        p: P, for `importance`.
    """
    tables = [one_weight(bar, factor, prediction, p) for factor in factors]
    return functools.reduce(np.multiply, tables, np.ones(len(bar)))


def uncertainty(steps: int, m: Any, updates: Updates, others: Table, reach: Table) -> Table:
    """1/E[w·mse] of each bin, with the w of the other factors; 1 until all that can be drawn is known."""
    mean = floored(running_means(steps, m.bins, m.decay, updates, others), 1e-6, reach)
    return np.ones(steps) if mean is None else 1 / mean


def emphasis(bar: Table, p: Table, w: Table, prediction: str | None = None) -> tuple[Table, Table]:
    """λ and E = P·w_eps/abs(dλ/di), with Σ E·abs(dλ/di) = 1, of the entries with S > 0."""
    inside = bar > 0
    share = normalized(p[inside] * to_epsilon(w[inside], snr(bar[inside]), prediction))
    return log_snr(bar), share / slope(bar)


def to_emphasis(bar: Table, p: Table, of: tuple[Table, Table], prediction: str) -> Table:
    """The weights that give P the emphasis of another sampler, (λ, E), interpolated in λ."""
    inside, level = bar > 0, log_snr(bar)
    for end in (of[0][0], of[0][-1]):
        # An end that differs in the last bit alone is not outside.
        level = np.where(abs(level - end) < 1e-12 * (1 + abs(end)), end, level)
    density = np.interp(level, of[0][::-1], of[1][::-1], left=0.0, right=0.0)
    share = normalized(density * slope(bar))
    w = np.zeros(len(bar))
    w[inside] = from_epsilon(share / p[inside], snr(bar[inside]), prediction)
    return w


def uniform_emphasis(bar: Table) -> tuple[Table, Table]:
    """That of uniform draws with uniform weights of the ε loss on the same schedule."""
    return emphasis(bar, np.full(len(bar), 1 / len(bar)), np.ones(len(bar)))
