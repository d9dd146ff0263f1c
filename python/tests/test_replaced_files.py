"""Files that are replaced as a whole: what is there before, after, and when something goes wrong."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tiny_trainers import create

from speediff import SpeeDiffFileError
from speediff._support.replacement import check, replace, replace_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def save(path: Path, _: str) -> None:
    """What a checkpoint's writer does in the place of `replace_text`."""
    with create() as trainer:
        trainer.save(path)


WRITERS: Any = pytest.mark.parametrize("write", [replace_text, save])
"""Both, so that all files of a run are alike."""


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@WRITERS
def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path: Path, write: Callable[..., None]) -> None:
    write(tmp_path / "file", "text")
    assert mode(tmp_path / "file") == 0o640
    assert names(tmp_path) == ["file"]


@WRITERS
@pytest.mark.parametrize("permissions", [0o600, 0o644, 0o660])
def test_a_file_keeps_its_mode(tmp_path: Path, write: Callable[..., None], permissions: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(permissions)
    before = path.stat().st_ino
    write(path, "text")
    assert mode(path) == permissions
    assert path.stat().st_ino != before, "written in place: a power cut would leave a part of it"


@WRITERS
@pytest.mark.parametrize("is_there", [True, False])
def test_links_stay_and_lead_to_the_new_file(
    tmp_path: Path, write: Callable[..., None], is_there: bool
) -> None:
    (tmp_path / "big").mkdir()
    target = tmp_path / "big" / "target"
    if is_there:
        target.write_text("old")
    (tmp_path / "link").symlink_to("second")
    (tmp_path / "second").symlink_to(Path("big") / "target")
    write(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "second").is_symlink()
    assert target.read_bytes() not in (b"", b"old")
    assert names(tmp_path) == ["big", "link", "second"]
    assert names(target.parent) == ["target"]


@WRITERS
def test_what_is_no_file_is_refused(tmp_path: Path, write: Callable[..., None]) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "circle").symlink_to("circle")
    for name in ("folder", "fifo", "circle", "missing/file"):
        with pytest.raises(OSError, match=re.escape(str(tmp_path / name.split("/")[0]))) as error:
            write(tmp_path / name, "text")
        if write is replace_text:
            with pytest.raises(OSError, match=re.escape(str(error.value))):
                check(tmp_path / name)
    assert names(tmp_path) == ["circle", "fifo", "folder"]


def test_a_check_leaves_everything_as_it_was(tmp_path: Path) -> None:
    check(tmp_path / "new")
    assert names(tmp_path) == []
    (tmp_path / "file").write_text("old")
    check(tmp_path / "file")
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_name_that_is_too_long_is_told_beforehand(tmp_path: Path) -> None:
    check(tmp_path / ("é" * 127))  # 254 bytes; a temporary file's name is cut.
    with pytest.raises(OSError, match="File name too long"):
        check(tmp_path / ("é" * 128))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written_is_told_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o400)
    with pytest.raises(PermissionError, match="file"):
        check(tmp_path / "file")


def test_a_failure_leaves_the_old_file_and_names_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_text(path, "old")

    def full(file: Any) -> None:
        file.write(b"new")
        raise OSError(errno.ENOSPC, "No space left on device")

    def defect(_: Any) -> None:
        raise KeyError("a defect")

    with pytest.raises(OSError, match="No space left") as error:
        replace(path, full)
    assert error.value.filename == str(path)
    with pytest.raises(KeyError, match="a defect"):
        replace(path, defect)
    with pytest.raises(KeyboardInterrupt):
        replace(path, lambda file: (_ for _ in ()).throw(KeyboardInterrupt))
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


LIMITED = """
import resource, sys
from pathlib import Path
from speediff._support.replacement import replace_text
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    replace_text(Path(sys.argv[1]), "x" * 100_000)
except OSError as error:
    print(error)
"""


def test_a_write_that_the_system_cuts_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    command = [sys.executable, "-c", LIMITED, str(path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == f"[Errno {errno.EFBIG}] File too large: '{path}'\n"
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_all_is_on_the_device_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut leaves an empty file: a rename may reach the device before the content does."""
    done: list[str] = []
    path = tmp_path / "file"

    def fsync(number: int) -> None:
        status = os.fstat(number)
        done.append("flush folder" if stat.S_ISDIR(status.st_mode) else f"flush {status.st_size} bytes")

    def renamed(*arguments: Any, **options: Any) -> None:
        done.append("rename")
        os.rename(*arguments, **options)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", renamed)
    replace_text(path, "text")
    assert done == ["flush 4 bytes", "rename", "flush folder"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO])
def test_folders_that_cannot_be_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fsync(number: int) -> None:
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    if code == errno.EINVAL:  # The file system has no such thing.
        replace_text(tmp_path / "file", "text")
    else:
        with pytest.raises(OSError, match="Input/output error"):
            replace_text(tmp_path / "file", "text")


@WRITERS
def test_temporary_files_of_killed_writers_are_removed(tmp_path: Path, write: Callable[..., None]) -> None:
    """Those of a checkpoint's writer have the same names, and are locked while it lives."""
    stale, other, own = (tmp_path / f".{name}.tmp" for name in (
        "file.speediff-123-0", "else.speediff-123-0", "file.speediff-123-1"
    ))  # fmt: skip
    for path in (stale, other, own):
        path.touch()
    with own.open("r+b") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        write(tmp_path / "file", "text")
    assert names(tmp_path) == sorted([other.name, own.name, "file"])


def test_many_files_are_written_without_a_look_through_their_folder_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else thousands of pictures would take a time that grows with their square."""

    def late(*_: Any) -> list[str]:
        raise AssertionError("the folder is listed")

    monkeypatch.setattr(os, "listdir", late)
    for number in range(3):
        replace(tmp_path / str(number), lambda file: file.write(b"x"), is_one_of_many=True)
    with pytest.raises(AssertionError):
        replace_text(tmp_path / "0", "text")
    monkeypatch.undo()
    (tmp_path / ".0.speediff-123-0.tmp").touch()
    check(tmp_path / "0")
    assert names(tmp_path) == ["0", "1", "2"], "they are removed beforehand"


def test_two_writers_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def write(file: Any) -> None:
        replace_text(path, "inner")
        file.write(b"outer")

    replace(path, write)
    assert path.read_text() == "outer"
    assert names(tmp_path) == ["file"]


def test_bytes_of_names_that_are_no_utf8_come_back_from_json(tmp_path: Path) -> None:
    import json

    name = os.fsdecode(b"d\xff\xc3\xa9.npz")
    replace_text(tmp_path / "file", json.dumps({"source": name}, ensure_ascii=False))
    assert json.loads((tmp_path / "file").read_text(encoding="utf-8")) == {"source": name}


def test_a_file_error_is_an_error_of_this_package(tmp_path: Path) -> None:
    with pytest.raises(SpeeDiffFileError, match=r"must be a regular file, got a directory"):
        replace_text(tmp_path, "text")
