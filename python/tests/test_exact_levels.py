"""Noise levels and weights within one unit in the last place of high precision, from the oracle's bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
import pytest
import reference

from speediff import SigmaSampler
from speediff.sampling import (
    Asymmetric,
    Beta,
    Cauchy,
    CosMap,
    Laplace,
    LogitNormal,
    LogNormal,
    Mixture,
    Mode,
    Stages,
    Table,
    Truncated,
)
from speediff.weighting import P2, ChangeAware, MinSNR, SigmaSqrt, Sigmoid

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 400
STEP = 3
mp = mpmath.mp


def normal(p: Any) -> Any:
    return mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)


def of_time(t: Any) -> Any:
    """σ of rectified flow."""
    return t / (1 - t)


def vp(p: Any) -> Any:
    t = mpmath.mpf(1e-5) + (1 - mpmath.mpf(1e-5)) * p
    return mpmath.sqrt(mpmath.expm1(mpmath.mpf(19.9) / 2 * t * t + mpmath.mpf(0.1) * t))


def ve(p: Any) -> Any:
    return mpmath.mpf(0.02) * (100 / mpmath.mpf(0.02)) ** p


def laplace(p: Any, mean: float, scale: float) -> Any:
    """σ, which falls as λ rises."""
    q = 1 - p
    level = mean + scale * (mpmath.log(2 * q) if q < 0.5 else -mpmath.log(2 * p))
    return mpmath.exp(-level / 2)


def laplace_within(p: Any, mean: float, scale: float, low: Any, high: Any) -> Any:
    """The same, cut to a range of σ and renormalized."""

    def below(sigma: Any) -> Any:
        x = (-2 * mpmath.log(sigma) - mean) / scale
        return mpmath.exp(-x) / 2 if x > 0 else 1 - mpmath.exp(x) / 2

    return laplace(below(low) + (below(high) - below(low)) * p, mean, scale)


def cauchy(p: Any) -> Any:
    """λ = 1 + cot(πp)/2; ln σ is kept within [-87, 88]."""
    return mpmath.exp(min(88, max(-87, -(1 + 0.5 / mpmath.tan(mpmath.pi * p)) / 2)))


def beta(p: Any, a: float, b: float) -> Any:
    def excess(u: Any) -> Any:
        return mpmath.betainc(a, b, 0, u, regularized=True) - p

    # Safe from a start of nine digits.
    from scipy import stats

    return mpmath.findroot(excess, mpmath.mpf(float(stats.beta(a, b).ppf(float(p)))), tol=1e-25)


def mode(p: Any, scale: float) -> Any:
    x = 1 - p
    return 1 - x - scale * (mpmath.cos(mpmath.pi * x / 2) ** 2 - 1 + x)


def asymmetric(p: Any) -> Any:
    """EDM's density, divided by 5 beyond σ = 1.5."""
    below = mpmath.ncdf((mpmath.log(1.5) + mpmath.mpf(1.2)) / mpmath.mpf(1.2))
    total = 5 * below + (1 - below)
    q = p * total / 5 if p * total < 5 * below else 1 - (1 - p) * total
    return mpmath.exp(mpmath.mpf(-1.2) + mpmath.mpf(1.2) * normal(q))


def mixture(p: Any) -> Any:
    """0.3 of Laplace(1, 1), and the rest of LogNormal(0, 1)."""
    share = mpmath.mpf(0.3)
    return laplace(p / share, 1, 1) if p < share else mpmath.exp(normal((p - share) / (1 - share)))


def within(p: Any, low: float, high: float) -> Any:
    """A probability within a range of probabilities."""
    return mpmath.mpf(low) + (mpmath.mpf(high) - mpmath.mpf(low)) * p


def line(p: Any) -> Any:
    """u with a density that rises in a straight line from 1 at ¼ to 3 at ¾."""
    return mpmath.mpf(0.25) + (mpmath.sqrt(1 + 8 * p) - 1) / 4


