"""Continuous processes: σ or t against closed forms and SciPy, weights against NVlabs' code, the contract."""

from __future__ import annotations

import functools
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle_weightings as oracle
import pytest
from oracle_checks import TABLES, differs
from oracle_levels import (
    EDM_CDF,
    MAKERS,
    curve,
    curve_of_level,
    kolmogorov_smirnov,
    of_flow_level,
    of_level,
    suppressed,
    ve_u,
    vp_time,
    vp_u,
    within,
)
from scipy import optimize, stats
from scipy.interpolate import PchipInterpolator
from scipy.special import expit, logit
from statistics_helpers import UNLIKELY

import speediff
import speediff.torch
from speediff import NoiseSchedule, SigmaSampler, TimestepSampler
from speediff.sampling import (
    CLTS,
    Adaptive,
    Asymmetric,
    Beta,
    Cauchy,
    CosMap,
    Laplace,
    LogitNormal,
    LogNormal,
    LossSecondMoment,
    Mixture,
    Mode,
    Shifted,
    Stages,
    Truncated,
    Uniform,
)
from speediff.sampling import Table as Curve
from speediff.weighting import (
    EDM,
    P2,
    SNR,
    ChangeAware,
    Importance,
    MinSNR,
    SoftMinSNR,
    ToEmphasis,
    Uncertainty,
)
from speediff.weighting import Table as CurveWeights

if TYPE_CHECKING:
    from collections.abc import Callable

    from oracle_samplings import Table

    Cdf = Callable[[Table], Table]

