"""Progress where nobody sees a bar move: lines, often enough and not too many."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tiny_trainers import create
from training_runs import QUICK, TINY, train

from speediff._support import log_lines
from speediff._support import progress as progress_bars
from speediff._support.log_lines import LogLines

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("tqdm")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that knows nothing of other tests."""
    monkeypatch.setattr(log_lines, "_clock", log_lines._Clock())


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> float:
    """The seconds between two lines, fewer than as a rule."""
    monkeypatch.setattr(log_lines, "SECONDS", 0.2)
    return 0.2


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    err = capsys.readouterr().err
    assert "\r" not in err
    assert err == "" or err.endswith("\n")
    return err.splitlines()


def quiet(seconds: float) -> None:
    """Work within which nothing is counted."""
    time.sleep(seconds)


def check_often(count: int, seconds: float, often: float) -> None:
    """Whether lines came as often as they should, on a machine that may be busy with other things."""
    assert seconds / (2 * often) - 1 <= count <= seconds / often + 1


# ---- Lines ---------------------------------------------------------------------------------------


def test_there_is_a_line_at_least_every_30_seconds_as_a_rule() -> None:
    assert log_lines.SECONDS < 30


def test_a_line_tells_step_total_note_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with LogLines(label="training", total=8000, initial=200, unit="step", is_main=True) as progress:
        now[0] += 3700
        progress.update(1000)
        progress.set_postfix_str("loss 0.0412, 512 images/s")
        progress._write()
        now[0] += 10
    assert lines(capsys) == [
        "training: 200/8000 steps (2%), 0:00:00",
        "training: 1200/8000 steps (15%), loss 0.0412, 512 images/s, 1:01:40, 6:59:20 left",
        "training: 1200/8000 steps (15%), loss 0.0412, 512 images/s, 1:01:50, 7:00:28 left",
    ]


def test_a_step_that_takes_long_is_told_as_well(capsys: pytest.CaptureFixture[str], often: float) -> None:
    began = time.monotonic()
    with LogLines(label="training", total=2, unit="step"):
        quiet(7 * often)
    check_often(len(lines(capsys)), time.monotonic() - began, often)


def test_work_within_work_speaks_for_both(capsys: pytest.CaptureFixture[str], often: float) -> None:
    """However often the inner one changes, no line is missing."""
    began = time.monotonic()
    with LogLines(label="outer", total=2, unit="step"):
        while time.monotonic() - began < 8 * often:
            with LogLines(label="inner", delay=60):
                quiet(0.6 * often)
    found = lines(capsys)
    check_often(len(found), time.monotonic() - began, often)
    assert {line.split(":")[0] for line in found[:-1]} == {"inner"}
    assert found[-1].startswith("outer: 0/2 steps")


def test_works_in_a_row_are_no_longer_silent_than_one(
    capsys: pytest.CaptureFixture[str], often: float
) -> None:
    began = time.monotonic()
    for _ in range(10):
        with LogLines(label="short", delay=60):
            quiet(0.8 * often)
    check_often(len(lines(capsys)), time.monotonic() - began, often)


def test_short_work_writes_what_it_should(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars.task("reading data"):
        pass
    assert lines(capsys) == []
    assert list(progress_bars.bar(range(3), "reading pictures", unit="picture", delay=1)) == [0, 1, 2]
    assert lines(capsys) == []
    with progress_bars.bar(label="sampling", total=3) as progress:
        progress.update(3)
    assert lines(capsys) == ["sampling: 3/3 steps (100%), 0:00:00"]


def test_the_clock_ends_with_the_work() -> None:
    """One thread, which ends long before its next line is due."""
    before = set(threading.enumerate())  # Those of other tests may still be ending.
    with LogLines(label="work"):
        clocks = [t for t in set(threading.enumerate()) - before if t.name == "speediff.progress"]
        assert len(clocks) == 1
    clocks[0].join(timeout=log_lines.SECONDS / 2)
    assert not clocks[0].is_alive()


def test_without_another_thread_there_are_the_first_and_the_last_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", none_left)
    with LogLines(label="work", total=1, unit="step", is_main=True) as progress:
        progress.update()
    assert lines(capsys) == ["work: 0/1 steps (0%), 0:00:00", "work: 1/1 steps (100%), 0:00:00"]


# ---- Commands ------------------------------------------------------------------------------------


def test_a_run_in_a_log(images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(images, tmp_path, "--steps", "20", "--samples", "1", "--sample-steps", "2", "--sample-every", "10")
    first, *pictures, last, final = (line for line in lines(capsys) if " steps (" in line)
    assert first.startswith("training: 0/20 steps (0%)")
    assert re.fullmatch(r"training: 20/20 steps \(100%\), loss \d\.\d{4}, \d+ images/s, 0:00:\d\d", last)
    for line in (*pictures, final):
        assert line.startswith("sampling: 2/2 steps (100%)")
    assert len(pictures) == 2


SLOWLY = """
import sys, time
from speediff._data import datasets
from speediff._support import log_lines
from speediff.cli import main
log_lines.SECONDS = 0.2
def slow(function):
    def slowed(*arguments, **options):
        time.sleep(1)
        return function(*arguments, **options)
    return slowed
datasets._read_training = slow(datasets._read_training)
sys.exit(main(sys.argv[1:]))
"""


def test_reading_data_and_sampling_are_told_where_they_take_long(images: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLOWLY, "train", images, "--out", str(tmp_path), *TINY]
    slow = ("--steps", "1", "--samples", "16", "--sample-steps", "1000")
    process = subprocess.Popen([*command, *slow], stderr=subprocess.PIPE)
    assert process.stderr is not None
    text = b""
    while b"sampling: 1" not in text and (piece := os.read(process.stderr.fileno(), 1000)):
        text += piece
    process.kill()
    process.communicate()
    assert b"\r" not in text
    assert text.count(f"reading {images}: 0:00:0".encode()) >= 3
    assert len(re.findall(rb"sampling: \d+/2000 steps \(\d+%\), 0:", text)) >= 1


@pytest.mark.parametrize("columns", [80, 0])
def test_a_terminal_has_a_bar_if_it_has_columns(images: str, tmp_path: Path, columns: int) -> None:
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "speediff", "train", images, "--out", str(tmp_path), *TINY, *QUICK]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=child)
    os.close(child)
    text = b""
    try:
        while piece := os.read(parent, 1000):
            text += piece
    except OSError:  # Linux's answer where the other end is closed.
        pass
    assert process.wait() == 0
    assert (b"\rtraining: 100%|" if columns else b"training: 6/6 steps (100%), loss ") in text
    assert b"6/6" in text


def test_a_program_of_ones_own_has_lines_in_its_log(capsys: pytest.CaptureFixture[str]) -> None:
    with create() as trainer:
        trainer.generate(np.zeros(3, np.int64), steps=3, progress=True)
    assert lines(capsys) == ["sampling: 3/3 steps (100%), 0:00:00"]
