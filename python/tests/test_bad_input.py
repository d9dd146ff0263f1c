"""What users get wrong: each is an error of the right class that names argument, rule and value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import speediff
from speediff import NoiseSchedule, TimestepSampler, sampling, weighting
from speediff.sampling import Asymmetric
from speediff.weighting import ChangeAware

if TYPE_CHECKING:
    from collections.abc import Callable

NAN, INF = float("nan"), float("inf")
HUGE = 2**70


def refuses(call: Callable[[], Any], *parts: str, type_error: bool = False) -> None:
    """The call raises the right classes, and a message with all these parts."""
    with pytest.raises(speediff.SpeeDiffError) as caught:
        call()
    assert isinstance(caught.value, TypeError if type_error else ValueError), repr(caught.value)
    message = str(caught.value)
    for part in parts:
        assert re.search(part, message, re.IGNORECASE), f"{part!r} is not in {message!r}"
    assert "\n" not in message


def still_works(schedule: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(schedule)
    assert (sampler.sample(4)[0] == [303, 669, 559, 460]).all()


@pytest.mark.parametrize("k", [0.5, 0, -1, 0.999999, NAN, INF, -INF])
def test_k_must_be_finite_and_at_least_1(linear: NoiseSchedule, k: float) -> None:
    value = re.escape(str(k)) if np.isfinite(k) else str(k)
    refuses(lambda: Asymmetric(k), r"\bk\b", value)
    refuses(lambda: Asymmetric(k, tau=700), r"\bk\b", value)
    refuses(lambda: TimestepSampler.speed(linear, k=k), r"\bk\b", value)
    still_works(linear)


def test_k_must_leave_a_finite_denominator(linear: NoiseSchedule) -> None:
    refuses(lambda: TimestepSampler(linear, Asymmetric(1.7e308, tau=10)), r"\bk\b", "1.7e")


@pytest.mark.parametrize("tau", [0, -1, -HUGE])
def test_tau_must_be_above_0(tau: int) -> None:
    refuses(lambda: Asymmetric(5, tau=tau), "tau", str(tau))


@pytest.mark.parametrize("tau", [1000, 1001, 2**40])
def test_tau_must_be_below_t(linear: NoiseSchedule, tau: int) -> None:
    for preset in ("paper", "official"):
        refuses(lambda preset=preset: TimestepSampler.speed(linear, tau=tau, preset=preset), "tau", str(tau))
    still_works(linear)


def test_the_fixed_tau_of_the_official_preset_must_fit_the_schedule() -> None:
    short = NoiseSchedule.linear(500)
    refuses(lambda: TimestepSampler.speed(short, preset="official"), "tau", "700", "500")
    assert TimestepSampler.speed(short, tau=350, preset="official").sample(8)[0].max() < 500


@pytest.mark.parametrize("tau", [700.0, 699.5, "700", True, [700], NAN])
def test_tau_must_be_an_integer(tau: Any) -> None:
    refuses(lambda: Asymmetric(5, tau=tau), "tau", "integer", re.escape(repr(tau)), type_error=True)


def test_tau_and_r_exclude_each_other(linear: NoiseSchedule) -> None:
    refuses(lambda: Asymmetric(5, tau=700, r=143.5), "tau", r"\br\b", "700", "143.5")
    refuses(lambda: TimestepSampler.speed(linear, tau=700, r=143.5), "tau", r"\br\b")


@pytest.mark.parametrize("r", [1, 0.5, 0, -3, NAN, INF])
def test_r_must_be_finite_and_above_1(linear: NoiseSchedule, r: float) -> None:
    refuses(lambda: Asymmetric(5, r=r), r"\br\b", str(r))
    refuses(lambda: linear.process_increments().convergence_start(r), r"\br\b", str(r))
    refuses(lambda: linear.closed_form_increments().convergence_start(r), r"\br\b", str(r))


def test_where_no_step_reaches_r_the_error_tells_how_far_the_schedule_goes() -> None:
    schedule = NoiseSchedule.scaled_linear(900)
    for make in (
        lambda: TimestepSampler.speed(schedule),
        lambda: TimestepSampler(schedule, "asymmetric"),
        lambda: TimestepSampler.speed(schedule, preset="official", r=143.5),
        lambda: schedule.process_increments().convergence_start(143.5),
    ):
        refuses(make, r"\br\b", r"125\.456", r"143\.5", "tau|smaller r")
    assert TimestepSampler.speed(schedule, r=100).sample(4)[0].shape == (4,)
    assert TimestepSampler.speed(schedule, tau=630).sample(4)[0].shape == (4,)


@pytest.mark.parametrize("r", [1.00001, 1.00009])
def test_r_that_every_step_exceeds_leaves_no_tau(linear: NoiseSchedule, r: float) -> None:
    # t_dc = 1: tau = 1 is the first step alone, and valid.
    p = TimestepSampler.speed(linear, r=r).probabilities
    assert np.count_nonzero(p == p[0]) == 1


@pytest.mark.parametrize("lam", [0.49, 0, -1, 1.01, 5, NAN, INF, -INF])
def test_lam_must_be_between_one_half_and_1(linear: NoiseSchedule, lam: float) -> None:
    refuses(lambda: ChangeAware(lam), "lam", re.escape(str(lam)))
    for preset in ("paper", "official"):
        refuses(lambda preset=preset: TimestepSampler.speed(linear, lam=lam, preset=preset), "lam")
    still_works(linear)


@pytest.mark.parametrize("value", ["5", None, [5], 1j, True])
def test_real_numbers_must_be_real_numbers(linear: NoiseSchedule, value: Any) -> None:
    refuses(lambda: Asymmetric(value), r"\bk\b", type_error=True)
    refuses(lambda: ChangeAware(value), "lam", type_error=True)
    refuses(lambda: linear.process_increments().convergence_start(value), r"\br\b", type_error=True)
    refuses(lambda: NoiseSchedule.constant(10, beta=value), "beta", type_error=True)
    refuses(lambda: NoiseSchedule.linear(1000, beta_start=value), "beta_start", type_error=True)


def test_whole_numbers_and_numpy_numbers_are_real_numbers(linear: NoiseSchedule) -> None:
    for k in (5, np.float32(5), np.float64(5), np.int64(5)):
        assert Asymmetric(k) == Asymmetric(5.0)
    refuses(lambda: Asymmetric(10**400), r"\bk\b", "finite")


def test_change_aware_needs_three_steps() -> None:
    refuses(lambda: TimestepSampler(NoiseSchedule.from_betas([0.1, 0.2]), weighting="change_aware"), "3", "2")
    weights = TimestepSampler(NoiseSchedule.from_betas([0.1, 0.2, 0.1]), weighting="change_aware").weights
    assert sorted(weights)[::2] == [pytest.approx(0.4), pytest.approx(0.6)]


@pytest.mark.parametrize(
    ("argument", "name", "nearest"),
    [
        ("sampling", "asymetric", "asymmetric"),
        ("sampling", "Uniform", "uniform"),
        ("sampling", "", None),
        ("sampling", "speed!", None),
        ("weighting", "change-aware", "change_aware"),
        ("weighting", "unifrom", "uniform"),
        ("weighting", "zzz", None),
        ("prediction", "eps", None),
        ("prediction", "epsilom", "epsilon"),
        ("prediction", "x0", None),
        ("strata", "stratifed", "stratified"),
        ("strata", "low-discrepancy", "low_discrepancy"),
        ("strata", "yes", None),
        ("preset", "oficial", "official"),
        ("preset", "Paper", "paper"),
        ("preset", "off", None),
    ],
)
def test_an_unknown_name_is_an_error_that_lists_the_known_ones(
    linear: NoiseSchedule, argument: str, name: str, nearest: str | None
) -> None:
    known = {
        "sampling": list(sampling.Sampling.by_name),
        "weighting": list(weighting.Weighting.by_name),
        "prediction": ["epsilon", "sample", "v", "flow"],
        "strata": ["none", "stratified", "low_discrepancy"],
        "preset": ["paper", "official"],
    }[argument]
    make = TimestepSampler.speed if argument == "preset" else TimestepSampler
    hint = [f"mean '{nearest}'"] if nearest else []
    refuses(lambda: make(linear, **{argument: name}), argument, *known, re.escape(repr(name)), *hint)


@pytest.mark.parametrize("value", [None, 3, b"uniform", Asymmetric, ["uniform"]])
def test_a_method_must_be_a_name_or_an_object(linear: NoiseSchedule, value: Any) -> None:
    refuses(lambda: TimestepSampler(linear, value), "sampling", type_error=True)
    refuses(lambda: TimestepSampler(linear, "uniform", value), "weighting", type_error=True)


@pytest.mark.parametrize("value", [3, b"none", ["none"], {"a": 1}])
def test_other_names_must_be_strings(linear: NoiseSchedule, value: Any) -> None:
    for argument in ("prediction", "strata", "preset"):
        make = TimestepSampler.speed if argument == "preset" else TimestepSampler
        with pytest.raises(speediff.SpeeDiffError, match=argument):
            make(linear, **{argument: value})


def test_methods_are_not_taken_for_each_other(linear: NoiseSchedule) -> None:
    refuses(lambda: TimestepSampler(linear, ChangeAware()), "sampling", type_error=True)
    refuses(lambda: TimestepSampler(linear, "uniform", Asymmetric()), "weighting", type_error=True)
    refuses(lambda: TimestepSampler("linear"), "schedule", type_error=True)


@pytest.mark.parametrize("strata", ["stratified", "low_discrepancy"])
def test_the_official_preset_takes_no_strata(linear: NoiseSchedule, strata: str) -> None:
    refuses(lambda: TimestepSampler.speed(linear, preset="official", strata=strata), "strata", "none")


def test_the_official_preset_refuses_a_schedule_whose_duals_leave_it() -> None:
    schedule = NoiseSchedule.from_alphas_cumprod(np.linspace(0.99, 0, 100) ** 2)
    refuses(lambda: TimestepSampler.speed(schedule, tau=50, preset="official"), "official", "100")
    assert TimestepSampler.speed(schedule, tau=50).sample(4)[0].shape == (4,)
