"""Draws made ahead of the calls that ask for them: never visible, whatever the caller does."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest

import speediff
from speediff import NoiseSchedule, TimestepSampler


def batches_of(schedule: NoiseSchedule, n: int, steps: int, **options: Any) -> list[np.ndarray]:
    """What should come, each step drawn by itself."""
    sampler = TimestepSampler.speed(schedule, **options)
    return [sampler.sample(n, step=step)[0] for step in range(steps)]


def test_changing_what_was_returned_changes_no_later_draw(linear: NoiseSchedule) -> None:
    expected = batches_of(linear, 16, 200)
    sampler = TimestepSampler.speed(linear)
    for batch in expected:
        t, w = sampler.sample(16)
        assert (t == batch).all()
        assert (w == sampler.weights[t].astype(np.float32)).all()
        t[:], w[:] = -1, np.nan


def test_later_draws_change_nothing_that_was_returned(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear)
    kept, expected = [sampler.sample(16) for _ in range(300)], batches_of(linear, 16, 300)
    for (t, w), batch in zip(kept, expected, strict=True):
        assert (t == batch).all()
        assert (w == sampler.weights[t].astype(np.float32)).all()
    sampler.close()
    assert all((t == batch).all() for (t, _), batch in zip(kept, expected, strict=True))


def test_no_two_results_overlap_in_memory(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear)
    arrays = [array for _ in range(130) for array in sampler.sample(5)]
    spans = sorted((array.ctypes.data, array.ctypes.data + array.nbytes) for array in arrays)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


@pytest.mark.parametrize("n", [1, 2, 16, 100, 5000, 12_288, 12_289, 40_000])
def test_batches_of_any_size_come_in_their_turn(linear: NoiseSchedule, n: int) -> None:
    sampler = TimestepSampler.speed(linear)
    for expected in batches_of(linear, n, 130 if n <= 100 else 5):
        t, w = sampler.sample(n)
        assert t.flags.c_contiguous
        assert w.flags.c_contiguous
        assert t.flags.writeable
        assert w.flags.writeable
        assert (t == expected).all()


def test_samplers_that_take_turns_do_not_disturb_each_other(linear: NoiseSchedule) -> None:
    seeds = range(5)
    expected = [batches_of(linear, 8, 100, seed=seed) for seed in seeds]
    samplers = [TimestepSampler.speed(linear, seed=seed) for seed in seeds]
    for step in range(100):
        for seed in (3, 0, 4, 1, 2):
            assert (samplers[seed].sample(8)[0] == expected[seed][step]).all()


def test_the_same_run_twice_is_the_same(linear: NoiseSchedule) -> None:
    first, second = (
        [sampler.sample(8)[0].tolist() for _ in range(200)]
        for sampler in (TimestepSampler.speed(linear, seed=5) for _ in range(2))
    )
    assert first == second


def test_a_failed_call_takes_no_turn(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear)
    out = np.empty(7, np.int64), np.empty(7, np.float32)
    for step, expected in enumerate(batches_of(linear, 8, 70)):
        for arguments in ((-1,), (2**40,), (2**70,), (8, 3.5), ("8",), (None,)):
            with pytest.raises((speediff.SpeeDiffError, TypeError)):
                sampler.sample(*arguments)
        for options in ({"out": out}, {"offset": 1}, {"offset": 0, "total": 3}, {"step": -1}):
            with pytest.raises(speediff.SpeeDiffError):
                sampler.sample(8, **options)
        assert sampler.step == step
        assert (sampler.sample(8)[0] == expected).all()


@pytest.mark.parametrize("sizes", [(8,), (8, 9)])
def test_threads_share_a_sampler_and_each_batch_goes_to_one_of_them(
    linear: NoiseSchedule, sizes: tuple[int, ...]
) -> None:
    sampler = TimestepSampler.speed(linear)
    drawn: list[list[np.ndarray]] = [[] for _ in range(4)]
    start = threading.Barrier(4)

    def work(mine: list[np.ndarray]) -> None:
        start.wait()
        for call in range(500):
            mine.append(sampler.sample(sizes[call % len(sizes)])[0])

    threads = [threading.Thread(target=work, args=(mine,)) for mine in drawn]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sampler.step == 2000
    found = sorted(tuple(batch.tolist())[:8] for mine in drawn for batch in mine)
    assert found == sorted(tuple(batch.tolist()) for batch in batches_of(linear, 8, 2000))


def test_threads_drawing_any_step_get_that_step(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear)
    expected = batches_of(linear, 64, 200)
    wrong: list[int] = []

    def work(first: int) -> None:
        for step in range(first, 200, 4):
            for _ in range(5):
                if not (sampler.sample(64, step=step)[0] == expected[step]).all():
                    wrong.append(step)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
