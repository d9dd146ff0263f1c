"""The oracle of the samplings: P of each from its published definition, for any table of ᾱ.

float64 NumPy and SciPy, and 50 digits where SciPy is not good to twelve. Nothing here calls the library: of
the objects that are passed in, only `name` and the parameters are read.

Densities of λ = ln S are cut into one bin per step, with edges midway between neighbours; the two outer edges
are the first and last λ themselves. Densities of u give step i the mass of [i/T, (i+1)/T).
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
import reference
from scipy import stats
from scipy.interpolate import PchipInterpolator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Table = NDArray[np.float64]
    Updates = Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]]

LIMIT = 2 / (math.pi - 2)
"""The largest scale of `mode`."""

# ---- λ and its bins ------------------------------------------------------------------------------


def log_snr(bar: Table) -> Table:
    """λ of the entries with S > 0."""
    bar = bar[bar > 0]
    return np.log(bar) - np.log1p(-bar)


def edges(bar: Table) -> Table:
    """The n + 1 edges of the bins of the n entries with S > 0, falling like λ itself."""
    level = log_snr(bar)
    return np.concatenate([level[:1], (level[:-1] + level[1:]) / 2, level[-1:]])


def normalized(mass: Table) -> Table:
    return mass / math.fsum(mass)


def padded(mass: Table, bar: Table) -> Table:
    """Nothing at an entry with S = 0."""
    return np.concatenate([mass, np.zeros(len(bar) - len(mass))])


def masses(density: Any, low: Table, high: Table) -> Table:
    """The mass of each interval, from the tail that is nearer, so that small ones are exact too."""
    below = density.cdf(high) - density.cdf(low)
    above = density.sf(low) - density.sf(high)
    return np.where(low < density.median(), below, above)


def over_log_snr(density: Any, bar: Table) -> Table:
    cut = edges(bar)
    return padded(normalized(masses(density, cut[1:], cut[:-1])), bar)


def cauchy(bar: Table, mean: float, scale: float) -> Table:
    """From the angle between two edges, and not from the difference of two large ones."""
    cut = (edges(bar) - mean) / scale
    return padded(normalized(np.arctan2(cut[:-1] - cut[1:], 1 + cut[:-1] * cut[1:])), bar)


# ---- Densities of u ------------------------------------------------------------------------------


def logit_normal(steps: int, mean: float, std: float) -> Table:
    with np.errstate(divide="ignore"):
        cut = np.log(np.arange(steps + 1.0) / np.arange(float(steps), -1.0, -1.0))
    return normalized(masses(stats.norm(mean, std), cut[:-1], cut[1:]))


@functools.cache
def mode(steps: int, scale: float) -> tuple[float, ...]:
    """By 50 digits: u - 1/2 = -(1+a)y + a/2·sin(πy) with y = x - 1/2, solved for y at every edge.

    SD3's u = 1 - x - a(cos²(πx/2) - 1 + x), written about its point of symmetry.
    """
    value = (2 * np.arange(steps + 1) - steps) / (2 * steps)
    low, high = np.full(steps + 1, -0.5), np.full(steps + 1, 0.5)
    for _ in range(60):
        y = (low + high) / 2
        above = -(1 + scale) * y + scale / 2 * np.sin(np.pi * y) > value
        low, high = np.where(above, y, low), np.where(above, high, y)
    with mpmath.workdps(50):
        solved = [_refine(float(y), int(2 * i - steps), steps, scale) for i, y in enumerate(low)]
        return tuple(float(a - b) for a, b in itertools.pairwise(solved))


def _refine(start: float, twice: int, steps: int, scale: float) -> Any:
    """Newton's steps from a float64 solution of u - 1/2 = twice/2T."""
    if abs(twice) in (0, steps):
        return -mpmath.sign(twice) / 2
    y, value, a = mpmath.mpf(start), mpmath.mpf(twice) / (2 * steps), mpmath.mpf(scale)
    for _ in range(4):
        slope = -(1 + a) + a * mpmath.pi / 2 * mpmath.cos(mpmath.pi * y)
        y -= (-(1 + a) * y + a / 2 * mpmath.sin(mpmath.pi * y) - value) / slope
    return y


def cosmap(steps: int) -> Table:
    """u = 1 - 1/(tan(πx/2)+1), hence x = 2/π·arctan(u/(1-u))."""
    x = 2 / np.pi * np.arctan2(np.arange(steps + 1.0), np.arange(float(steps), -1.0, -1.0))
    return np.diff(x)


def beta(steps: int, s: Any) -> Table:
    cut = np.clip(np.arange(steps + 1) / steps, s.low, s.high)
    return normalized(masses(stats.beta(s.alpha, s.beta, s.low, s.high - s.low), cut[:-1], cut[1:]))


# ---- The user's own curves -----------------------------------------------------------------------


def curve_masses(points: Any, low: Table, high: Table) -> Table:
    """The area under SciPy's curve through (x, y) points, over each interval."""
    x, y = np.array(points, float).T
    area = PchipInterpolator(x, y).antiderivative()
    return np.maximum(0, area(np.clip(high, x[0], x[-1])) - area(np.clip(low, x[0], x[-1])))


