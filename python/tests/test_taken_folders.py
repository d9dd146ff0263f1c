"""A run's folder belongs to one command at a time, and failed ones leave none behind."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from training_runs import QUICK, TINY, fails, losses, train

from speediff import SpeeDiffError
from speediff._runs.folders import LOCK, NewFolder, TakenFolder
from speediff._support import messages
from speediff.errors import SpeeDiffBusyError

if TYPE_CHECKING:
    from pathlib import Path

for module in ("tqdm", "PIL", "matplotlib"):
    pytest.importorskip(module)

ENDLESS = ("--steps", "1000000", "--samples", "0")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def start(command: str, data: str, out: Path, *flags: str) -> subprocess.Popen[str]:
    """A run that has taken its folder and trains."""
    words = [command, data, "--out", str(out), *TINY, *ENDLESS, *flags]
    process = subprocess.Popen([sys.executable, "-m", "speediff", *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert any(re.search(r": 0/[12]000000 steps", line) for line in process.stderr)
    return process


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGKILL) -> None:
    process.send_signal(number)
    process.communicate(timeout=60)


@pytest.mark.parametrize("flags", [(), ("--resume",)])
def test_a_second_run_is_told_who_has_the_folder(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]
) -> None:
    process = start("train", images, tmp_path)
    message = f"{tmp_path} must not be used by two commands at once, and process {process.pid} on "
    fails(capsys, message + socket.gethostname(), "train", images, "--out", str(tmp_path), *TINY, *flags)
    end(process, signal.SIGINT)
    steps = len(losses(tmp_path))
    assert names(tmp_path) == ["loss.csv", "run.json", "run.safetensors"]
    train(images, tmp_path, "--steps", str(steps + 1), "--samples", "0", "--resume")


def test_a_killed_run_gives_its_folder_back(images: str, tmp_path: Path) -> None:
    end(start("train", images, tmp_path))
    assert LOCK in names(tmp_path)
    train(images, tmp_path, *QUICK)
    assert names(tmp_path) == ["loss.csv", "run.json", "run.safetensors"]


def test_a_comparison_has_its_folder_and_those_of_its_runs(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start("compare", images, tmp_path, "--methods", "uniform,speed", "--jobs", "1")
    for command in ("compare", "train"):
        message = f"{tmp_path} must not be used by two commands at once, and process {process.pid} on "
        fails(capsys, message, command, images, "--out", str(tmp_path), *TINY)
    run = tmp_path / "runs" / "uniform" / "seed-0"
    while not (run / "run.json").exists():
        time.sleep(0.01)
    message = f"{run} must not be used by two commands at once, and process "
    fails(capsys, message, "train", images, "--out", str(run), *TINY)
    end(process, signal.SIGINT)
    assert names(run) == ["loss.csv", "measures.csv", "run.json", "run.safetensors", "times.csv"]
    assert names(run.parents[1]) == ["uniform"]  # The other method has none yet.


def test_ranks_of_a_run_share_its_folder(images: str, tmp_path: Path) -> None:
    from launched_ranks import run

    train(images, tmp_path, *QUICK)
    words = ["-m", "speediff", "train", images, "--out", str(tmp_path), "--resume", "--samples", "0"]
    with TakenFolder(tmp_path):
        codes, _, errors = run("mpi", [[*words, "--steps", "8"]] * 2)
        assert all(codes)
        assert errors.count(f"speediff: rank 0: {tmp_path} must not be used by two commands at once") == 1
    codes, _, errors = run("mpi", [[*words, "--steps", "8"]] * 2)
    assert not any(codes), errors
    assert len(losses(tmp_path)) == 8


# ---- The lock ------------------------------------------------------------------------------------


def test_a_lock_file_that_was_removed_meanwhile_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before ends between this one's opening the file and locking it."""
    before = TakenFolder(tmp_path)
    ends = [lambda: before.__exit__()]
    lock = fcntl.flock

    def late(number: int, how: int) -> None:
        if ends:
            ends.pop()()
        lock(number, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with TakenFolder(tmp_path), pytest.raises(SpeeDiffBusyError):
        TakenFolder(tmp_path)
    assert names(tmp_path) == []


def test_a_full_disk_leaves_the_lock_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with TakenFolder(tmp_path), pytest.raises(SpeeDiffBusyError, match="and another process is using it"):
        TakenFolder(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EIO])
def test_file_systems_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    def without(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", without)
    monkeypatch.setattr(messages, "_said", set())
    if code == errno.EIO:
        with pytest.raises(OSError, match="Input/output error"):
            TakenFolder(tmp_path / "a" / "b")
        return
    with TakenFolder(tmp_path):
        pass
    err = capsys.readouterr().err
    assert err.startswith(f"speediff: warning: the file system of {tmp_path} has no locks")
    assert err.count("\n") == 1


# ---- What is made and left -----------------------------------------------------------------------


def test_folders_that_stay_empty_are_removed_again(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for kind in (NewFolder, TakenFolder):
        with kind(tmp_path / "mine" / "a" / "b"):
            assert (tmp_path / "mine" / "a" / "b").is_dir()
        assert names(tmp_path / "mine") == []
        with kind(tmp_path / "mine"):
            pass
        assert names(tmp_path) == ["mine"], "it was there before"
        with kind(tmp_path / "mine" / "a" / "b"):
            (tmp_path / "mine" / "a" / "file").touch()
        assert names(tmp_path / "mine" / "a") == ["file"]
        (tmp_path / "mine" / "a" / "file").unlink()
        (tmp_path / "mine" / "a").rmdir()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpeeDiffError, match=r"--out must be a folder, got the file .*/file'"):
        TakenFolder(tmp_path / "file")
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "file" / "out"))):
        TakenFolder(tmp_path / "file" / "out")
    assert names(tmp_path) == ["file"]


def test_a_folder_that_no_checkpoint_could_be_in_is_refused(tmp_path: Path) -> None:
    name = tmp_path / os.fsdecode(b"r\xff")
    with pytest.raises(SpeeDiffError, match="--out must be a UTF-8 name, got "):
        TakenFolder(name)
    assert names(tmp_path) == []


def test_a_new_folders_name_reaches_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut takes the folder away with the checkpoint in it."""
    flushed: list[tuple[int, int]] = []

    def fsync(number: int) -> None:
        status = os.fstat(number)
        flushed.append((status.st_dev, status.st_ino))

    monkeypatch.setattr(os, "fsync", fsync)
    with TakenFolder(tmp_path / "a" / "b"):
        expected = [path.stat() for path in (tmp_path, tmp_path / "a")]
    assert flushed == [(status.st_dev, status.st_ino) for status in expected]
