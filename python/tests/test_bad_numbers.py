"""Seeds, ranks, steps and sizes that are out of range or no integers, and arrays to write to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import speediff
from speediff import NoiseSchedule, TimestepSampler

OFTEN_WRONG: list[Any] = [1.0, "1", None, True, [1], float("nan"), 1j, np.float64(1)]
HUGE = [2**63, 2**64, 2**70, -(2**63) - 1, -(2**70)]


def named(argument: str, value: object) -> str:
    return rf"(?s){argument}.*{str(value).replace('[', '.').replace('(', '.').replace('+', '.')[:20]}"


@pytest.mark.parametrize("seed", [-1, 2**64, 2**70, -(2**70)])
def test_the_seed_must_be_in_range(linear: NoiseSchedule, seed: int) -> None:
    for make in (TimestepSampler, TimestepSampler.speed):
        with pytest.raises(speediff.SpeeDiffValueError, match=named("seed", seed)):
            make(linear, seed=seed)


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"rank": -1}, "rank"),
        ({"rank": 1}, "rank"),
        ({"rank": 4, "world_size": 4}, "rank"),
        ({"rank": -1, "world_size": 4}, "rank"),
        ({"world_size": 0}, "world_size"),
        ({"world_size": -3}, "world_size"),
        ({"world_size": 2**31 + 1}, "world_size"),
        ({"accumulation": 0}, "accumulation"),
        ({"accumulation": -1}, "accumulation"),
        ({"accumulation": 2**31 + 1}, "accumulation"),
        ({"accumulation": 2**62, "world_size": 2**30}, "accumulation"),
    ],
)
def test_the_division_of_a_batch_must_be_in_range(
    linear: NoiseSchedule, options: dict[str, int], argument: str
) -> None:
    for make in (TimestepSampler, TimestepSampler.speed):
        with pytest.raises(speediff.SpeeDiffValueError, match=named(argument, options[argument])):
            make(linear, **options)


@pytest.mark.parametrize("argument", ["seed", "rank", "world_size", "accumulation"])
@pytest.mark.parametrize("value", [value for value in OFTEN_WRONG if value is not None], ids=repr)
def test_integers_must_be_integers(linear: NoiseSchedule, argument: str, value: Any) -> None:
    for make in (TimestepSampler, TimestepSampler.speed):
        with pytest.raises(speediff.SpeeDiffTypeError, match=rf"{argument} must be an integer"):
            make(linear, **{argument: value})


@pytest.mark.parametrize("argument", ["seed", "rank", "world_size", "accumulation", "tau"])
@pytest.mark.parametrize("value", HUGE)
def test_integers_are_never_cut_to_size(linear: NoiseSchedule, argument: str, value: int) -> None:
    if argument == "seed" and value == 2**63:
        return
    with pytest.raises(speediff.SpeeDiffValueError, match=named(argument, value)):
        TimestepSampler.speed(linear, **{argument: value})


@pytest.mark.parametrize("value", [1, 0, "True", None, 1.0, "yes", []])
def test_normalize_must_be_true_or_false(linear: NoiseSchedule, value: Any) -> None:
    with pytest.raises(speediff.SpeeDiffTypeError, match="normalize"):
        TimestepSampler.speed(linear, normalize=value)


@pytest.mark.parametrize("n", [-1, -(2**31), 2**31 + 1, 2**40, *HUGE])
def test_the_batch_must_be_in_range(linear: NoiseSchedule, n: int) -> None:
    sampler = TimestepSampler.speed(linear)
    for options in ({}, {"step": 3}, {"step": 3, "offset": 0, "total": 10}):
        with pytest.raises(speediff.SpeeDiffValueError, match=named(r"\bn\b", n)):
            sampler.sample(n, **options)
    assert (sampler.sample(4)[0] == TimestepSampler.speed(linear).sample(4)[0]).all()


@pytest.mark.parametrize("options", [{}, {"strata": "stratified"}, {"preset": "official"}])
def test_a_global_batch_that_is_too_large_is_refused_before_memory_is_asked_for(
    linear: NoiseSchedule, options: dict[str, Any]
) -> None:
    layouts = [(2**30, 1, 3), (1, 2**30, 3), (2**31, 2**31, 1), (2**16, 2**15, 2), (2**31, 1, 2**40)]
    for world_size, accumulation, n in layouts:
        sampler = TimestepSampler.speed(linear, world_size=world_size, accumulation=accumulation, **options)
        for how in ({}, {"step": 0}):
            with pytest.raises(speediff.SpeeDiffValueError, match=r"\bn\b"):
                sampler.sample(n, **how)
        assert sampler.step == 0


@pytest.mark.parametrize("step", [-1, -(2**40), *HUGE])
def test_the_step_must_be_in_range(linear: NoiseSchedule, step: int) -> None:
    sampler = TimestepSampler.speed(linear)
    with pytest.raises(speediff.SpeeDiffValueError, match=named("step", step)):
        sampler.sample(4, step=step)
    with pytest.raises(speediff.SpeeDiffValueError, match=named("step", step)):
        sampler.sample(4, step=step, offset=0, total=4)


def test_a_step_times_accumulation_must_be_in_range(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear, accumulation=8)
    with pytest.raises(speediff.SpeeDiffValueError, match="step"):
        sampler.sample(4, step=2**61)
    assert sampler.sample(4, step=2**59)[0].shape == (4,)


@pytest.mark.parametrize("micro_batch", [-1, 4, 5, 2**70])
def test_the_micro_batch_must_be_in_range(linear: NoiseSchedule, micro_batch: int) -> None:
    sampler = TimestepSampler.speed(linear, accumulation=4)
    with pytest.raises(speediff.SpeeDiffValueError, match=named("micro_batch", micro_batch)):
        sampler.sample(4, step=1, micro_batch=micro_batch)


@pytest.mark.parametrize(
    ("offset", "total", "argument"),
    [
        (-1, 10, "offset"),
        (7, 10, "offset"),
        (11, 10, "offset"),
        (0, 3, "total|offset"),
        (0, 0, "total|offset"),
        (0, -5, "total"),
        (0, 2**31 + 1, "total"),
        (2**70, 10, "offset"),
        (0, 2**70, "total"),
        (2**63 - 1, 2**31, "offset"),
        (2**63 - 4, 10, "offset"),
        (-(2**63), 10, "offset"),
    ],
)
def test_a_slice_must_lie_in_its_global_batch(
    linear: NoiseSchedule, offset: int, total: int, argument: str
) -> None:
    sampler = TimestepSampler.speed(linear)
    for options in ({}, {"step": 2}):
        with pytest.raises(speediff.SpeeDiffValueError, match=argument):
            sampler.sample(4, offset=offset, total=total, **options)
    assert sampler.step == 0


def test_offset_and_total_go_together(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear)
    for options in ({"offset": 1}, {"total": 9}, {"offset": 0, "step": 1}):
        with pytest.raises(speediff.SpeeDiffValueError, match=r"offset.*total"):
            sampler.sample(4, **options)


@pytest.mark.parametrize("value", OFTEN_WRONG, ids=repr)
def test_sizes_must_be_integers(linear: NoiseSchedule, value: Any) -> None:
    sampler = TimestepSampler.speed(linear)
    calls: list[tuple[str, Any, dict[str, Any]]] = [("n", value, {}), ("n", value, {"step": 1})]
    if value is not None:
        calls += [
            ("step", 4, {"step": value}),
            ("micro_batch", 4, {"step": 1, "micro_batch": value}),
            ("offset", 4, {"offset": value, "total": 10}),
            ("total", 4, {"offset": 0, "total": value}),
        ]
    for argument, n, options in calls:
        with pytest.raises(speediff.SpeeDiffTypeError, match=rf"\b{argument} must be an integer"):
            sampler.sample(n, **options)
    assert sampler.step == 0


@pytest.mark.parametrize("n", [0, -1, 2**31 + 1, 2**70])
def test_the_batch_of_a_marginal_must_be_in_range(linear: NoiseSchedule, n: int) -> None:
    for preset in ("paper", "official"):
        sampler = TimestepSampler.speed(linear, preset=preset)
        if n <= 0 or n > 2**63:
            with pytest.raises(speediff.SpeeDiffValueError, match=named("n", n)):
                sampler.expected_weight(n)
            with pytest.raises(speediff.SpeeDiffValueError, match=str(n)):
                sampler.marginal(n)


GOOD_T, GOOD_W = np.empty(4, np.int64), np.empty(4, np.float32)
LOCKED = np.empty(4, np.int64)
LOCKED.flags.writeable = False
WRONG_OUT: dict[str, tuple[Any, str]] = {
    "float64 weights": ((GOOD_T, np.empty(4)), r"out\[1\].*float32"),
    "int32 steps": ((np.empty(4, np.int32), GOOD_W), r"out\[0\].*int64"),
    "uint64 steps": ((np.empty(4, np.uint64), GOOD_W), r"out\[0\].*int64"),
    "swapped": ((GOOD_W, GOOD_T), r"out\[0\].*int64"),
    "byte-swapped": ((np.empty(4, ">i8"), GOOD_W), r"out\[0\].*int64"),
    "byte-swapped weights": ((GOOD_T, np.empty(4, ">f4")), r"out\[1\].*float32"),
    "short": ((np.empty(3, np.int64), GOOD_W), r"out\[0\].*4.*3"),
    "long": ((GOOD_T, np.empty(5, np.float32)), r"out\[1\].*4.*5"),
    "strided": ((np.empty(8, np.int64)[::2], GOOD_W), r"out\[0\].*contiguous"),
    "reversed": ((GOOD_T, np.empty(4, np.float32)[::-1]), r"out\[1\].*contiguous"),
    "unaligned": ((np.zeros(33, np.uint8)[1:].view(np.int64), GOOD_W), r"out\[0\].*aligned"),
    "read-only": ((LOCKED, GOOD_W), r"out\[0\].*(writ|read)"),
    "two dimensions": ((np.empty((2, 2), np.int64), GOOD_W), r"out\[0\].*dimension"),
    "list": (([0] * 4, GOOD_W), r"out\[0\].*list"),
    "None": ((GOOD_T, None), r"out\[1\].*NoneType"),
}


@pytest.mark.parametrize("kind", WRONG_OUT)
def test_arrays_to_write_to_must_fit(linear: NoiseSchedule, kind: str) -> None:
    out, message = WRONG_OUT[kind]
    sampler = TimestepSampler.speed(linear)
    for options in ({}, {"step": 3}, {"offset": 0, "total": 9}):
        with pytest.raises(speediff.SpeeDiffError, match=message):
            sampler.sample(4, out=out, **options)
    assert sampler.step == 0


@pytest.mark.parametrize(
    "out",
    [GOOD_T, (GOOD_T,), (), (GOOD_T, GOOD_W, GOOD_W), 3, "ab"],
    ids=["an array", "one", "none", "three", "a number", "a string"],
)
def test_the_arrays_to_write_to_must_be_a_pair(linear: NoiseSchedule, out: Any) -> None:
    sampler = TimestepSampler.speed(linear)
    with pytest.raises(speediff.SpeeDiffError, match="out"):
        sampler.sample(4, out=out)
    assert sampler.step == 0


def test_a_failed_draw_writes_nothing(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear)
    out = np.full(4, -7, np.int64), np.full(4, -7, np.float32)
    for options in ({"step": -1}, {"offset": 9, "total": 10}, {"offset": 0, "total": 2**40}):
        with pytest.raises(speediff.SpeeDiffError):
            sampler.sample(4, out=out, **options)
        assert (out[0] == -7).all()
        assert (out[1] == -7).all()