def own_table(bar: Table, s: Any) -> Table:
    values = np.array(s.values, float)
    if values.ndim == 1:
        return normalized(values / values.max())
    if s.over == "u":
        cut = np.arange(len(bar) + 1) / len(bar)
        return normalized(curve_masses(values, cut[:-1], cut[1:]))
    cut = edges(bar)
    return padded(normalized(curve_masses(values, cut[1:], cut[:-1])), bar)


def gaussian_over_steps(steps: int, mean: float, std: float) -> Table:
    cut = np.arange(steps + 1.0)
    return normalized(masses(stats.norm(mean, std), cut[:-1], cut[1:]))


# ---- Combinators ---------------------------------------------------------------------------------


def progress(step: int, start: int, end: int) -> float:
    """Training progress in whole thousandths."""
    return min(max((1000 * (step - start) // (end - start)) / 1000, 0.0), 1.0)


def shifted(bar: Table, p: Table, shift: float) -> Table:
    """A density that is constant over each bin of λ, moved by -2 ln a, and cut into the bins again."""
    cut = edges(bar)[::-1]
    inside = np.count_nonzero(bar)
    below = np.concatenate([[0.0], np.cumsum(p[:inside][::-1])])
    moved = np.diff(np.interp(cut + 2 * math.log(shift), cut, below))[::-1]
    return normalized(np.concatenate([moved, p[inside:]]))


def truncated(p: Table, start: int, end: int) -> Table:
    place = np.arange(len(p))
    return normalized(np.where((place >= start) & (place < end), p, 0))


# ---- Samplings that learn from losses ------------------------------------------------------------


def loss_second_moment(steps: int, s: Any, updates: Updates, reach: Table) -> Table:
    seen: list[list[float]] = [[] for _ in range(steps)]
    for t, losses in updates:
        for place, loss in zip(t, losses, strict=True):
            seen[place].append(float(loss))
    uniform = np.full(steps, 1 / steps)
    if any(reached and len(values) < s.history for reached, values in zip(reach, seen, strict=True)):
        return uniform
    root = np.array(
        [math.sqrt(math.fsum(x * x for x in values[-s.history :]) / s.history) for values in seen]
    )
    share = normalized(root) if root.any() else uniform
    return (1 - s.uniform_prob) * share + s.uniform_prob / steps


def running_means(steps: int, bins: int, decay: float, updates: Updates, w: Table) -> Table:
    """The exponential mean of w·loss in each bin of steps, its start at zero divided out; NaN where empty."""
    total, count = np.zeros(bins), np.zeros(bins, np.int64)
    for t, losses in updates:
        for place, loss in zip(t, losses, strict=True):
            index = int(place) * bins // steps
            total[index] = decay * total[index] + (1 - decay) * float(w[place]) * float(loss)
            count[index] += 1
    with np.errstate(invalid="ignore"):
        return total / (1 - decay**count)


def floored(mean: Table, share: float, reach: Table) -> Table | None:
    """The mean of each step's bin, but at least this share of their average; None before all can be known."""
    index = np.arange(len(reach)) * len(mean) // len(reach)
    if np.isnan(mean[index[reach > 0]]).any() or not np.nansum(mean):
        return None
    return np.fmax(mean, share * np.nanmean(mean))[index]


def adaptive(steps: int, s: Any, updates: Updates, w: Table, reach: Table) -> Table:
    mean = floored(running_means(steps, s.bins, s.decay, updates, w), 1e-3, reach)
    return np.full(steps, 1 / steps) if mean is None else normalized(mean)


def info_noise(bar: Table, s: Any, updates: Updates, w: Table, prediction: str, reach: Table) -> Table:
    """P ∝ ρ/w: the mean ε loss of each bin per ln σ, gated, over the weight of the x₀ loss.

    w and the losses are those of the target.
    """
    steps, inside = len(bar), bar > 0
    s_ratio = bar[inside] / (1 - bar[inside])
    sigma = s_ratio**-0.5
    # The target's loss for one of x₀.
    per_sample = {
        "epsilon": s_ratio,
        "sample": np.ones_like(sigma),
        "v": s_ratio + 1,
        "flow": (1 + np.sqrt(s_ratio)) ** 2,
    }[prediction]
    to_epsilon = np.concatenate([s_ratio / per_sample, np.zeros(steps - len(sigma))])
    counts = np.zeros(s.bins, np.int64)
    for t, _ in updates:
        np.add.at(counts, t * s.bins // steps, 1)
    index = np.arange(steps) * s.bins // steps
    if (counts[index[reach >= 0.01 / steps]] < s.warm_up).any():
        return np.full(steps, 1 / steps)
    mean = running_means(steps, s.bins, s.decay, updates, to_epsilon)
    # A bin without losses takes its nearest neighbour's.
    known = np.flatnonzero(~np.isnan(mean))
    near = [known[np.argmin(abs(known - bin_))] for bin_ in range(s.bins)]
    mean = mean[near][index][inside]
    if not mean.any():
        return np.full(steps, 1 / steps)
    rate = mean / sigma
    c = sigma[np.flatnonzero(rate >= s.p * rate.max())[-1]] if s.c is None else s.c
    gate = 1 / (1 + (c / sigma) ** s.n)
    width = -np.diff(edges(bar)) / 2
    mass = mean * gate * width / (w[inside] * per_sample)
    return padded(normalized(mass / mass.max()), bar)


# ---- Any of them ---------------------------------------------------------------------------------


def asymmetric(bar: Table, s: Any) -> Table:
    tau = reference.convergence_start(bar, s.r) if s.tau is None else s.tau
    return np.array([float(mass) for mass in reference.asymmetric(len(bar), s.k, tau)])


def _clts(bar: Table, s: Any, step: int) -> Table:
    steps = len(bar)
    mean = 0.3 * steps if s.mean is None else s.mean
    std = 0.2 * steps if s.std is None else s.std
    done = progress(step, 0, s.end_step)
    return (1 - done) / steps + done * gaussian_over_steps(steps, mean, std)


def _noise_to_detail(bar: Table, s: Any, step: int) -> Table:
    done = progress(step, 0, s.end_step)
    first, second = (over_log_snr(stats.laplace(mean, s.scale), bar) for mean in (-s.mean, s.mean))
    return (1 - done) * first + done * second


IN_LOG_SNR: dict[str, Callable[[Table, Any, float], Table]] = {
    # ln σ ~ N(m, s²) is λ ~ N(-2m, (2s)²).
    "log_normal": lambda bar, s, move: over_log_snr(stats.norm(-2 * s.p_mean - move, 2 * s.p_std), bar),
    "laplace": lambda bar, s, move: over_log_snr(stats.laplace(s.mean - move, s.scale), bar),
    "cauchy": lambda bar, s, move: cauchy(bar, s.mean - move, s.scale),
}
"""P of the densities of λ, moved down by so much."""

IN_STEPS: dict[str, Callable[[Table, Any, int], Table]] = {
    "uniform": lambda bar, s, step: np.full(len(bar), 1 / len(bar)),
    "asymmetric": lambda bar, s, step: asymmetric(bar, s),
    "logit_normal": lambda bar, s, step: logit_normal(len(bar), s.mean, s.std),
    "mode": lambda bar, s, step: np.array(mode(len(bar), s.scale)),
    "cosmap": lambda bar, s, step: cosmap(len(bar)),
    "beta": lambda bar, s, step: beta(len(bar), s),
    "table": lambda bar, s, step: own_table(bar, s),
    "clts": _clts,
    "noise_to_detail": _noise_to_detail,
}


def probabilities(
    bar: Table,
    s: Any,
    step: int = 0,
    updates: Updates = (),
    w: Table | None = None,
    reach: Table | None = None,
    prediction: str = "epsilon",
) -> Table:
    """P of a sampling at a training step, after `updates`: time steps and losses, in order.

    w are the weights without 1/(T·P), of the target's loss; None: 1. What learns waits for the losses of all
    that can be drawn, where `reach` is above 0: P before any loss, unless it is given.
    """
    if updates and reach is None:
        reach = probabilities(bar, s, step)

    def of(part: Any) -> Table:
        return probabilities(bar, part, step, updates, w, reach, prediction)

    steps = len(bar)
    if s.name in IN_LOG_SNR:
        return IN_LOG_SNR[s.name](bar, s, 0.0)
    if s.name in IN_STEPS:
        return IN_STEPS[s.name](bar, s, step)
    if s.name == "shifted" and s.base.name == "table" and s.base.over == "log_snr":
        cut = edges(bar) + 2 * math.log(s.shift)
        return padded(normalized(curve_masses(s.base.values, cut[1:], cut[:-1])), bar)
    if s.name == "shifted":
        if s.base.name in IN_LOG_SNR:
            return IN_LOG_SNR[s.base.name](bar, s.base, 2 * math.log(s.shift))
        return shifted(bar, of(s.base), s.shift)
    if s.name == "truncated":
        return truncated(of(s.base), s.start, steps if s.end is None else s.end)
    if s.name == "stages":
        return of([part for start, part in s.stages if start <= step][-1])
    if s.name == "mixture":
        return s.share * of(s.a) + (1 - s.share) * of(s.b)
    if s.name == "blend":
        done = progress(step, s.start_step, s.end_step)
        return (1 - done) * of(s.first) + done * of(s.second)
    if s.name == "loss_second_moment":
        return loss_second_moment(steps, s, updates, np.ones(steps) if reach is None else reach)
    ones = np.ones(steps)
    if s.name == "info_noise":
        given = ones if w is None else w
        return info_noise(bar, s, updates, given, prediction, ones if reach is None else reach)
    assert s.name == "adaptive", f"no oracle for {s.name}"
    return adaptive(steps, s, updates, ones if w is None else w, ones if reach is None else reach)