NAN, INF = float("nan"), float("inf")
TARGETS = {"edm": "sample", "vp": "sample", "ve": "sample", "flow": "flow", "fdm": "sample"}
IN_U = [(0.1, 0.2), (0.3, 1), (0.5, 0), (0.6, 0), (1, 0.5)]
IN_LEVEL = [(-3, 0), (0, 1), (1, 0.2), (6, 0.4)]
CASES: list[tuple[str, dict[str, Any], Cdf]] = [
    ("edm", {}, lambda sigma: stats.norm(-1.2, 1.2).cdf(np.log(sigma))),
    ("edm", {"p_mean": -0.4, "p_std": 1.0}, lambda sigma: stats.norm(-0.4, 1).cdf(np.log(sigma))),
    ("edm", {"sampling": LogNormal(0.5, 0.3)}, lambda sigma: stats.norm(0.5, 0.3).cdf(np.log(sigma))),
    ("edm", {"sampling": Laplace(0.3, 0.8)}, of_level(stats.laplace(0.3, 0.8))),
    ("edm", {"sampling": "laplace"}, of_level(stats.laplace(0, 0.5))),
    ("edm", {"sampling": Cauchy(1, 0.5)}, of_level(stats.cauchy(1, 0.5))),
    ("vp", {}, vp_u),
    ("vp", {"beta_d": 10.0, "beta_min": 0.5, "epsilon_t": 0.01},
     lambda sigma: (vp_time(sigma, 10.0, 0.5) - 0.01) / 0.99),
    ("vp", {"sampling": Laplace()}, of_level(stats.laplace(0, 0.5))),
    ("vp", {"sampling": Uniform()}, vp_u),
    ("vp", {"sampling": LogitNormal(0.5, 0.8)}, lambda sigma: stats.norm(0.5, 0.8).cdf(logit(vp_u(sigma)))),
    ("ve", {}, ve_u),
    ("ve", {"sigma_min": 0.1, "sigma_max": 10.0}, lambda sigma: np.log(sigma / 0.1) / math.log(100)),
    ("ve", {"sampling": Laplace(0.5, 0.4)}, of_level(stats.laplace(0.5, 0.4))),
    ("ve", {"sampling": Beta(2, 3)}, lambda sigma: stats.beta(2, 3).cdf(ve_u(sigma))),
    ("flow", {}, lambda t: t),
    ("flow", {"shift": 3.0}, lambda t: t / (3 - 2 * t)),
    ("flow", {"sampling": LogitNormal()}, lambda t: stats.norm().cdf(logit(t))),
    ("flow", {"sampling": LogitNormal(-0.5, 0.7), "shift": 3.0},
     lambda t: stats.norm(-0.5, 0.7).cdf(logit(t / (3 - 2 * t)))),
    ("flow", {"sampling": Beta()}, stats.beta(0.8, 1).cdf),
    ("flow", {"sampling": CosMap()}, lambda t: 2 / np.pi * np.arctan(t / (1 - t))),
    ("flow", {"sampling": Mode(-1)}, lambda t: 1 - 2 / np.pi * np.arccos(np.sqrt(t))),
    ("flow", {"sampling": Laplace(0.2, 1)}, of_flow_level(stats.laplace(0.2, 1))),
    ("flow", {"sampling": Laplace(0.2, 1), "shift": 2.0},
     of_flow_level(stats.laplace(0.2 - 2 * math.log(2), 1))),
    ("flow", {"sampling": LogNormal(0, 1)}, of_flow_level(stats.norm(0, 2))),
    ("fdm", {"process": "edm"}, EDM_CDF), ("fdm", {"process": "vp"}, vp_u), ("fdm", {"process": "ve"}, ve_u),
    ("flow", {"sampling": Curve(IN_U)}, curve(*IN_U)),
    ("flow", {"sampling": Curve(IN_U), "shift": 2.0}, lambda t: curve(*IN_U)(t / (2 - t))),
    ("vp", {"sampling": Curve(IN_U)}, lambda sigma: curve(*IN_U)(vp_u(sigma))),
    ("ve", {"sampling": Curve(IN_U)}, lambda sigma: curve(*IN_U)(ve_u(sigma))),
    ("edm", {"sampling": Curve(IN_LEVEL, "log_snr")}, curve_of_level(*IN_LEVEL)),
    ("ve", {"sampling": Curve(IN_LEVEL, "log_snr")}, curve_of_level(*IN_LEVEL)),
    ("vp", {"sampling": Curve(IN_LEVEL, "log_snr")}, curve_of_level(*IN_LEVEL)),
    ("flow", {"sampling": Curve(IN_LEVEL, "log_snr")}, lambda t: curve_of_level(*IN_LEVEL)(t / (1 - t))),
    ("flow", {"sampling": Beta(1.5, 1, low=0.001)}, stats.beta(1.5, 1, 0.001, 0.999).cdf),
    ("flow", {"sampling": Beta(2, 3, 0.2, 0.6)}, stats.beta(2, 3, 0.2, 0.4).cdf),
    ("flow", {"sampling": Truncated("uniform", low=0.2, high=0.7)}, stats.uniform(0.2, 0.5).cdf),
    ("flow", {"sampling": Truncated("logit_normal", high=0.3), "shift": 3.0},
     lambda t: within(lambda t: stats.norm().cdf(logit(t)), 0, 0.3)(t / (3 - 2 * t))),
    ("flow", {"sampling": Truncated(Shifted("logit_normal", 3), low=0.5)},
     within(lambda t: stats.norm().cdf(logit(t / (3 - 2 * t))), 0.5, 1 - 1e-15)),
    ("edm", {"sampling": Truncated(LogNormal(), low=0.05, high=2)}, within(EDM_CDF, 0.05, 2)),
    ("edm", {"sampling": Truncated(Laplace(0, 1), low=3)}, within(of_level(stats.laplace(0, 1)), 3, 1e30)),
    ("ve", {"sampling": Truncated("uniform", low=1, high=10)}, within(ve_u, 1, 10)),
    ("vp", {"sampling": Truncated("beta", low=0.1, high=20)},
     within(lambda sigma: stats.beta(0.8, 1).cdf(vp_u(sigma)), 0.1, 20)),
    ("edm", {"sampling": Stages([(0, "laplace"), (1, "log_normal")])}, of_level(stats.laplace(0, 0.5))),
    # The extension of SpeeD: beyond σ_d·√(r-1) the density is divided by k.
    ("edm", {"sampling": Asymmetric(5, r=10)}, suppressed(EDM_CDF, 1.5, 5)),
    ("edm", {"sampling": "asymmetric"}, suppressed(EDM_CDF, 0.5 * math.sqrt(142.5), 5)),
    ("edm", {"sampling": Asymmetric(3, r=5), "sigma_data": 0.8}, suppressed(EDM_CDF, 1.6, 3)),
    ("vp", {"sampling": Asymmetric(2, r=10)}, suppressed(vp_u, 1.5, 2)),
    ("ve", {"sampling": Asymmetric(20, r=10)}, suppressed(ve_u, 1.5, 20)),
    ("flow", {"sampling": Asymmetric(5, r=10)}, suppressed(lambda t: t, 0.75, 5)),
    ("flow", {"sampling": Asymmetric()}, suppressed(lambda t: t, 0.92270, 5)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "cdf"), CASES, ids=lambda part: str(part)[:60])
