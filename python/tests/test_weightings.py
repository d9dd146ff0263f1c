"""w of every weighting in every form, element by element, against its authors' formula and diffusers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle_samplings
import oracle_weightings as oracle
import pytest
from oracle_checks import TABLES, differs
from oracle_weightings import TARGETS

import speediff
from speediff import NoiseSchedule, TimestepSampler, sampling
from speediff.sampling import Adaptive, Asymmetric, Beta, Laplace, LossSecondMoment, Mixture, Truncated
from speediff.weighting import (
    BSMNTW,
    EDM,
    P2,
    SNR,
    ChangeAware,
    CosMap,
    Debiased,
    Importance,
    InverseSNR,
    LinearSigma,
    MaxSNR,
    MinSNR,
    SigmaSqrt,
    Sigmoid,
    SoftMinSNR,
    Table,
    ToEmphasis,
    TruncatedSNR,
    Uncertainty,
    Uniform,
)

if TYPE_CHECKING:
    from oracle_samplings import Table as Array

NAN, INF = float("nan"), float("inf")
FUNCTIONS_OF_SNR = [
    P2(), P2(2, 0.5), P2(k=0.3, gamma=1.7), P2(k=4.0, gamma=1), MinSNR(), MinSNR(1), MinSNR(gamma=12.5),
    SoftMinSNR(), SoftMinSNR(1), Debiased(), SNR(), InverseSNR(), MaxSNR(), MaxSNR(gamma=0.5), TruncatedSNR(),
    EDM(),
    EDM(sigma_data=1.5), SigmaSqrt(), CosMap(), Sigmoid(), Sigmoid(-1), Sigmoid(bias=3.5),
    BSMNTW(), LinearSigma(), LinearSigma(shift=0.5),
]  # fmt: skip
PLAIN = [
    Uniform(), ChangeAware(), ChangeAware(lam=1), Importance(), Table(), Table({0: 0.2, 0.3: 1, 1: 0}),
    Table([(-5, 2), (0, 1), (1, 0), (6, 3)], over="log_snr"),
]  # fmt: skip
ENDLESS = [table for table, bar in TABLES.items() if bar[-1] > 0]
SILENT = [table for table, bar in TABLES.items() if bar[-1] == 0]


def sampler_of(
    table: str, weighting: Any, prediction: str | None = None, sampling: Any = "uniform"
) -> TimestepSampler:
    return TimestepSampler(NoiseSchedule.from_alphas_cumprod(TABLES[table]), sampling, weighting, prediction)


def weights(table: str, weighting: Any, prediction: str | None = None, sampling: Any = "uniform") -> Array:
    return sampler_of(table, weighting, prediction, sampling).weights


@pytest.mark.parametrize("prediction", TARGETS)
@pytest.mark.parametrize("table", ENDLESS)
@pytest.mark.parametrize("weighting", FUNCTIONS_OF_SNR, ids=str)
def test_weights_are_those_of_the_oracle(table: str, weighting: Any, prediction: str) -> None:
    w = weights(table, weighting, prediction)
    assert not differs(w, oracle.weights(TABLES[table], [weighting], prediction), rtol=1e-11, atol=0)


@pytest.mark.parametrize("prediction", TARGETS)
@pytest.mark.parametrize("table", SILENT)
@pytest.mark.parametrize("weighting", FUNCTIONS_OF_SNR, ids=str)
def test_at_zero_snr_a_form_is_its_limit_or_an_error_that_names_the_step(
    table: str, weighting: Any, prediction: str
) -> None:
    bar = TABLES[table]
    expected = oracle.weights(bar, [weighting], prediction)
    if np.isfinite(expected).all():
        assert not differs(weights(table, weighting, prediction), expected, rtol=1e-11, atol=0)
    else:
        with pytest.raises(speediff.SpeeDiffValueError, match=rf"\b({len(bar) - 1}|{len(bar)})\b"):
            weights(table, weighting, prediction)


def test_epsilon_weights_at_zero_snr_have_their_known_limits() -> None:
    for weighting, limit in ((MinSNR(7), 1.0), (SoftMinSNR(7), 1.0), (SNR(), 1.0), (P2(2, 2), 0.25)):
        assert weights("zero terminal", weighting, "epsilon")[-1] == pytest.approx(limit, rel=1e-15)


@pytest.mark.parametrize("prediction", [None, *TARGETS])
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("weighting", PLAIN, ids=str)
def test_some_weights_are_the_same_for_every_target(
    table: str, weighting: Any, prediction: str | None
) -> None:
    sampling = Mixture(Asymmetric(5, r=1.6), Beta(2, 0.7), 0.5)
    w = weights(table, weighting, prediction, sampling)
    p = oracle_samplings.probabilities(TABLES[table], sampling)
    assert not differs(w, oracle.weights(TABLES[table], [weighting], prediction, p), rtol=1e-9)


@pytest.mark.parametrize("table", ENDLESS)
@pytest.mark.parametrize("weighting", [*FUNCTIONS_OF_SNR, ToEmphasis()], ids=str)
def test_the_forms_satisfy_the_identities_of_the_losses(table: str, weighting: Any) -> None:
    epsilon, sample, v, flow = (weights(table, weighting, target) for target in TARGETS)
    bar = TABLES[table]
    s = bar / (1 - bar)
    assert not differs(sample, s * epsilon, rtol=1e-12, atol=0)
    assert not differs(v, bar * epsilon, rtol=1e-12, atol=0)
    assert not differs(v, sample / (s + 1), rtol=1e-12, atol=0)
    assert not differs(flow, sample / (1 + np.sqrt(s)) ** 2, rtol=1e-12, atol=0)


@pytest.mark.parametrize("prediction", TARGETS)
def test_a_product_multiplies_the_forms_of_its_factors(prediction: str) -> None:
    p = oracle_samplings.probabilities(TABLES["cosine"], Laplace(0.5, 2))
    for factors in (
        [MinSNR(3), P2()], [ChangeAware(0.9), EDM()], [Importance(), MinSNR(), Sigmoid(1)],
        [Uniform(), SNR()], [CosMap(), SigmaSqrt(), Debiased(), InverseSNR()],
    ):  # fmt: skip
        product = math.prod(factors[1:], start=factors[0])
        w = weights("cosine", product, prediction, Laplace(0.5, 2))
        assert not differs(w, oracle.weights(TABLES["cosine"], factors, prediction, p), atol=0)
        reverse = math.prod(factors[-2::-1], start=factors[-1])
        assert not differs(weights("cosine", reverse, prediction, Laplace(0.5, 2)), w, rtol=1e-14, atol=0)


def test_known_identities_of_the_min_snr_family_hold() -> None:
    for table in ENDLESS:
        least, most = weights(table, MinSNR(5), "sample"), weights(table, MaxSNR(5), "sample")
        assert not differs(least * most, 5 * weights(table, SNR(), "sample"), rtol=1e-12, atol=0)
        assert not differs(weights(table, TruncatedSNR(), "v"), weights(table, MaxSNR(1), "v"), rtol=1e-15)
        soft = 1 / (1 / 5 + 1 / weights(table, SNR(), "sample"))
        assert not differs(weights(table, SoftMinSNR(5), "sample"), soft, rtol=1e-12, atol=0)
        assert not differs(
            weights(table, P2(5, 1), "epsilon") * 5, weights(table, SoftMinSNR(5), "epsilon"), rtol=1e-12
        )


def test_edm_is_karras_own_formula_of_sigma() -> None:
    sigma = np.sqrt((1 - TABLES["linear"]) / TABLES["linear"])
    expected = (sigma**2 + 0.5**2) / (sigma * 0.5) ** 2
    assert not differs(weights("linear", "edm", "sample"), expected, rtol=1e-11, atol=0)


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_is_that_of_the_training_scripts_of_diffusers(gamma: float) -> None:
    torch = pytest.importorskip("torch")
    training_utils = pytest.importorskip("diffusers.training_utils")
    scheduler = pytest.importorskip("diffusers").DDPMScheduler()
    snr = training_utils.compute_snr(scheduler, torch.arange(1000)).double()
    clipped = torch.minimum(snr, torch.full_like(snr, gamma))
    # Both compute in single precision, of ᾱ near 1 at that.
    for prediction, theirs in (("epsilon", clipped / snr), ("v", clipped / (snr + 1))):
        ours = weights("linear", MinSNR(gamma), prediction)
        assert not differs(ours, theirs.numpy(), rtol=2e-3)
        assert not differs(ours[20:], theirs.numpy()[20:], rtol=5e-5)


@pytest.mark.parametrize(("scheme", "weighting"), [("sigma_sqrt", SigmaSqrt()), ("cosmap", CosMap())])
@pytest.mark.parametrize("table", TABLES)
def test_weights_of_sd3_are_those_of_diffusers(table: str, scheme: str, weighting: Any) -> None:
    torch = pytest.importorskip("torch")
    training_utils = pytest.importorskip("diffusers.training_utils")
    bar = TABLES[table]
    sigmas = torch.from_numpy(1 / (1 + np.sqrt(bar / (1 - bar))))
    theirs = training_utils.compute_loss_weighting_for_sd3(scheme, sigmas).double().numpy()
    assert not differs(weights(table, weighting, "flow"), theirs, rtol=1e-6)
    assert weights(table, scheme, "flow").tolist() == weights(table, weighting, "flow").tolist()


# ---- 1/(T·P) -------------------------------------------------------------------------------------


def test_importance_makes_any_density_train_the_uniform_objective() -> None:
    sampler = sampler_of("linear", Importance(), None, Laplace(0, 2))
    assert not differs(sampler.probabilities * sampler.weights * 1000, np.ones(1000), rtol=1e-12)
    assert sampler.expected_weight() == pytest.approx(1, rel=1e-12)


def test_importance_is_finite_where_nothing_is_drawn() -> None:
    w = weights("linear", Importance(), None, Truncated(sampling.Uniform(), 0, 500))
    assert not differs(w[:500], np.full(500, 1 / 2), rtol=1e-12)
    assert np.isfinite(w).all()


@pytest.mark.parametrize("learner", [LossSecondMoment(history=1), Adaptive(bins=5)], ids=str)
@pytest.mark.parametrize("part", [lambda s: s, lambda s: Mixture(s, Laplace(0, 3), 0.5)])
def test_learned_densities_weigh_by_what_is_drawn_once(learner: Any, part: Any) -> None:
    method, bar = part(learner), TABLES["twenty steps"]
    t = np.arange(20)
    losses = (1 + t % 7).astype(np.float32)
    plain = oracle.weights(bar, [MinSNR()], "v")
    for weighting, factors in (
        (MinSNR(), [MinSNR(), Importance()]), (MinSNR() * Importance(), [MinSNR(), Importance()]),
    ):  # fmt: skip
        sampler = sampler_of("twenty steps", weighting, "v", method)
        sampler.update(t, losses)
        p = oracle_samplings.probabilities(bar, method, updates=[(t, losses)], w=plain)
        assert not differs(sampler.probabilities, p)
        assert not differs(sampler.weights, oracle.weights(bar, factors, "v", p))
        drawn, w = sampler.sample(50)
        assert (w == sampler.weights[drawn].astype(np.float32)).all()


# ---- Bad input -----------------------------------------------------------------------------------

NEEDS_TARGET = sorted(
    {kind for kind in map(type, FUNCTIONS_OF_SNR)} | {ToEmphasis}, key=lambda kind: kind.name
)


@pytest.mark.parametrize("kind", NEEDS_TARGET)
def test_a_form_that_depends_on_the_target_needs_one(linear: NoiseSchedule, kind: Any) -> None:
    for weighting in (kind(), kind.name, kind() * Uniform(), ChangeAware() * kind()):
        with pytest.raises(speediff.SpeeDiffValueError, match="prediction"):
            TimestepSampler(linear, "uniform", weighting)
    for unknown in ("eps", "x0", "v_prediction", ""):
        with pytest.raises(speediff.SpeeDiffValueError, match="prediction"):
            TimestepSampler(linear, "uniform", kind(), unknown)


def test_every_weighting_is_tried_here_and_no_other_needs_a_target() -> None:
    free = {"uniform", "change_aware", "importance", "uncertainty", "table"}
    known = {info.name for info in speediff.methods() if info.kind == "weighting" and info.implemented}
    assert {kind.name for kind in NEEDS_TARGET} | free == known


POSITIVE = [0, -1, NAN, INF, -INF]
BAD: list[tuple[type, str, list[float]]] = [
    (P2, "k", POSITIVE), (P2, "gamma", POSITIVE), (MinSNR, "gamma", POSITIVE),
    (SoftMinSNR, "gamma", POSITIVE), (MaxSNR, "gamma", POSITIVE), (Sigmoid, "bias", [NAN, INF, -INF]),
    (EDM, "sigma_data", POSITIVE), (Uncertainty, "bins", [0, -1]), (ChangeAware, "lam", [0.49, 1.01, NAN]),
    (Uncertainty, "decay", [-0.1, 1, 1.5, NAN, INF]), (LinearSigma, "shift", [-0.1, NAN, INF, -INF]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name", "value"), [(kind, name, value) for kind, name, values in BAD for value in values]
)
def test_a_parameter_out_of_its_range_is_named(kind: type, name: str, value: float) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match=rf"\b{name}\b"):
        kind(**{name: value})


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name, _ in BAD])
@pytest.mark.parametrize("value", ["1", None, [1], True, 1j])
def test_a_parameter_of_another_type_is_named(kind: type, name: str, value: Any) -> None:
    with pytest.raises(speediff.SpeeDiffTypeError, match=rf"\b{name}\b"):
        kind(**{name: value})


def test_only_weightings_are_multiplied() -> None:
    for other in (2, "snr", None, Laplace()):
        with pytest.raises((TypeError, speediff.SpeeDiffTypeError)):
            MinSNR() * other


def test_more_bins_than_steps_are_refused() -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match="bins"):
        sampler_of("twenty steps", Uncertainty(bins=21))
    assert (weights("twenty steps", Uncertainty(bins=20)) == 1).all()


def test_a_process_of_one_rate_has_no_change_to_be_aware_of() -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match="rate"):
        TimestepSampler(NoiseSchedule.jsd(50), weighting=ChangeAware())


def test_a_weight_that_overflows_is_an_error() -> None:
    bar = np.array([0.9, 0.5, 1e-200])
    with pytest.raises(speediff.SpeeDiffValueError, match=r"\b[23]\b"):
        TimestepSampler(NoiseSchedule.from_alphas_cumprod(bar), "uniform", InverseSNR(), "epsilon")
