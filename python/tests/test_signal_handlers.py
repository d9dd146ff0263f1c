"""Signal handlers that use a sampler while the code that they interrupt does.

Python runs a handler between two of its instructions, in the thread that it interrupts. So the tests run one
after each instruction in turn, and compare with the two orders in which the two could have come one after the
other.
"""

from __future__ import annotations

import copy
import itertools
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import speediff
from speediff import NoiseSchedule, TimestepSampler, sampling

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = os.path.dirname(speediff.__file__)
STATEFUL = (
    "_native/handles",
    "_native/native_sampler",
    "_samplers/ahead",
    "_samplers/drawing",
    "_samplers/sampler_base",
    "sampler",
    "torch/_samplers",
)
INTERRUPTED = {os.path.join(PACKAGE, f"{name}.py") for name in STATEFUL}
assert all(map(os.path.isfile, INTERRUPTED))
"""Where samplers change. Other modules only compute."""

SCHEDULE = NoiseSchedule.linear(50)
LOADED = TimestepSampler(SCHEDULE, sampling.Adaptive(bins=5), seed=9)
LOADED.update(np.arange(50), np.linspace(1, 2, 50, dtype=np.float32))
LOADED.step = 20


def learning_sampler(kind: Any, ahead: int) -> Any:
    """One that has learned, with some batches drawn ahead."""
    sampler = kind(SCHEDULE, sampling.Adaptive(bins=5), seed=3, prefetch=4)
    learn(sampler, 1)
    # At first a sampler that learns draws little ahead: 1 call, then 2, then 4.
    for _ in range(7 - ahead):
        sampler.sample(4)
    return sampler


def learn(sampler: Any, slope: float) -> None:
    batch = np.arange(50), slope * np.arange(50, dtype=np.float32) + 1
    if not isinstance(sampler, TimestepSampler):
        import torch

        batch = torch.from_numpy(batch[0]), torch.from_numpy(batch[1])
    sampler.update(*batch)


def drawn(sampler: Any, n: int, **options: Any) -> list[list[float]]:
    return [each.tolist() for each in sampler.sample(n, **options)]


USES: dict[str, Callable[[Any], Any]] = {
    "sample": lambda sampler: drawn(sampler, 4),
    "sample another size": lambda sampler: drawn(sampler, 5),
    "sample a part": lambda sampler: drawn(sampler, 2, offset=1, total=4),
    "update": lambda sampler: learn(sampler, 3),
    "state_dict": lambda sampler: sampler.state_dict(),
    "copy": lambda sampler: copy.copy(sampler).state_dict(),
    "step": lambda sampler: sampler.step,
    "set step": lambda sampler: setattr(sampler, "step", 7),
    "load_state_dict": lambda sampler: sampler.load_state_dict(LOADED.state_dict()),
    "probabilities": lambda sampler: sampler.probabilities.tolist(),
}
HANDLERS = {**USES, "save and sample": lambda sampler: (sampler.state_dict(), drawn(sampler, 4))}


def in_turn(kind: Any, ahead: int, *uses: Callable[[Any], Any]) -> Any:
    """What some uses of a sampler give one after the other, and all that tells its future."""
    sampler = learning_sampler(kind, ahead)
    return [use(sampler) for use in uses], future(sampler)


def future(sampler: Any) -> Any:
    return sampler.state_dict(), drawn(sampler, 4), drawn(sampler, 4), sampler.state_dict()


def interrupted(work: Callable[[], Any], handler: Callable[[], Any], after: int) -> tuple[Any, list[Any]]:
    """Does some work with a handler run after a number of instructions; both results."""
    left, results = after, []

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in INTERRUPTED:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                sys.settrace(None)
                results.append(handler())
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return work(), results
    finally:
        sys.settrace(before)


def check_all_interruptions(kind: Any, name: str, handled: str, ahead: int) -> None:
    work, handler = USES[name], HANDLERS[handled]
    (first, second), rest = in_turn(kind, ahead, work, handler)
    after = first, second, rest
    (second, first), rest = in_turn(kind, ahead, handler, work)
    before = first, second, rest
    for count in itertools.count(1):
        sampler = learning_sampler(kind, ahead)
        signal.alarm(20)  # Whose handler ends a wait for ever.
        result, results = interrupted(lambda s=sampler: work(s), lambda s=sampler: handler(s), count)
        signal.alarm(0)
        if not results:
            break  # The work has no more instructions.
        assert (result, results[0], future(sampler)) in (before, after), count
    assert count > 5


@pytest.fixture(autouse=True)
def no_endless_wait() -> Any:
    def give_up(*_: object) -> None:
        raise TimeoutError("waits for ever")

    before = signal.signal(signal.SIGALRM, give_up)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("ahead", [0, 2])
@pytest.mark.parametrize("handled", HANDLERS)
@pytest.mark.parametrize("name", USES)
def test_a_handler_comes_before_or_after_what_it_interrupts(name: str, handled: str, ahead: int) -> None:
    check_all_interruptions(TimestepSampler, name, handled, ahead)


@pytest.mark.parametrize("handled", ["sample", "update", "save and sample"])
@pytest.mark.parametrize("name", ["sample", "sample another size", "update", "state_dict"])
def test_so_it_does_on_tensors(name: str, handled: str) -> None:
    torch = pytest.importorskip("speediff.torch")
    check_all_interruptions(torch.TimestepSampler, name, handled, 2)


def test_a_handler_of_a_real_signal_saves_a_state_of_the_run() -> None:
    losses = np.ones(8, np.float32)

    def train(sampler: TimestepSampler, is_enough: Callable[[int], bool]) -> tuple[int, list[dict[str, Any]]]:
        step, states = 0, [sampler.state_dict()]
        while not is_enough(step):
            t, _ = sampler.sample(8)
            states.append(sampler.state_dict())
            sampler.update(t, losses)
            states.append(sampler.state_dict())
            step += 1
        return step, states

    def make() -> TimestepSampler:
        return TimestepSampler(SCHEDULE, sampling.Adaptive(bins=5), seed=0)

    sampler, saved = make(), []

    def save(*_: object) -> None:
        saved.append(sampler.state_dict())
        signal.setitimer(signal.ITIMER_REAL, 0.0005)

    signal.signal(signal.SIGALRM, save)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    try:
        steps, _ = train(sampler, lambda _: len(saved) >= 100)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    _, states = train(make(), lambda step: step >= steps)
    assert [state for state in saved if state not in states] == []
