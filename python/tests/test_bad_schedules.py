"""Schedules that are none: lengths, ranges, order and arrays of the wrong kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import speediff
from speediff import NoiseSchedule

if TYPE_CHECKING:
    from collections.abc import Callable

NAN, INF = float("nan"), float("inf")
MAKERS: dict[str, Callable[..., NoiseSchedule]] = {
    name: getattr(NoiseSchedule, name)
    for name in ("linear", "quadratic", "scaled_linear", "cosine", "constant")
}
TABLES: dict[str, Callable[..., NoiseSchedule]] = {
    "betas": NoiseSchedule.from_betas,
    "alphas_cumprod": NoiseSchedule.from_alphas_cumprod,
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("steps", [1, 0, -1, -1000, 2**24 + 1, 2**40, 2**63 - 1, 2**70, -(2**70)])
def test_the_number_of_steps_must_be_in_range(name: str, steps: int) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match=rf"steps.*{steps}"):
        MAKERS[name](steps)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("steps", [1000.0, "1000", None, True, [1000], NAN])
def test_the_number_of_steps_must_be_an_integer(name: str, steps: Any) -> None:
    with pytest.raises(speediff.SpeeDiffTypeError, match="steps must be an integer"):
        MAKERS[name](steps)


@pytest.mark.parametrize("name", ["linear", "quadratic", "scaled_linear"])
@pytest.mark.parametrize("argument", ["beta_start", "beta_end"])
@pytest.mark.parametrize("beta", [0, -0.1, 1.5, NAN, INF, -INF])
def test_end_points_must_be_in_range(name: str, argument: str, beta: float) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match=rf"beta.*{beta}"):
        MAKERS[name](1000, **{argument: beta})


@pytest.mark.parametrize("beta", [0, 1, -0.1, 1.5, NAN, INF])
def test_a_constant_must_be_between_0_and_1(beta: float) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match=rf"beta.*{beta}"):
        NoiseSchedule.constant(10, beta=beta)


def test_linear_with_beta_of_1_or_more_before_the_end_is_refused() -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match=r"beta|steps"):
        NoiseSchedule.linear(100, beta_end=0.2)


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.0, 1.0000001, 2.0, NAN, INF, -INF, -0.0])
@pytest.mark.parametrize("place", [0, 3])
def test_beta_must_be_above_0_and_below_1_before_the_last_step(bad: float, place: int) -> None:
    betas = np.full(6, 0.1)
    betas[place] = bad
    with pytest.raises(speediff.SpeeDiffValueError, match=rf"betas.*\b{place}\b"):
        NoiseSchedule.from_betas(betas)


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.0000001, 2.0, NAN, INF])
def test_the_last_beta_must_be_above_0_and_at_most_1(bad: float) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match="betas"):
        NoiseSchedule.from_betas([0.1, 0.1, bad])


@pytest.mark.parametrize(
    "table",
    [
        [0.9, 0.9, 0.5],
        [0.9, 0.95, 0.5],
        [0.5, 0.4, 0.4],
        [1.0, 0.5],
        [1.1, 0.5],
        [0.9, 0.0, 0.0],
        [0.9, 0.0, -0.1],
        [0.9, -0.1],
        [0.9, NAN, 0.1],
        [NAN, 0.5],
        [0.9, 0.5, NAN],
        [INF, 0.5],
        [0.5, -INF],
        [0.0, 0.0],
    ],
)
def test_alphas_cumprod_must_decrease_strictly_from_below_1(table: list[float]) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match="alphas_cumprod"):
        NoiseSchedule.from_alphas_cumprod(table)


def test_betas_too_small_to_change_the_signal_are_refused_by_their_own_name() -> None:
    # 1 - 1e-20 is 1 in double precision: the table of ᾱ would not decrease.
    for betas in ([1e-20, 0.1], [0.1, 1e-20], [1e-300] * 5, [5e-324, 0.5]):
        with pytest.raises(speediff.SpeeDiffValueError, match="beta"):
            NoiseSchedule.from_betas(betas)


def test_betas_whose_signal_underflows_before_the_last_step_are_refused() -> None:
    with pytest.raises(speediff.SpeeDiffValueError):
        NoiseSchedule.from_betas([0.999] * 1000)


@pytest.mark.parametrize("argument", TABLES)
@pytest.mark.parametrize("table", [[], [0.5], np.empty(0), np.array([0.5])])
def test_a_table_must_have_two_entries_at_least(argument: str, table: Any) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match="2"):
        TABLES[argument](table)


GOOD = np.linspace(0.1, 0.05, 8)
STRIDED = np.repeat(GOOD, 2)[::2]
UNALIGNED = np.frombuffer(b"\0" + GOOD.tobytes(), np.uint8)[1:].view(np.float64)
NO_TABLES: dict[str, Any] = {
    "float32": GOOD.astype(np.float32),
    "float16": GOOD.astype(np.float16),
    "int64": np.arange(8),
    "bool": np.ones(8, bool),
    "complex": GOOD.astype(complex),
    "object": GOOD.astype(object),
    "byte-swapped": GOOD.astype(GOOD.dtype.newbyteorder()),
    "strided": STRIDED,
    "reversed": GOOD[::-1],
    "unaligned": UNALIGNED,
    "two dimensions": GOOD.reshape(2, 4),
    "no dimension": np.array(0.1),
    "string": "0.1",
    "None": None,
    "number": 0.1,
    "set": {0.1, 0.2},
    "generator": (beta for beta in GOOD),
    "bytes": GOOD.tobytes(),
    "strings": ["0.1", "a"],
    "nested": [[0.1], [0.2, 0.3]],
    "dicts": [{}, {}],
    "complex list": [0.1j, 0.2],
    "None list": [0.1, None],
}


@pytest.mark.parametrize("argument", TABLES)
@pytest.mark.parametrize("kind", NO_TABLES)
def test_arrays_of_the_wrong_kind_are_not_converted_in_silence(argument: str, kind: str) -> None:
    with pytest.raises(speediff.SpeeDiffError, match=argument) as caught:
        TABLES[argument](NO_TABLES[kind])
    assert isinstance(caught.value, TypeError)


def test_the_message_about_an_array_tells_what_it_is_and_what_to_do() -> None:
    with pytest.raises(speediff.SpeeDiffTypeError, match=r"betas.*float64.*<f4.*astype"):
        NoiseSchedule.from_betas(NO_TABLES["float32"])
    with pytest.raises(speediff.SpeeDiffTypeError, match=r"betas.*>f8"):
        NoiseSchedule.from_betas(NO_TABLES["byte-swapped"])
    with pytest.raises(speediff.SpeeDiffTypeError, match=r"betas.*contiguous.*ascontiguousarray"):
        NoiseSchedule.from_betas(STRIDED)


def test_read_only_arrays_and_views_are_tables() -> None:
    betas = np.linspace(0.1, 0.2, 8)
    betas.flags.writeable = False
    assert (NoiseSchedule.from_betas(betas).betas == betas).all()
    assert (NoiseSchedule.from_betas(betas[2:6]).betas == betas[2:6]).all()


def test_a_table_may_hold_python_integers() -> None:
    assert NoiseSchedule.from_betas([0.5, 1]).alphas_cumprod[-1] == 0


@pytest.mark.parametrize("steps", [21, 100, 2000])
def test_closed_forms_of_other_schedules_are_refused(steps: int) -> None:
    schedules = [NoiseSchedule.quadratic(steps), NoiseSchedule.cosine(steps), NoiseSchedule.constant(steps)]
    schedules.append(NoiseSchedule.from_betas(np.linspace(0.02, 0.01, steps)))
    for schedule in schedules:
        with pytest.raises(speediff.SpeeDiffValueError, match="beta"):
            schedule.closed_form_increments()
        assert schedule.process_increments().rate.shape == (steps,)
