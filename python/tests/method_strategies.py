"""What Hypothesis draws: schedules, and every method with valid parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import oracle_samplings
from hypothesis import strategies as st
from scipy.special import expit

from speediff import NoiseSchedule, weighting
from speediff.sampling import (
    CLTS,
    Adaptive,
    Asymmetric,
    Beta,
    Blend,
    Cauchy,
    CosMap,
    InfoNoise,
    Laplace,
    LogitNormal,
    LogNormal,
    LossSecondMoment,
    Mixture,
    Mode,
    NoiseToDetail,
    Shifted,
    Stages,
    Table,
    Truncated,
    Uniform,
)

if TYPE_CHECKING:
    from oracle_checks import Table as Array


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_subnormal=False)


class Drawn(NamedTuple):
    bar: Array
    schedule: NoiseSchedule


@st.composite
def schedules(draw: st.DrawFn, most: int = 5000) -> Drawn:
    """λ that falls in steps of very different size, with or without a last entry of no signal."""
    steps = draw(st.integers(3, 60) | st.integers(61, most) if most > 60 else st.integers(3, most))
    first, last = draw(numbers(2, 15)), draw(numbers(-15, -2))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    falls = 0.05 + random.random(steps - 1) ** draw(st.integers(0, 8))
    level = first - (first - last) * np.concatenate([[0], np.cumsum(falls) / falls.sum()])
    bar = expit(level)
    if draw(st.booleans()):
        bar[-1] = 0
    return Drawn(bar, NoiseSchedule.from_alphas_cumprod(bar))


# ---- Samplings -----------------------------------------------------------------------------------

LEVEL, WIDTH = numbers(-8, 8), numbers(0.05, 5)
HEIGHT = st.just(0.0) | numbers(0.01, 10)


@st.composite
def knots(draw: st.DrawFn, over: str, *, whole: bool = False) -> tuple[tuple[float, float], ...]:
    """Knots with their values, and a good part of the area where every schedule has its steps."""
    # A schedule of three steps, the last of which has no signal, may have all its λ between 0 and 15.
    low, high, shares = (0.0, 1.0, (0.45, 0.55)) if over == "u" else (-16.0, 16.0, (0.45, 0.98))
    inner = [low + (high - low) * share for share in shares]
    places = {round(low + (high - low) * draw(numbers(0, 1)), 3) for _ in range(draw(st.integers(0, 5)))}
    ends = {low, high} if whole else set()
    # SciPy's powers of x cancel where a curve comes down to 0, which a large factor would show.
    positive = numbers(0.01, 10)
    heights = {
        place: draw(positive if whole or inner[0] <= place <= inner[1] else HEIGHT) for place in places | ends
    }
    return tuple(sorted({**heights, **{place: draw(numbers(0.5, 10)) for place in inner}}.items()))


def tables(kind: Any, steps: int, *, whole: bool = False) -> st.SearchStrategy[Any]:
    values = st.lists(HEIGHT, min_size=steps, max_size=steps).filter(any)
    every = [st.builds(kind, knots(over, whole=whole), st.just(over)) for over in ("u", "log_snr")]
    return st.one_of(*every, *([st.builds(kind, values)] if steps <= 60 else []))


def of_steps(steps: int) -> dict[str, st.SearchStrategy[Any]]:
    """Every sampling but the combinators, for so many steps."""
    part = numbers(0, 1).map(lambda share: share * steps)
    return {
        "uniform": st.just(Uniform()),
        "asymmetric": st.builds(Asymmetric, numbers(1, 1e3), tau=st.integers(1, steps - 1)),
        "log_normal": st.builds(LogNormal, numbers(-3, 3), numbers(0.3, 3)),
        "logit_normal": st.builds(LogitNormal, numbers(-3, 3), numbers(0.1, 5)),
        "mode": st.builds(Mode, numbers(-1, oracle_samplings.LIMIT)),
        "cosmap": st.just(CosMap()),
        "beta": st.builds(Beta, numbers(0.2, 20), numbers(0.2, 20))
        | st.builds(Beta, numbers(0.2, 20), numbers(0.2, 20), numbers(0, 0.4), numbers(0.6, 1)),
        "table": tables(Table, steps),
        "clts": st.builds(
            CLTS, part, numbers(0.05, 1).map(lambda share: share * steps), st.integers(1, 10**6)
        ),
        "noise_to_detail": st.builds(NoiseToDetail, LEVEL, WIDTH, st.integers(1, 10**6)),
        "laplace": st.builds(Laplace, LEVEL, WIDTH),
        "cauchy": st.builds(Cauchy, LEVEL, WIDTH),
        "loss_second_moment": st.builds(LossSecondMoment, st.integers(1, 5), numbers(1e-6, 1)),
        "info_noise": st.builds(
            InfoNoise,
            st.integers(1, min(steps, 200)),
            numbers(0, 0.999999),
            st.none() | st.just(0.0) | numbers(0.01, 10),
            numbers(0.5, 5),
            numbers(1e-4, 0.5),
            st.integers(1, 3),
        ),
        "adaptive": st.builds(Adaptive, st.integers(1, min(steps, 200)), numbers(0, 0.999999)),
    }


@st.composite
def combined(draw: st.DrawFn, steps: int) -> Any:
    """A combinator over such samplings, of which one at least reaches every step."""
    simple, broad = (
        of_steps(steps),
        st.sampled_from(
            [
                Uniform(),
                CosMap(),
                Beta(),
                Mode(),
                Asymmetric(3, tau=1),
            ]
        ),
    )
    kind = draw(st.sampled_from([Shifted, Truncated, Mixture, Blend, Stages]))
    if kind is Truncated:
        start = draw(st.integers(0, steps - 1))
        end = draw(st.none() | st.integers(start + 1, steps))
        return Truncated(
            draw(broad | st.builds(Mixture, broad, simple["laplace"], numbers(0.1, 1))), start, end
        )
    other = draw(st.one_of(*simple.values()))
    if kind is Shifted:
        base = draw(broad | simple["laplace"] | simple["cauchy"] | simple["logit_normal"])
        return Shifted(draw(st.sampled_from([base, Mixture(draw(broad), other, 0.5)])), draw(numbers(0.2, 5)))
    if kind is Stages:
        starts = sorted(draw(st.sets(st.integers(1, 10**6), max_size=3)))
        return Stages([(start, draw(broad | st.just(other))) for start in (0, *starts)])
    if kind is Mixture:
        return Mixture(other, draw(broad), draw(numbers(0, 0.9)))
    start = draw(st.integers(0, 10**4))
    return Blend(draw(broad), other, start, start + draw(st.integers(1, 10**6)))


def samplings(steps: int) -> st.SearchStrategy[Any]:
    return st.one_of(*of_steps(steps).values()) | combined(steps)


# ---- Weightings ----------------------------------------------------------------------------------

POSITIVE = numbers(0.01, 100)
WEIGHTINGS: dict[str, st.SearchStrategy[Any]] = {
    "uniform": st.just(weighting.Uniform()),
    "change_aware": st.builds(weighting.ChangeAware, numbers(0.5, 1)),
    "p2": st.builds(weighting.P2, numbers(0.01, 10), numbers(0.3, 3)),
    "min_snr": st.builds(weighting.MinSNR, POSITIVE),
    "soft_min_snr": st.builds(weighting.SoftMinSNR, POSITIVE),
    "debiased": st.just(weighting.Debiased()),
    "snr": st.just(weighting.SNR()),
    "inverse_snr": st.just(weighting.InverseSNR()),
    "max_snr": st.builds(weighting.MaxSNR, POSITIVE),
    "truncated_snr": st.just(weighting.TruncatedSNR()),
    "sigmoid": st.builds(weighting.Sigmoid, numbers(-5, 5)),
    "edm": st.builds(weighting.EDM, numbers(0.1, 10)),
    "sigma_sqrt": st.just(weighting.SigmaSqrt()),
    "cosmap": st.just(weighting.CosMap()),
    "bsmntw": st.just(weighting.BSMNTW()),
    "linear_sigma": st.builds(weighting.LinearSigma, numbers(0, 10)),
    "table": tables(weighting.Table, 61, whole=True),
}