def test_two_million_draws_have_their_distribution(name: str, options: dict[str, Any], cdf: Cdf) -> None:
    x, w = MAKERS[name](seed=21, **options).sample(2 * 10**6)
    assert (x.dtype, w.dtype) == (np.float32, np.float32)
    assert (x > 0).all()
    assert np.isfinite(x).all()
    assert np.isfinite(w).all()
    assert name != "flow" or (x < 1).all()
    assert kolmogorov_smirnov(x, cdf) > UNLIKELY


@pytest.mark.parametrize(("name", "cdf"), [("edm", EDM_CDF), ("flow", lambda t: t)])
def test_ten_million_draws_have_their_distribution(name: str, cdf: Cdf) -> None:
    assert kolmogorov_smirnov(MAKERS[name](seed=22).sample(10**7)[0], cdf) > UNLIKELY


MIXED = Mixture(Laplace(0, 0.5), LogNormal(0.5, 1), 0.3)


@pytest.mark.parametrize(
    ("sampling", "step", "cdf"),
    [
        (Truncated(MIXED, low=0.4, high=2.5), 0, lambda sigma: 0.3 * of_level(stats.laplace(0, 0.5))(sigma)
         + 0.7 * of_level(stats.norm(-1, 2))(sigma)),
        (Truncated(Stages([(0, Laplace()), (5, LogNormal())]), low=0.4, high=2.5), 4,
         of_level(stats.laplace(0, 0.5))),
        (Truncated(Stages([(0, Laplace()), (5, LogNormal())]), low=0.4, high=2.5), 5, EDM_CDF),
        (Stages([(0, Laplace()), (5, LogNormal())]), 10**12, EDM_CDF),
    ],
    ids=str,
)  # fmt: skip
def test_a_range_of_a_mixture_or_of_stages_keeps_their_shape(sampling: Any, step: int, cdf: Cdf) -> None:
    x, _ = SigmaSampler.edm(sampling=sampling, seed=3).sample(200_000, step=step)
    whole = within(cdf, 0.4, 2.5) if isinstance(sampling, Truncated) else cdf
    assert kolmogorov_smirnov(x, whole) > UNLIKELY


def test_strata_fill_a_range_evenly() -> None:
    sampler = SigmaSampler.flow(sampling=Truncated(low=0.25, high=0.75), strata="stratified", seed=1)
    t, _ = sampler.sample(64)
    assert (np.sort(np.floor((t - 0.25) / 0.5 * 64)) == np.arange(64)).all()


def test_ranges_are_those_of_the_processes() -> None:
    vp, ve = (MAKERS[name]().sample(10**6)[0].astype(float) for name in ("vp", "ve"))
    assert math.sqrt(math.expm1(0.5 * 19.9e-10 + 0.1e-5)) * (1 - 1e-6) <= vp.min()
    assert vp.max() <= math.sqrt(math.expm1(10.05)) * (1 + 1e-6)
    assert ve.min() >= 0.02 * (1 - 1e-6)
    assert ve.max() <= 100 * (1 + 1e-6)


# ---- Weights -------------------------------------------------------------------------------------


