"""Generations and saves that Ctrl-C, other signals or a progress bar end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tqdm.auto
from tiny_trainers import create, images, labels, memory

import speediff
from speediff import DiT, NoiseSchedule, TimestepSampler, Trainer
from speediff._support import progress as progress_bars

if TYPE_CHECKING:
    from pathlib import Path

X, Y = images(), labels()


def long_generation(trainer: Trainer, **options: Any) -> None:
    trainer.generate(np.zeros(64, np.int64), steps=1000, **options)


@pytest.fixture
def slow() -> Trainer:
    """A trainer that would generate for a minute."""
    model = DiT(hidden_size=64, depth=8, num_heads=2, patch_size=2)
    return create(TimestepSampler(NoiseSchedule.linear(1000)), model)


@pytest.mark.parametrize("progress", [False, True])
@pytest.mark.parametrize("delay", [0.0, 0.01, 0.1, 0.3])
def test_ctrl_c_ends_a_generation_and_the_trainer_stays_usable(
    delay: float, progress: bool, slow: Trainer
) -> None:
    before = memory(slow)
    timer = threading.Timer(delay, os.kill, [os.getpid(), signal.SIGINT])
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        timer.start()
        long_generation(slow, progress=progress)
    assert time.monotonic() - began < 10
    assert memory(slow) == before
    slow.step(X, Y)
    assert np.isfinite(slow.generate(Y, steps=2)).all()


def test_what_any_signals_handler_raises_ends_a_generation(slow: Trainer) -> None:
    def out_of_time(number: int, frame: object) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, out_of_time)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(TimeoutError):
            long_generation(slow)
    finally:
        signal.signal(signal.SIGALRM, previous)
    slow.step(X, Y)


class Broken(tqdm.auto.tqdm):  # type: ignore[type-arg]
    """A progress bar that raises when it moves."""

    def update(self, n: float | None = 1) -> bool | None:
        raise ZeroDivisionError("a bar")


@pytest.mark.parametrize("length", ["short", "long"])
def test_what_a_progress_bar_raises_ends_a_generation(
    length: str, slow: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tqdm.auto, "tqdm", Broken)
    monkeypatch.setattr(progress_bars, "_is_watched", lambda: True)  # A terminal, or a notebook.
    before = memory(slow)
    with pytest.raises(ZeroDivisionError, match="a bar"):
        long_generation(slow, progress=True) if length == "long" else slow.generate(Y, steps=2, progress=True)
    assert memory(slow) == before
    slow.generate(Y, steps=2)


def test_a_progress_bar_shows_all_steps(capsys: pytest.CaptureFixture[str]) -> None:
    with create() as trainer:
        trainer.generate(np.zeros(70, np.int64), steps=3, progress=True)
        assert "6/6" in capsys.readouterr().err
        trainer.generate(Y, steps=3)
        assert capsys.readouterr().err == ""


def test_generating_without_tqdm_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with create() as trainer:
        with pytest.raises(speediff.SpeeDiffError, match=r"tqdm|train"):
            trainer.generate(Y, steps=3, progress=True)
        trainer.generate(Y, steps=3)


def test_an_interrupted_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    with create() as trainer:
        trainer.save(path)
        for delay in (0.0, 1e-4, 1e-3):
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012
                threading.Timer(delay, os.kill, [os.getpid(), signal.SIGINT]).start()
                while True:
                    trainer.save(path)
            Trainer.load(path).close()
            trainer.step(X, Y)
