"""P of every sampling, element by element, and what is drawn from it, against SciPy and diffusers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle_samplings as oracle
import pytest
from oracle_checks import TABLES, differs, pooled_chi_square
from scipy import stats
from scipy.special import expit
from statistics_helpers import UNLIKELY

import speediff
from speediff import NoiseSchedule, TimestepSampler
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
from speediff.weighting import P2

if TYPE_CHECKING:
    from collections.abc import Callable

NAN, INF = float("nan"), float("inf")
SAMPLINGS = [
    Uniform(), Asymmetric(5, r=1.6), LogNormal(), LogNormal(0.3, 0.4), LogNormal(p_mean=-3.0, p_std=0.25),
    LogitNormal(), LogitNormal(-1, 0.5), LogitNormal(mean=2.0, std=1.7), Mode(), Mode(-1), Mode(0),
    Mode(scale=1.75), Mode(oracle.LIMIT), CosMap(), Beta(), Beta(2, 5), Beta(alpha=0.5, beta=0.5),
    Beta(30, 3), CLTS(), NoiseToDetail(), NoiseToDetail(-2, 0.5), Laplace(), Laplace(-1, 1),
    Laplace(mean=1.3, scale=0.2), Cauchy(),
    Cauchy(mean=0.5, scale=0.3), Shifted(), Shifted(Uniform(), 1), Shifted(Laplace(), 3),
    Shifted(LogNormal(), shift=0.5),
    Shifted(Cauchy(), 6), Shifted(LogitNormal(), 3), Shifted(Beta(), 1 / 3),
    Shifted(Mixture(Laplace(), LogNormal()), 2), Truncated(), Truncated(Uniform(), 1, 3),
    Truncated(Laplace(), start=1, end=None), Mixture(), Mixture(LogNormal(), Beta(), share=0.3),
    Mixture(Shifted(LogitNormal()), Truncated(Uniform(), 1, 3), 0.2), Mixture(Laplace(), Mode(), 1),
    Blend(), Blend(LogNormal(), Beta(), start_step=0, end_step=10), LossSecondMoment(), Adaptive(bins=3),
    InfoNoise(bins=3),
    Beta(1.5, 1, low=0.001), Beta(2, 2, 0.25, 0.75), Table(), Table({0: 0.2, 0.3: 1, 1: 0.1}),
    Table([(0.2, 0), (0.5, 3), (0.6, 0), (0.7, 0), (0.9, 1)]), Table([(0.25, 1), (1, 0)]),
    Table([(-6, 0), (-1, 2), (0, 1), (4, 5)], "log_snr"), Shifted(Table({-5: 1, 5: 2}, "log_snr"), 2),
    Shifted(Table({0: 1, 1: 3}), 2), Stages(), Stages([(0, Beta()), (1, "uniform")]),
]  # fmt: skip


def schedule_of(table: str) -> NoiseSchedule:
    return NoiseSchedule.from_alphas_cumprod(TABLES[table])


def at_step(sampler: TimestepSampler, step: int) -> TimestepSampler:
    sampler.load_state_dict({**sampler.state_dict(), "step": step})
    return sampler


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_probabilities_are_those_of_the_oracle(table: str, sampling: Any) -> None:
    p = TimestepSampler(schedule_of(table), sampling, prediction="v").probabilities
    assert abs(math.fsum(p) - 1) < 1e-12
    assert not differs(p, oracle.probabilities(TABLES[table], sampling))


@pytest.mark.parametrize(
    ("name", "kind"),
    [(info.name, info.cls) for info in speediff.methods() if info.kind == "sampling" and info.implemented],
)
def test_a_name_stands_for_its_defaults(linear: NoiseSchedule, name: str, kind: Any) -> None:
    assert kind.name == name
    assert (
        TimestepSampler(linear, name, prediction="v").probabilities
        == TimestepSampler(linear, kind(), prediction="v").probabilities
    ).all()


@pytest.mark.parametrize("step", [0, 49, 50, 99, 12_345, 49_999, 50_000, 10**9])
@pytest.mark.parametrize(
    "sampling",
    [CLTS(), CLTS(mean=700, std=20.5, end_step=20_000), NoiseToDetail(),
     NoiseToDetail(2, 0.4, 15_000), Blend(), Blend(Beta(), LogNormal(), 40, 140),
     Mixture(CLTS(), Laplace(), 0.25), Shifted(CLTS(), 2), Truncated(Blend(), 100, 900),
     Stages(), Stages([(0, "uniform"), (50, Blend(Beta(), LogNormal(), 40, 140)), (99, Beta(2, 2))]),
     Truncated(Stages([(0, "beta"), (49_999, CLTS())]), 100, 900)],
    ids=str,
)  # fmt: skip
def test_what_follows_progress_moves_in_whole_thousandths(sampling: Any, step: int) -> None:
    bar = TABLES["cosine"]
    sampler = at_step(TimestepSampler(schedule_of("cosine"), sampling), step)
    expected = oracle.probabilities(bar, sampling, step)
    assert not differs(sampler.probabilities, expected)
    counts = np.bincount(sampler.sample(300_000, step=step)[0], minlength=1000)
    assert pooled_chi_square(counts, expected) > UNLIKELY
    again = at_step(TimestepSampler(schedule_of("cosine"), sampling), max(step - 60, 0))
    for _ in range(max(step - 60, 0), step):
        again.sample(7)
    assert (again.probabilities == sampler.probabilities).all()
    assert (again.sample(7)[0] == sampler.sample(7, step=step)[0]).all()


def test_known_values_hold() -> None:
    uniform_root = TimestepSampler(NoiseSchedule.cosine(10), Beta(0.8, 1)).probabilities
    assert not differs(uniform_root, np.diff((np.arange(11) / 10) ** 0.8))
    arcsine = TimestepSampler(NoiseSchedule.cosine(10), Mode(-1)).probabilities
    assert not differs(arcsine, -np.diff(2 / np.pi * np.arccos(np.sqrt(np.arange(11) / 10))))
    thirds = TimestepSampler(NoiseSchedule.cosine(3), LogitNormal()).probabilities
    assert thirds[1] == pytest.approx(math.erf(math.log(2) / math.sqrt(2)), rel=1e-14)
    # Three entries at λ = 2, 0, -2, with edges at 2, 1, -1, -2.
    table = NoiseSchedule.from_alphas_cumprod(expit(np.array([2.0, 0.0, -2.0])))
    inner, outer = 1 - math.exp(-2), math.exp(-2) - math.exp(-4)
    laplace = TimestepSampler(table, Laplace()).probabilities
    assert not differs(laplace, np.array([outer / 2, inner, outer / 2]) / (inner + outer))
    # Masses of a third over widths of 1, 2 and 1, moved by 1, which is a = √e: 0, 1/3 + 1/6 and 1/6 stay.
    shifted = TimestepSampler(table, Shifted(Mixture(Uniform(), Uniform()), math.sqrt(math.e))).probabilities
    assert not differs(shifted, np.array([0, 3 / 4, 1 / 4]))


@pytest.mark.parametrize(
    "sampling", [Laplace(-40, 1), LogNormal(4, 0.2), LogNormal(-6, 0.2), Cauchy(50, 0.1)]
)
def test_the_tail_of_a_density_outside_the_schedule_is_cut_exactly(sampling: Any) -> None:
    p = TimestepSampler(schedule_of("linear"), sampling).probabilities
    assert not differs(p, oracle.probabilities(TABLES["linear"], sampling), atol=0 if p.all() else 1e-30)


# ---- Draws ---------------------------------------------------------------------------------------

FINE = 100_000
IN_LOG_SNR: list[tuple[Any, Any]] = [
    (LogNormal(), stats.norm(2.4, 2.4)),
    (Laplace(0.5, 1), stats.laplace(0.5, 1)),
    (Cauchy(), stats.cauchy()),
    (Shifted(LogNormal(), 3), stats.norm(2.4 - 2 * math.log(3), 2.4)),
]
IN_U: list[tuple[Any, Callable[[Any], Any]]] = [
    (LogitNormal(-0.3, 0.8), lambda u: stats.norm(-0.3, 0.8).cdf(np.log(u / (1 - u)))),
    (Beta(), stats.beta(0.8, 1).cdf),
    (Beta(2, 5), stats.beta(2, 5).cdf),
    (CosMap(), lambda u: 2 / np.pi * np.arctan(u / (1 - u))),
]


def kolmogorov_smirnov(sampling: Any, schedule: NoiseSchedule, cumulative: Any, draws: int = 10**7) -> float:
    """The p-value of the largest distance at the inner edges of the steps."""
    t = TimestepSampler(schedule, sampling, seed=17).sample(draws)[0]
    counts = np.bincount(t, minlength=schedule.steps)
    distance = abs(np.cumsum(counts)[:-1] / draws - cumulative).max()
    return float(stats.kstwobign.sf(distance * math.sqrt(draws)))


@pytest.mark.parametrize(("sampling", "density"), IN_LOG_SNR, ids=str)
def test_ten_million_draws_follow_a_density_of_log_snr(sampling: Any, density: Any) -> None:
    level = np.linspace(11, -11, FINE)
    inner = density.cdf((level[:-1] + level[1:]) / 2)
    below, above = density.cdf(-11), density.cdf(11)
    cumulative = (above - inner) / (above - below)
    schedule = NoiseSchedule.from_alphas_cumprod(expit(level))
    assert kolmogorov_smirnov(sampling, schedule, cumulative) > UNLIKELY


@pytest.mark.parametrize(("sampling", "cdf"), IN_U, ids=str)
def test_ten_million_draws_follow_a_density_of_u(sampling: Any, cdf: Callable[[Any], Any]) -> None:
    schedule = NoiseSchedule.from_alphas_cumprod(np.linspace(0.999, 0.001, FINE))
    assert kolmogorov_smirnov(sampling, schedule, cdf(np.arange(1, FINE) / FINE)) > UNLIKELY


@pytest.mark.parametrize("table", ["linear", "zero terminal"])
@pytest.mark.parametrize(
    "sampling", [Laplace(), Cauchy(), LogNormal(), LogitNormal(), Mode(), Beta(), Shifted(Mode())], ids=str
)
def test_ten_million_draws_have_the_masses_of_their_bins(table: str, sampling: Any) -> None:
    t = TimestepSampler(schedule_of(table), sampling, seed=18).sample(10**7)[0]
    expected = oracle.probabilities(TABLES[table], sampling)
    assert pooled_chi_square(np.bincount(t, minlength=1000), expected) > UNLIKELY


@pytest.mark.parametrize(
    ("sampling", "options"),
    [
        # In diffusers a larger u is an earlier entry of the descending time steps: less noise.
        (LogitNormal(-0.7, 1.3), {"weighting_scheme": "logit_normal", "logit_mean": 0.7, "logit_std": 1.3}),
        (LogitNormal(), {"weighting_scheme": "logit_normal", "logit_mean": 0.0, "logit_std": 1.0}),
        (Mode(), {"weighting_scheme": "mode", "mode_scale": 1.29}),
        (Mode(-0.8), {"weighting_scheme": "mode", "mode_scale": -0.8}),
    ],
    ids=str,
)
def test_densities_are_those_of_diffusers(sampling: Any, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    training_utils = pytest.importorskip("diffusers.training_utils")
    generator = torch.Generator().manual_seed(19)
    u = training_utils.compute_density_for_timestep_sampling(
        batch_size=2 * 10**6, generator=generator, **options
    )
    descending = torch.arange(999, -1, -1)
    t = descending[(u * 1000).long().clamp(0, 999)].numpy()
    p = TimestepSampler(schedule_of("linear"), sampling).probabilities
    assert pooled_chi_square(np.bincount(t, minlength=1000), p) > UNLIKELY


def test_a_positive_logit_mean_is_more_noise(linear: NoiseSchedule) -> None:
    more, less = (TimestepSampler(linear, LogitNormal(mean, 0.5)).sample(1000)[0].mean() for mean in (1, -1))
    assert more > 650
    assert less < 350


# ---- Bad parameters ------------------------------------------------------------------------------

POSITIVE = [0, -1, NAN, INF, -INF]
FINITE = [NAN, INF, -INF]
BAD: list[tuple[type, str, list[float]]] = [
    (LogNormal, "p_mean", FINITE), (LogNormal, "p_std", POSITIVE),
    (LogitNormal, "mean", FINITE), (LogitNormal, "std", POSITIVE),
    (Mode, "scale", [-1.0000001, 1.752, 5, -3, *FINITE]),
    (Beta, "alpha", POSITIVE), (Beta, "beta", POSITIVE),
    (Beta, "low", [-0.1, 1, NAN]), (Beta, "high", [0, -1, 1.1, *FINITE]),
    (CLTS, "mean", FINITE), (CLTS, "std", POSITIVE), (CLTS, "end_step", [0, -1]),
    (NoiseToDetail, "mean", FINITE), (NoiseToDetail, "scale", POSITIVE), (NoiseToDetail, "end_step", [0, -1]),
    (Laplace, "mean", FINITE), (Laplace, "scale", POSITIVE),
    (Cauchy, "mean", FINITE), (Cauchy, "scale", POSITIVE),
    (Shifted, "shift", POSITIVE), (Mixture, "share", [-0.01, 1.01, *FINITE]),
    (Blend, "start_step", [-1, 50_000, 60_000]), (Blend, "end_step", [0, -1]),
    (Truncated, "start", [-1]), (Truncated, "end", [0, -1]),
    (Truncated, "low", [-0.1, *FINITE]), (Truncated, "high", [0, -1, NAN, -INF]),
    (LossSecondMoment, "history", [0, -1, -(2**70)]),
    (LossSecondMoment, "uniform_prob", [-0.001, 1.1, *FINITE]),
    (Adaptive, "bins", [0, -1, -(2**70)]), (Adaptive, "decay", [-0.1, 1, 1.5, *FINITE]),
    (InfoNoise, "bins", [0, -1, -(2**70)]), (InfoNoise, "decay", [-0.1, 1, 1.5, *FINITE]),
    (InfoNoise, "c", [-0.1, *FINITE]), (InfoNoise, "n", POSITIVE), (InfoNoise, "p", [0, 1, -1, NAN]),
    (InfoNoise, "warm_up", [0, -1, 2**32]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name", "value"), [(kind, name, value) for kind, name, values in BAD for value in values]
)
def test_a_parameter_out_of_its_range_is_named(kind: type, name: str, value: float) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match=rf"\b{name}\b"):
        kind(**{name: value})


INTEGERS = {"end_step", "start_step", "history", "bins", "start", "end", "warm_up"}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name, _ in BAD])
def test_a_parameter_of_another_type_is_named(kind: type, name: str) -> None:
    # None stands for a default where the parameter has one.
    for value in ("1", [1], True, 1j, *([2.5, 2.0] if name in INTEGERS else [])):
        with pytest.raises(speediff.SpeeDiffTypeError, match=rf"\b{name}\b"):
            kind(**{name: value})


@pytest.mark.parametrize("kind", [Shifted, Truncated, Mixture, Blend])
@pytest.mark.parametrize("part", [3, "no such name", None, Laplace, P2()])
def test_a_part_that_is_no_sampling_is_refused(kind: type, part: Any) -> None:
    with pytest.raises(speediff.SpeeDiffError):
        kind(part)


@pytest.mark.parametrize(
    ("sampling", "match"),
    [
        (Truncated(Uniform(), 1000, None), "start"), (Truncated(Uniform(), 0, 1001), "end"),
        (Adaptive(bins=1001), "bins"), (Mixture(Uniform(), Adaptive(bins=1001)), "bins"),
        # All mass on steps that are left out.
        (Truncated(Truncated(Uniform(), 0, 500), 600, 700), "."), (Laplace(1e5, 0.5), "."),
        (Shifted(Truncated(Uniform(), 0, 10), 1e9), "."), (Asymmetric(5, tau=1000), "tau"),
    ],
    ids=str,
)  # fmt: skip
def test_a_sampling_that_does_not_fit_the_schedule_is_refused(
    linear: NoiseSchedule, sampling: Any, match: str
) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match=match):
        TimestepSampler(linear, sampling)


def test_a_density_of_log_snr_needs_two_entries_with_signal() -> None:
    schedule = NoiseSchedule.from_alphas_cumprod([0.5, 0.0])
    with pytest.raises(speediff.SpeeDiffValueError):
        TimestepSampler(schedule, Laplace())
