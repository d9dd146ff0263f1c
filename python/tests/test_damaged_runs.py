"""Folders of runs that lost something beside a whole checkpoint: they go on, and say what is lost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from training_runs import QUICK, fails, losses, train

from speediff._runs.step_log import StepLog
from speediff._support import messages
from speediff._trainer import checkpoints
from speediff.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("tqdm")

COLUMNS = ("loss", "seconds")
HEADER = "step,loss,seconds\r\n"
ROWS = [(1, (0.5, 0.25)), (2, (1 / 3, None)), (4, (2e-7, 1.0))]
WHOLE = HEADER + "1,0.5,0.25\r\n2,0.3333333333333333,\r\n4,2e-07,1.0\r\n"


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "_said", set())


def read(path: Path, content: bytes, last_step: int = 9) -> StepLog:
    path.write_bytes(content)
    log = StepLog(path, COLUMNS)
    log.read(last_step)
    return log


def test_a_log_is_read_as_it_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = StepLog(tmp_path / "loss.csv", COLUMNS)
    for step, values in ROWS:
        log.append(step, *values)
    log.write()
    assert (tmp_path / "loss.csv").read_bytes().decode() == WHOLE
    assert read(tmp_path / "loss.csv", WHOLE.encode()).rows == ROWS
    assert read(tmp_path / "loss.csv", WHOLE.encode(), 2).rows == ROWS[:2]
    assert read(tmp_path / "loss.csv", WHOLE.replace("\r", "").encode()).rows == ROWS  # As editors save it.
    assert read(tmp_path / "loss.csv", WHOLE.encode() + b"\r\n\n").rows == ROWS
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (lambda whole: b"", 0),
        (lambda whole: bytes(len(whole)), 0),  # What some file systems leave after a power cut.
        (lambda whole: whole[:5], 0),
        (lambda whole: b"epoch,loss\n1,2\n", 0),
        (lambda whole: b"\xff\xfe" + whole, 0),
        (lambda whole: whole[:-2], 2),  # The last row looks whole, but may have lost digits.
        (lambda whole: whole[:-5], 2),
        (lambda whole: whole[:-8], 2),
        (lambda whole: whole + b"5", 3),
        (lambda whole: whole + b"5,0.1\n", 3),
        (lambda whole: whole + b"5,0.1,1,2\n", 3),
        (lambda whole: whole + b"5,0.1,1,2,3,4\n", 3),
        (lambda whole: whole + b"5,a,b\n6,0.1,1\n", 3),
        (lambda whole: whole + b"4,0.1,1\n", 3),
        (lambda whole: whole + b"3,0.1,1\n", 3),
        (lambda whole: whole + b"\0\0\0\0", 3),
        (lambda whole: whole + b"\xff,\xff,\xff\n", 3),
        (lambda whole: whole.replace(b"2,0.3", b"2;0.3"), 1),
        (lambda whole: whole + b"9" * 5000 + b",1,1\n", 3),
    ],
)
def test_a_damaged_log_is_cut_back_to_its_last_whole_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes], kept: int
) -> None:
    log = read(tmp_path / "loss.csv", damage(WHOLE.encode()))
    assert log.rows == ROWS[:kept]
    rest = f"rows up to step {ROWS[kept - 1][0]} are kept" if kept else "no rows are kept"
    assert capsys.readouterr().err == f"speediff: warning: {tmp_path / 'loss.csv'} is damaged; {rest}\n"


# ---- The whole command ---------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", HEADER.encode(), b"step,loss\n", None])
def test_a_run_goes_on_without_its_log(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    train(images, tmp_path, *QUICK)
    log = tmp_path / "loss.csv"
    log.unlink() if content is None else log.write_bytes(content)
    train(images, tmp_path, "--steps", "8", "--samples", "0", "--resume")
    assert [line.split(",")[0] for line in log.read_text().splitlines()] == ["step", "7", "8"]
    assert ("speediff: warning: " in capsys.readouterr().err) == (content != HEADER.encode())


def damaged(content: str) -> list[str]:
    return [
        "",
        "\0" * len(content),
        "[]",
        "{}",
        "null",
        content[:-30],
        content.replace('"seed"', '"sed"'),
        content.replace('"data"', '"dat"'),
        content.replace('"class_names": null', '"class_names": [1]'),
        "[" * 100_000,
        '{"settings": ' * 100_000,
        "9" * 5000,
        content.encode().decode("utf-16-le", "replace"),
    ]


def test_a_description_that_is_damaged_or_missing_is_taken_from_the_checkpoint(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(images, tmp_path, *QUICK, "--method", "uniform+min_snr", "--flip")
    path = tmp_path / "run.json"
    whole = path.read_text()
    again = ("train", images, "--out", str(tmp_path), "--resume", "--samples", "0")
    for content in (*damaged(whole), None):
        path.unlink() if content is None else path.write_text(content)
        fails(capsys, "the settings of the run: --lr 0.0015, got 0.1", *again, "--lr", "0.1")
        capsys.readouterr()
        messages._said.clear()
        assert main(list(again)) == 0
        warning = f"speediff: warning: {path} is damaged; using the copy in run.safetensors\n"
        assert (warning in capsys.readouterr().err) == (content is not None)
        assert path.read_text() == whole, "it is there again"


def test_several_processes_warn_once(images: str, tmp_path: Path) -> None:
    from launched_ranks import run

    train(images, tmp_path, *QUICK)
    (tmp_path / "run.json").write_text("")
    (tmp_path / "loss.csv").write_text("")
    words = ["-m", "speediff", "train", images, "--out", str(tmp_path), "--resume", "--steps", "8"]
    codes, _, errors = run("mpi", [[*words, "--samples", "0"]] * 2)
    assert not any(codes), errors
    assert errors.count("run.json is damaged; using the copy in run.safetensors") == 1
    assert errors.count("loss.csv is damaged; no rows are kept") == 1


def test_a_checkpoint_of_an_earlier_version_needs_its_description(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints.Checkpoint, "run", lambda _: None)
    train(images, tmp_path, *QUICK)
    again = ("train", images, "--out", str(tmp_path), "--resume")
    path = tmp_path / "run.json"
    for content in damaged(path.read_text()):
        path.write_text(content)
        fails(capsys, "run.json must be a run.json that `speediff train` wrote", *again)
    path.unlink()
    fails(capsys, "run.json: No such file or directory", *again)


def test_the_copy_follows_the_run(images: str, tmp_path: Path) -> None:
    train(images, tmp_path, *QUICK)
    train(images, tmp_path, "--steps", "9", "--samples", "0", "--resume")
    copy = checkpoints.Checkpoint(tmp_path / "run.safetensors").run()
    assert copy == json.loads((tmp_path / "run.json").read_text())
    assert copy["settings"]["steps"] == 9


def test_the_description_is_on_the_device_before_the_first_checkpoint(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut at any moment the folder can be resumed, or holds no checkpoint."""
    flushed: list[str] = []
    rename = os.replace
    states: list[list[str]] = []

    def fsync(number: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{number}"))

    def replace(temporary: str, name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        folder = os.readlink(f"/proc/self/fd/{src_dir_fd}")
        assert flushed[-1] == f"{folder}/{temporary}", "its content is"
        rename(temporary, name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    save = checkpoints.save

    def saved(*arguments: object) -> None:
        states.append(list(flushed))
        save(*arguments)  # type: ignore[arg-type]

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(checkpoints, "save", saved)
    out = tmp_path / "a" / "run"
    train(images, out, *QUICK)
    (before,) = states
    assert before[:2] == [str(tmp_path), str(tmp_path / "a")], "the folders' own names"
    temporaries = [Path(name).name.split(".speediff")[0] for name in before]
    assert [name for name in temporaries if name.startswith(".")] == [".run.json", ".loss.csv"]
    assert before[-1] == str(out)


def test_a_moved_run_goes_on(images: str, tmp_path: Path) -> None:
    """Links to files on another disk stay, as do their modes."""
    out, big = tmp_path / "run", tmp_path / "big"
    train(images, out, *QUICK)
    shutil.copytree(out, tmp_path / "plain")
    big.mkdir()
    for path in list(out.iterdir()):
        path.chmod(0o600)
        path.rename(big / path.name)
        path.symlink_to(Path("..") / "big" / path.name)
    for folder in (out, tmp_path / "plain"):
        train(images, folder, "--steps", "8", "--samples", "0", "--resume")
    assert losses(out) == losses(tmp_path / "plain")
    for path in out.iterdir():
        assert path.is_symlink()
        assert path.stat().st_mode & 0o777 == 0o600