VP_RANGE = vp(mpmath.mpf(0)), vp(mpmath.mpf(1))
CASES: list[tuple[str, dict[str, Any], Callable[[Any], Any]]] = [
    ("edm", {}, lambda p: mpmath.exp(mpmath.mpf(-1.2) + mpmath.mpf(1.2) * normal(p))),
    ("edm", {"sampling": LogNormal(0.5, 3)}, lambda p: mpmath.exp(0.5 + 3 * normal(p))),
    ("edm", {"sampling": Cauchy(1, 0.5)}, cauchy),
    ("edm", {"sampling": Asymmetric(5, r=10)}, asymmetric),
    ("edm", {"sampling": Mixture(Laplace(1, 1), LogNormal(0, 1), 0.3)}, mixture),
    ("vp", {}, vp),
    ("vp", {"sampling": Laplace(1, 2)}, lambda p: laplace_within(p, 1, 2, *VP_RANGE)),
    ("ve", {}, ve),
    ("flow", {}, of_time),
    ("flow", {"sampling": LogitNormal(-0.5, 0.7)}, lambda p: mpmath.exp(-0.5 + mpmath.mpf(0.7) * normal(p))),
    ("flow", {"sampling": "logit_normal", "shift": 3.0}, lambda p: 3 * mpmath.exp(normal(p))),
    ("flow", {"sampling": Laplace(0.25, 1)}, lambda p: laplace(p, 0.25, 1)),
    ("flow", {"sampling": CosMap()}, lambda p: mpmath.tan(mpmath.pi * p / 2)),
    ("flow", {"sampling": Mode(1.29)}, lambda p: of_time(mode(p, 1.29))),
    ("flow", {"sampling": Beta(0.75, 1)}, lambda p: of_time(p ** (1 / mpmath.mpf(0.75)))),
    ("flow", {"sampling": Beta(1.5, 2)}, lambda p: of_time(beta(p, 1.5, 2))),
    ("flow", {"sampling": Beta(0.5, 3)}, lambda p: of_time(beta(p, 0.5, 3))),
    ("flow", {"sampling": Beta(1.5, 2, low=0.1, high=0.7)},
     lambda p: of_time(within(beta(p, 1.5, 2), 0.1, 0.7))),
    ("flow", {"sampling": Truncated(low=0.25, high=0.75)}, lambda p: of_time(within(p, 0.25, 0.75))),
    ("flow", {"sampling": Table([(0.25, 1), (0.75, 3)])}, lambda p: of_time(line(p))),
    ("edm", {"sampling": Stages([(0, Laplace(1, 1)), (2, LogNormal(0.5, 3))])},
     lambda p: mpmath.exp(0.5 + 3 * normal(p))),
]  # fmt: skip


def vp_below(sigma: Any) -> Any:
    """VP's u at σ, in [0, 1]."""
    first, growth = mpmath.mpf(1e-5), mpmath.log1p(sigma**2)
    t = (mpmath.sqrt(mpmath.mpf(0.1) ** 2 + 2 * mpmath.mpf(19.9) * growth) - mpmath.mpf(0.1)) / mpmath.mpf(
        19.9
    )
    return min(1, max(0, (t - first) / (1 - first)))


def ve_below(sigma: Any) -> Any:
    """The same of VE, whose ln σ is uniform."""
    return min(1, max(0, mpmath.log(sigma / mpmath.mpf(0.02)) / mpmath.log(100 / mpmath.mpf(0.02))))


def moved(quantile: Any, below: Any, low: Any, high: Any) -> Callable[[Any, Any], Any]:
    """σ of a density that is moved by a and cut to the process's range again."""

    def level(p: Any, a: Any) -> Any:
        first, last = below(low / a), below(high / a)
        return a * quantile(first + (last - first) * p)

    return level


VE_RANGE = mpmath.mpf(0.02), mpmath.mpf(100)
MOVED: list[tuple[str, dict[str, Any], Callable[[Any, Any], Any]]] = [
    ("vp", {}, moved(vp, vp_below, *VP_RANGE)),
    ("ve", {}, moved(ve, ve_below, *VE_RANGE)),
    ("ve", {"sampling": Truncated(low=0.1, high=4.0)},
     lambda p, a: ve(within(p, *(ve_below(max(edge, 0.02) if i == 0 else min(edge, 100))
                                 for i, edge in enumerate((a * 0.1, a * 4)))))),
    ("vp", {"sampling": Laplace(1, 2)},
     lambda p, a: laplace_within(p, 1 - 2 * mpmath.log(a), 2, *VP_RANGE)),
    ("ve", {"sampling": Laplace(0, 0.5)},
     lambda p, a: laplace_within(p, -2 * mpmath.log(a), 0.5, *VE_RANGE)),
]  # fmt: skip


def units(found: np.ndarray[Any, Any], exact: list[Any]) -> float:
    """The largest distance in units in the last place of a float32."""
    distances = [
        abs(mpmath.mpf(float(value)) - target) / mpmath.mpf(float(np.spacing(np.float32(target))))
        for value, target in zip(found, exact, strict=True)
    ]
    return float(max(distances))


def probabilities(seed: int) -> list[Any]:
    """The middle of what each entry's 64 bits stand for."""
    bits = reference.bits(seed, STEP, 0, COUNT)
    return [(mpmath.mpf(int(fraction)) + 0.5) / mpmath.mpf(2) ** 64 for fraction in bits]