def snr_of(name: str, x: Table) -> Table:
    x = x.astype(float)
    return ((1 - x) / x) ** 2 if name == "flow" else x**-2


@pytest.mark.parametrize(
    ("name", "options", "formula"),
    [
        ("edm", {}, lambda sigma: (sigma**2 + 0.5**2) / (sigma * 0.5) ** 2),
        ("edm", {"sigma_data": 1.2}, lambda sigma: (sigma**2 + 1.2**2) / (sigma * 1.2) ** 2),
        ("vp", {}, lambda sigma: 1 / sigma**2),
        ("ve", {}, lambda sigma: 1 / sigma**2),
        ("flow", {}, np.ones_like),
        ("fdm", {"process": "edm"}, lambda sigma: (sigma**2 + 0.5**2) / (sigma * 0.5) ** 2),
        ("fdm", {"process": "vp"}, lambda sigma: 1 / sigma**2),
        ("fdm", {"process": "ve"}, lambda sigma: 1 / sigma**2),
    ],
    ids=str,
)
def test_weights_are_those_of_the_authors_code(name: str, options: dict[str, Any], formula: Any) -> None:
    x, w = MAKERS[name](seed=5, **options).sample(10_000)
    np.testing.assert_allclose(w, formula(x.astype(float)), rtol=2e-6)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    "factors", [[MinSNR()], [SNR()], [P2(2, 0.5)], [EDM(0.7)], [SoftMinSNR(), MinSNR(2)]], ids=str
)
def test_any_function_of_the_snr_weighs_a_continuous_process(name: str, factors: list[Any]) -> None:
    x, w = MAKERS[name](seed=6, weighting=functools.reduce(lambda a, b: a * b, factors)).sample(10_000)
    s = snr_of(name, x)
    expected = np.prod([oracle.FORMS[factor.name][TARGETS[name]](s, factor) for factor in factors], axis=0)
    # 1 - t of a float32 t near 1 has few digits.
    usable = x < 0.99 if name == "flow" else x > 0
    np.testing.assert_allclose(w[usable], expected[usable], rtol=1e-4 if name == "flow" else 5e-6)


@pytest.mark.parametrize("name", ["flow", "vp", "ve"])
def test_a_curve_in_u_weighs_the_variable_of_the_process(name: str) -> None:
    points = [(0, 2), (0.4, 0.5), (1, 1)]
    x, w = MAKERS[name](seed=6, weighting=CurveWeights(points)).sample(10_000)
    u = {"flow": lambda t: t, "vp": vp_u, "ve": ve_u}[name](x.astype(float))
    np.testing.assert_allclose(w, PchipInterpolator(*np.array(points).T)(np.clip(u, 0, 1)), rtol=1e-5)


def test_a_curve_in_log_snr_is_constant_beyond_its_ends() -> None:
    points = [(-1, 2), (0, 0.5), (2, 1)]
    x, w = SigmaSampler.edm(seed=6, weighting=CurveWeights(points, "log_snr")).sample(10_000)
    level = np.clip(-2 * np.log(x.astype(float)), -1, 2)
    np.testing.assert_allclose(w, PchipInterpolator(*np.array(points).T)(level), rtol=1e-5)


# ---- The extension of SpeeD ----------------------------------------------------------------------


def rate_over_time(name: str, x: Table) -> Table:
    """abs(dᾱ/dt) with ᾱ = 1/(1+σ²/σ_d²), of rectified flow (σ_d = 1) and VP (σ_d = 0.5)."""
    if name == "flow":
        return 2 * x * (1 - x) / ((1 - x) ** 2 + x**2) ** 2
    grown = np.exp(19.9 / 2 * x**2 + 0.1 * x)
    return (19.9 * x + 0.1) * grown / 0.25 / (1 + (grown - 1) / 0.25) ** 2


