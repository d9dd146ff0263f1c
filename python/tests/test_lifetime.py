"""Objects that are closed, collected, shared by threads."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import speediff
from speediff import NoiseSchedule, TimestepSampler
from speediff._native import c_api as c
from speediff.sampling import Asymmetric
from speediff.weighting import ChangeAware

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_sampler_outlives_its_schedule() -> None:
    schedule = NoiseSchedule.linear(1000)
    sampler = TimestepSampler.speed(schedule)
    expected = TimestepSampler.speed(NoiseSchedule.linear(1000))
    schedule.close()
    del schedule
    gc.collect()
    for _ in range(100):
        assert (sampler.sample(8)[0] == expected.sample(8)[0]).all()
    assert (sampler.weights == expected.weights).all()


def test_the_state_of_a_sampler_whose_schedule_is_closed_goes_both_ways() -> None:
    schedule = NoiseSchedule.linear(1000)
    sampler = TimestepSampler.speed(schedule, seed=3)
    schedule.close()
    sampler.sample(8)
    state = sampler.state_dict()
    expected = sampler.sample(8)[0]
    sampler.load_state_dict(state)
    assert (sampler.sample(8)[0] == expected).all()


USES_OF_A_SAMPLER: list[Callable[[TimestepSampler], Any]] = [
    lambda sampler: sampler.sample(8),
    lambda sampler: sampler.sample(0),
    lambda sampler: sampler.sample(8, step=3),
    lambda sampler: sampler.sample(8, offset=0, total=8),
    lambda sampler: sampler.probabilities,
    lambda sampler: sampler.weights,
    lambda sampler: sampler.marginal(8),
    lambda sampler: sampler.expected_weight(),
    lambda sampler: sampler.load_state_dict(TimestepSampler.speed(NoiseSchedule.linear(1000)).state_dict()),
    lambda sampler: sampler.__enter__(),
]


@pytest.mark.parametrize("use", USES_OF_A_SAMPLER)
@pytest.mark.parametrize("calls", [0, 1])
def test_a_closed_sampler_says_so(
    linear: NoiseSchedule, use: Callable[[TimestepSampler], Any], calls: int
) -> None:
    sampler = TimestepSampler.speed(linear)
    for _ in range(calls):
        sampler.sample(8)
    sampler.close()
    sampler.close()
    with pytest.raises(speediff.SpeeDiffClosedError, match="TimestepSampler must be open, got a closed one"):
        use(sampler)
    assert "TimestepSampler" in repr(sampler)


def test_a_closed_schedule_says_so() -> None:
    schedule = NoiseSchedule.linear(1000)
    schedule.close()
    uses: list[Callable[[], Any]] = [
        lambda: schedule.betas,
        lambda: schedule.snr,
        schedule.process_increments,
        schedule.closed_form_increments,
        lambda: TimestepSampler(schedule),
        lambda: TimestepSampler.speed(schedule),
        schedule.__enter__,
    ]
    for use in uses:
        with pytest.raises(speediff.SpeeDiffClosedError, match="NoiseSchedule"):
            use()
    assert "linear(1000" in repr(schedule)


def test_increments_that_were_read_outlive_their_schedule() -> None:
    schedule = NoiseSchedule.linear(1000)
    increments, betas = schedule.process_increments(), schedule.betas
    schedule.close()
    assert increments.acceleration_end == 220
    assert betas[0] == pytest.approx(1e-4)
    with pytest.raises(speediff.SpeeDiffClosedError):
        increments.convergence_start(10)


def test_with_closes_also_after_an_exception(linear: NoiseSchedule) -> None:
    with TimestepSampler.speed(linear) as sampler:
        sampler.sample(4)
    with pytest.raises(speediff.SpeeDiffClosedError):
        sampler.sample(4)
    with pytest.raises(ZeroDivisionError), NoiseSchedule.linear(100) as schedule:
        1 / 0  # noqa: B018
    with pytest.raises(speediff.SpeeDiffClosedError):
        _ = schedule.betas


def test_an_error_leaves_the_object_usable(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear)
    expected = TimestepSampler.speed(linear)
    for _ in range(70):
        with pytest.raises(speediff.SpeeDiffValueError):
            sampler.sample(-1)
        with pytest.raises(speediff.SpeeDiffValueError):
            sampler.sample(4, offset=3, total=4)
        assert (sampler.sample(4)[0] == expected.sample(4)[0]).all()


def test_native_objects_are_freed(linear: NoiseSchedule) -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    def work() -> None:
        for _ in range(20):
            schedule = NoiseSchedule.constant(50_000, beta=1e-5)
            sampler = TimestepSampler(schedule)
            sampler.sample(8)
            with pytest.raises(speediff.SpeeDiffValueError):
                TimestepSampler(schedule, Asymmetric(5, tau=60_000))

    work()
    before = resident()
    for _ in range(5):
        work()
    # A leak of every object would be 100 times 2 MB at least.
    assert resident() - before < 50e6


def test_objects_are_collected_without_close(linear: NoiseSchedule) -> None:
    for make in (lambda: NoiseSchedule.linear(50), lambda: TimestepSampler.speed(linear)):
        gone = weakref.ref(make())
        gc.collect()
        assert gone() is None


def test_exit_with_open_objects_is_silent() -> None:
    lines = ["import speediff", "s = speediff.NoiseSchedule.linear(100)"]
    script = "\n".join([*lines, "t = speediff.TimestepSampler(s)", "t.sample(3)"])
    path = re.sub(r"/speediff/__init__\.py$", "", speediff.__file__)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, {path!r})\n{script}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize("how", ["close", "load"])
def test_a_sampler_can_be_closed_or_reset_while_other_threads_draw(linear: NoiseSchedule, how: str) -> None:
    expected = {tuple(TimestepSampler.speed(linear).sample(50, step=step)[0].tolist()) for step in range(400)}
    for _ in range(20):
        sampler = TimestepSampler.speed(linear)
        state = sampler.state_dict()
        started = threading.Barrier(4)
        outcomes: list[Any] = []

        def draw(sampler: Any = sampler, started: Any = started, outcomes: list[Any] = outcomes) -> None:
            started.wait()
            try:
                for step in range(100):
                    outcomes.append(tuple(sampler.sample(50)[0].tolist()))
                    outcomes.append(tuple(sampler.sample(50, step=step)[0].tolist()))
            except BaseException as error:
                outcomes.append(type(error))

        threads = [threading.Thread(target=draw) for _ in range(3)]
        for thread in threads:
            thread.start()
        started.wait()
        if how == "close":
            sampler.close()
        else:
            sampler.load_state_dict(state)
        for thread in threads:
            thread.join()
        assert set(outcomes) <= expected | {speediff.SpeeDiffClosedError}


def test_messages_of_two_threads_are_never_mixed() -> None:
    def fail(make: Callable[[float], Any], rule: str, first: int) -> list[str]:
        wrong = []
        for i in range(3000):
            value = first + i / 4096
            try:
                make(value)
            except speediff.SpeeDiffValueError as error:
                if not (str(error).startswith(rule) and str(error).endswith(f"got {value}")):
                    wrong.append(str(error))
        return wrong

    with ThreadPoolExecutor(3) as pool:
        jobs = [
            pool.submit(fail, ChangeAware, "lam must", 7),
            pool.submit(fail, Asymmetric, "k must", -900),
            pool.submit(fail, lambda beta: NoiseSchedule.constant(10, beta=beta), "beta must", 3),
        ]
        assert [job.result() for job in jobs] == [[], [], []]


def test_a_new_thread_has_no_message_of_another() -> None:
    with pytest.raises(speediff.SpeeDiffValueError):
        ChangeAware(3)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(c.speediff_last_error).result() == b""
