"""Signal handlers that use a trainer while it trains, and Ctrl-C at any place of a step."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tiny_trainers import create, images, labels, memory, sampler

import speediff
from speediff import Trainer, sampling

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

X, Y = images(), labels()
SIGNALS_AFTER = ("call", "c_return")
"""Where Python looks for signals: as a function begins, and as one of C has ended."""


def learning_trainer(accumulation: int) -> Trainer:
    return create(sampler(sampling=sampling.Adaptive(bins=5), accumulation=accumulation))


def interrupted_step(trainer: Trainer, handler: Callable[[], Any], after: int) -> tuple[Any, bool]:
    """A step with a handler at one of the places where Python looks for signals.

    Returns what the step raises, and whether it came to that place.
    """
    left, happened = after, False

    def profile(frame: Any, event: str, _: Any) -> None:
        nonlocal left, happened
        # Not before the step has begun, nor in what ends the profile.
        left -= event in SIGNALS_AFTER and frame.f_code is not interrupted_step.__code__
        if left == 0 and not happened:
            happened = True
            sys.setprofile(None)
            handler()

    error = None
    try:
        sys.setprofile(profile)
        trainer.step(X, Y)
    except (KeyboardInterrupt, speediff.SpeeDiffError) as caught:
        error = caught
    finally:
        sys.setprofile(None)
    return error, happened


def state_of(trainer: Trainer) -> Any:
    return trainer.global_step, memory(trainer), trainer.sampler.state_dict()["history"]


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_handler_saves_a_whole_step_or_gets_an_error(accumulation: int, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    with learning_trainer(accumulation) as trainer:
        states = [state_of(trainer)]
        trainer.step(X, Y)
        states.append(state_of(trainer))
    saved, busy = 0, 0

    def save() -> None:
        nonlocal saved, busy
        try:
            trainer.save(path)
            saved += 1
        except speediff.SpeeDiffBusyError as error:
            busy += 1
            assert "let the handler set a flag" in str(error)  # noqa: PT017

    for place in itertools.count(1):
        path.unlink(missing_ok=True)
        with learning_trainer(accumulation) as trainer:
            error, happened = interrupted_step(trainer, save, place)
            assert error is None
            assert state_of(trainer) == states[1]
        if not happened:
            break
        if path.exists():
            with Trainer.load(path, threads=1) as again:
                assert state_of(again) in states
    assert saved > 2
    assert busy > 5


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_step_within_a_step_is_refused_and_spoils_nothing(accumulation: int) -> None:
    with learning_trainer(accumulation) as trainer:
        expected = []
        for _ in range(2):
            trainer.step(X, Y)
            expected.append(state_of(trainer))
    outcomes = set()

    def step() -> None:
        try:
            trainer.step(X, Y)
            outcomes.add("before or after")
        except speediff.SpeeDiffBusyError:
            outcomes.add("busy")

    for place in itertools.count(1):
        with learning_trainer(accumulation) as trainer:
            error, happened = interrupted_step(trainer, step, place)
            assert error is None
            assert state_of(trainer) in expected
        if not happened:
            break
    assert outcomes == {"busy", "before or after"}


# Python drops an exception within a finalizer of its own.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_at_any_place_of_a_step_leaves_a_trainer_that_goes_on() -> None:
    with learning_trainer(2) as trainer:
        expected = []
        for _ in range(3):
            expected.append(memory(trainer))
            trainer.step(X, Y)

    def stop() -> None:
        raise KeyboardInterrupt

    stopped = 0
    for place in itertools.count(1):
        with learning_trainer(2) as trainer:
            error, happened = interrupted_step(trainer, stop, place)
            if not happened:
                break
            stopped += isinstance(error, KeyboardInterrupt)
            assert memory(trainer) == expected[trainer.global_step]
            before = trainer.global_step
            trainer.step(X, Y)
            assert trainer.global_step == before + 1
    assert stopped > 20