@pytest.mark.parametrize(("name", "options", "sigma"), CASES, ids=lambda part: str(part)[:60])
def test_levels_are_those_of_high_precision(
    name: str, options: dict[str, Any], sigma: Callable[[Any], Any]
) -> None:
    with mp.workdps(30):
        exact = [sigma(p) for p in probabilities(9)]
        if name == "flow":
            exact = [value / (1 + value) for value in exact]
        x, _ = getattr(SigmaSampler, name)(seed=9, **options).sample(COUNT, step=STEP)
        assert units(x, exact) <= 1


@pytest.mark.parametrize(("name", "options", "sigma"), MOVED, ids=lambda part: str(part)[:60])
def test_moved_levels_are_those_of_high_precision(
    name: str, options: dict[str, Any], sigma: Callable[[Any, Any], Any]
) -> None:
    few = [1.0, 1 + 2**-40, 1 - 2**-40, 1.001, 1.5, 3.0, 0.5, 0.3, 6.93, 15.0, 0.07, 16.0, 0.05, 70.0, 1 / 70]
    shift = np.concatenate([np.resize(few, COUNT // 2), np.random.default_rng(2).uniform(0.3, 4, COUNT // 2)])
    with mp.workdps(30):
        numbers = zip(probabilities(11), shift, strict=True)
        exact = [sigma(p, mpmath.mpf(float(a))) for p, a in numbers]
        x, w = getattr(SigmaSampler, name)(seed=11, **options).sample(COUNT, step=STEP, shift=shift)
        assert units(x, exact) <= 1
        assert units(w, [value**-2 for value in exact]) <= 1


@pytest.mark.parametrize("name", ["vp", "ve"])
def test_moved_tails_are_those_of_high_precision(name: str) -> None:
    total = 400_000
    bits = reference.bits(12, STEP, 0, total)
    # A few draws are below 2⁻¹⁴, and as near to 1.
    order = np.argsort(bits)
    ends = np.concatenate([order[:60], order[-60:]])
    shift = np.ones(total)
    shift[ends] = np.resize([1.0001, 1.7, 5.0, 0.9999, 0.4, 0.1], len(ends))
    sigma = next(function for case, options, function in MOVED if case == name and not options)
    x, _ = getattr(SigmaSampler, name)(seed=12).sample(total, step=STEP, shift=shift)
    with mp.workdps(30):
        exact = [
            sigma((mpmath.mpf(int(bits[i])) + 0.5) / mpmath.mpf(2) ** 64, mpmath.mpf(float(shift[i])))
            for i in ends
        ]
        assert units(x[ends], exact) <= 1


def snr(sigma: Any) -> Any:
    return 1 / sigma**2


WEIGHTS: list[tuple[str, Any, Callable[[Any], Any]]] = [
    ("edm", None, lambda s: (s**2 + 0.25) / (s * 0.5) ** 2),
    ("edm", MinSNR(), lambda s: min(snr(s), 5)),
    ("edm", P2(1, 0.5), lambda s: snr(s) / (1 + snr(s)) ** 0.5),
    ("edm", ChangeAware(0.75), lambda s: 0.25 + 0.5 * 4 * (0.25 * s**2) / (0.25 + s**2) ** 2),
    ("vp", None, snr), ("ve", None, snr), ("flow", None, lambda _: 1),
    ("flow", SigmaSqrt(), lambda s: (1 + 1 / s) ** 2),
    ("flow", Sigmoid(2),
     lambda s: snr(s) / (1 + 1 / s) ** 2 / (1 + snr(s) * mpmath.exp(-2)) * 2 * (2 + s + 1 / s)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "weighting", "weight"), WEIGHTS, ids=lambda part: str(part)[:60])
def test_weights_are_those_of_high_precision(name: str, weighting: Any, weight: Callable[[Any], Any]) -> None:
    sigma = next(function for case, options, function in CASES if case == name and not options)
    with mp.workdps(30):
        exact = [weight(sigma(p)) for p in probabilities(10)]
        _, w = getattr(SigmaSampler, name)(seed=10, weighting=weighting).sample(COUNT, step=STEP)
        assert units(w, exact) <= 1


@pytest.mark.parametrize("name", ["edm", "vp", "ve", "flow"])
def test_levels_rise_with_the_uniform_number(name: str) -> None:
    bits = reference.bits(1, 0, 0, 200_000)
    x, _ = getattr(SigmaSampler, name)(seed=1).sample(200_000, step=0)
    assert (np.diff(x[np.argsort(bits)]) >= 0).all()