@pytest.mark.parametrize("lam", [0.5, 0.6, 1.0])
@pytest.mark.parametrize("name", ["edm", "ve"])
def test_change_aware_weights_over_ln_sigma_have_a_closed_form(name: str, lam: float) -> None:
    sigma, w = MAKERS[name](seed=7, weighting=ChangeAware(lam)).sample(100_000)
    bar = 1 / (1 + sigma.astype(float) ** 2 / 0.25)
    np.testing.assert_allclose(w, (1 - lam) + (2 * lam - 1) * 4 * bar * (1 - bar), rtol=1e-6)


@pytest.mark.parametrize("lam", [0.6, 1.0])
@pytest.mark.parametrize("name", ["flow", "vp"])
def test_change_aware_weights_over_time_are_the_rescaled_rate(name: str, lam: float) -> None:
    x, w = MAKERS[name](seed=8, weighting=ChangeAware(lam)).sample(100_000)
    t = x.astype(float) if name == "flow" else vp_time(x.astype(float))
    best = optimize.minimize_scalar(
        lambda t: -rate_over_time(name, t), bounds=(0, 1), options={"xatol": 1e-12}
    )
    ends = rate_over_time(name, np.array([0.0 if name == "flow" else 1e-5, 1.0]))
    share = (rate_over_time(name, t) - ends.min()) / (-best.fun - ends.min())
    np.testing.assert_allclose(w, (1 - lam) + (2 * lam - 1) * share, atol=2e-5)
    if name == "flow":
        assert abs(x[w.argmax()] - 0.5) < 0.01


def test_the_known_edges_of_suppression_hold() -> None:
    for r, sigma, t in ((143.5, 5.97, 0.9227), (10, 1.5, 0.75)):
        assert 0.5 * math.sqrt(r - 1) == pytest.approx(sigma, abs=0.005)
        x = math.sqrt(r - 1)
        assert x / (1 + x) == pytest.approx(t, abs=5e-5)
        # So steep that next to nothing is left beyond the edge, which shows where it is.
        edm = SigmaSampler.edm(sampling=Asymmetric(1e9, r=r)).sample(10**6)[0]
        assert edm.max() == pytest.approx(sigma, abs=0.01)
        assert edm.max() < 0.5 * x * (1 + 1e-6)
        assert SigmaSampler.flow(sampling=Asymmetric(1e9, r=r)).sample(10**6)[0].max() == pytest.approx(
            t, abs=1e-4
        )
    assert 1 - EDM_CDF(np.array(5.97)) == pytest.approx(0.0064, abs=1e-4)


# ---- FDM's warm-up -------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulation", [1, 3])
def test_the_clamp_of_fdm_grows_per_training_step_and_then_ends(accumulation: int) -> None:
    sampler = SigmaSampler.fdm(seed=9, process="edm", warm_up=10, accumulation=accumulation)
    for step in range(14):
        for micro_batch in range(accumulation):
            sigma, w = sampler.sample(2000)
            again = sampler.sample(2000, step=step, micro_batch=micro_batch)
            assert (again[0] == sigma).all()
            assert (again[1] == w).all()
            free = (sigma.astype(float) ** 2 + 0.25) / (sigma * 0.5) ** 2
            limit = 5 * 100 ** (step / 10) if step < 10 else INF
            np.testing.assert_allclose(w, np.minimum(free, limit), rtol=2e-6)


def test_the_warm_up_goes_on_after_a_restart() -> None:
    run, resumed = (SigmaSampler.fdm(seed=seed, process="vp", warm_up=100) for seed in (1, 2))
    for _ in range(40):
        run.sample(64)
    resumed.load_state_dict(json.loads(json.dumps(run.state_dict())))
    for _ in range(70):
        for ours, theirs in zip(resumed.sample(64), run.sample(64), strict=True):
            assert (ours == theirs).all()


# ---- Emphasis ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "density"),
    [
        (lambda: SigmaSampler.edm(),
         lambda level: stats.norm(2.4, 2.4).pdf(level) * (1 + 4 * np.exp(-level))),
        (lambda: SigmaSampler.edm(sampling=Laplace(0, 1), weighting=MinSNR()),
         lambda level: stats.laplace(0, 1).pdf(level) * np.minimum(np.exp(level), 5) * np.exp(-level)),
        (lambda: SigmaSampler.flow(sampling=LogitNormal()),
         lambda level: stats.norm.pdf(level / 2) * (1 + np.exp(level / 2)) ** 2 / np.exp(level)),
        (lambda: SigmaSampler.flow(),
         lambda level: expit(level / 2) * expit(-level / 2) * (1 + np.exp(level / 2)) ** 2 / np.exp(level)),
        (lambda: SigmaSampler.ve(weighting=SNR()), np.ones_like),
    ],
)  # fmt: skip
def test_the_emphasis_of_a_process_is_its_density_times_its_weight(make: Any, density: Any) -> None:
    level, emphasis = make().emphasis()
    assert (np.diff(level) < 0).all()
    # A flow's E grows without bound towards noise: no quadrature but its own tells that it is normalized.
    assert (emphasis * np.abs(np.gradient(level))).sum() == pytest.approx(1, rel=1e-12)
    expected = density(level)
    near = expected > 1e-3 * expected.max()
    ratio = emphasis[near][2:-2] / expected[near][2:-2]
    assert ratio.max() / ratio.min() == pytest.approx(1, abs=5e-3)


def test_a_discrete_sampler_takes_the_emphasis_of_a_process() -> None:
    process = SigmaSampler.edm(sampling=Laplace(0, 0.7), weighting=MinSNR())
    schedule = NoiseSchedule.from_alphas_cumprod(TABLES["cosine"])
    sampler = TimestepSampler(schedule, "uniform", ToEmphasis(process), "v")
    expected = oracle.to_emphasis(TABLES["cosine"], sampler.probabilities, process.emphasis(), "v")
    assert not differs(sampler.weights, expected)


# ---- Bad parameters ------------------------------------------------------------------------------

POSITIVE = [0, -1, NAN, INF]
BAD: list[tuple[str, str, list[Any]]] = [
    ("edm", "p_mean", [NAN, INF]), ("edm", "p_std", POSITIVE), ("edm", "sigma_data", POSITIVE),
    ("vp", "beta_d", [-1, NAN, INF]), ("vp", "beta_min", [-1, NAN, INF]),
    ("vp", "epsilon_t", [-0.1, 1, 1.5, NAN]),
    ("ve", "sigma_min", [*POSITIVE, 100, 200]), ("ve", "sigma_max", [*POSITIVE, 0.02, 0.01]),
    ("flow", "shift", POSITIVE), ("flow", "sigma_data", POSITIVE), ("fdm", "warm_up", [0, -1]),
    ("fdm", "process", ["flow", "EDM", ""]), ("edm", "seed", [-1, 2**64]), ("edm", "accumulation", [0]),
    ("edm", "sampling", ["laplac", ""]), ("edm", "weighting", ["minsnr"]), ("edm", "strata", ["even"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [(name, argument, value) for name, argument, values in BAD for value in values],
)
def test_a_parameter_out_of_its_range_is_named(name: str, argument: str, value: Any) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match=argument):
        MAKERS[name](**{argument: value})


@pytest.mark.parametrize(
    "sampling",
    [LossSecondMoment(), Mixture(Adaptive(), Laplace()), CLTS(), Asymmetric(5, tau=700), LogitNormal(),
     Beta(), Uniform(),
     Curve(), Curve([1, 2, 3]), Truncated("log_normal", 0, 5), Truncated("log_normal", low=1e30)],
    ids=str,
)  # fmt: skip
def test_a_sampling_that_needs_steps_or_a_bounded_variable_is_refused(sampling: Any) -> None:
    with pytest.raises(speediff.SpeeDiffValueError):
        SigmaSampler.edm(sampling=sampling)


@pytest.mark.parametrize("weighting", [Importance(), Uncertainty() * Importance()], ids=str)
def test_a_weighting_that_needs_steps_is_refused(weighting: Any) -> None:
    with pytest.raises(speediff.SpeeDiffValueError):
        SigmaSampler.vp(weighting=weighting)
