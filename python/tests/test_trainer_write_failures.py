"""Each call that writes a checkpoint fails in turn: the error names the file, and the old file stays."""

from __future__ import annotations

import errno
import json
import os
import platform
import subprocess
from pathlib import Path

import pytest
from tiny_trainers import in_a_child

FOLDER = Path(__file__).parent

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="replaces glibc's functions")


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library whose functions come before those of the C library."""
    library = tmp_path_factory.mktemp("failing") / "failing_files.so"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, FOLDER / "failing_files.c", "-o", library, "-ldl"], check=True)
    return library


@pytest.fixture
def path(tmp_path: Path, preloaded: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LD_PRELOAD", str(preloaded))
    return tmp_path / "run.safetensors"


LEAD = """
    import ctypes, json, os, sys
    from pathlib import Path
    import tiny_trainers as t
    import speediff
    files, path = ctypes.CDLL(os.environ["LD_PRELOAD"]), Path(sys.argv[1])
    files.watched_files.restype = ctypes.c_char_p
"""
FAILING = f"""{LEAD}
    with t.create() as trainer:
        trainer.save(path)
        path.chmod(0o640)
        for call, error, earlier in json.loads(sys.argv[2]):
            old, message = path.read_bytes(), None
            trainer.step(t.images(), t.labels())
            files.watch_files(call.encode(), error, earlier)
            try:
                trainer.save(path)
            except speediff.SpeeDiffFileError as caught:
                message = str(caught)
            files.watched_files()
            names = sorted(entry.name for entry in path.parent.iterdir())
            print(json.dumps([message, path.read_bytes() == old, names]))
            trainer.save(path)
            speediff.Trainer.load(path).close()
            assert path.stat().st_mode & 0o777 == 0o640
"""
FAILURES = [
    *[
        ("create", number, 0)
        for number in (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EMFILE)
    ],
    *[("pwrite", number, 0) for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)],
    ("pwrite", errno.ENOSPC, 3),
    ("fchmod", errno.EPERM, 0),
    *[("fsync", number, 0) for number in (errno.EIO, errno.ENOSPC, errno.EDQUOT)],
    *[("close", number, 0) for number in (errno.EIO, errno.ENOSPC, errno.EDQUOT)],
    *[("renameat", number, 0) for number in (errno.EIO, errno.EROFS)],
]


def failures(path: Path, cases: list[tuple[str, int, int]]) -> list[tuple[str | None, bool, list[str]]]:
    """For each case the message, whether the old file is still there, and all files."""
    lines = in_a_child(FAILING, str(path), json.dumps(cases)).splitlines()
    assert len(lines) == len(cases)
    return [tuple(json.loads(line)) for line in lines]


def test_a_call_that_fails_leaves_the_old_file_alone_and_names_it(path: Path) -> None:
    for case, (message, is_old, names) in zip(FAILURES, failures(path, FAILURES), strict=True):
        assert message is not None, case
        assert message.startswith(f"{path} must "), case
        assert message.endswith(f"got {os.strerror(case[1])} (errno {case[1]})"), case
        assert is_old, case
        assert names == [path.name], case


def test_a_call_that_is_interrupted_goes_on(path: Path) -> None:
    cases = [("pwrite", errno.EINTR, 2), ("fsync", errno.EINTR, 0), ("close", errno.EINTR, 0)]
    cases.append(("create", errno.EINTR, 0))
    for message, is_old, names in failures(path, cases):
        assert (message, is_old, names) == (None, False, [path.name])


def test_a_folder_that_cannot_be_flushed_has_the_new_file(path: Path) -> None:
    (message, is_old, names), *others = failures(
        path, [("fsync", errno.EIO, 1), ("fsync", errno.EINVAL, 1), ("fsync", errno.ENOSYS, 1)]
    )
    assert message is not None
    assert message.startswith(f"{path} must be flushed to its device")
    assert (is_old, names) == (False, [path.name])
    # Some file systems have nothing to flush there.
    assert others == [(None, False, [path.name])] * 2


ORDER = f"""{LEAD}
    with t.create() as trainer:
        for _ in range(2):
            files.watch_files(b"", 0, 0)
            trainer.save(path)
            print(files.watched_files().decode())
"""


def test_a_file_is_on_its_device_before_it_has_the_name_and_the_name_thereafter(path: Path) -> None:
    # A power cut between any two of the calls leaves the old file, or the new one.
    for line in in_a_child(ORDER, str(path)).splitlines():
        calls = [
            call for call, before in zip(line.split(), [None, *line.split()], strict=False) if call != before
        ]
        calls = [call for call in calls if call != "fchmod"]
        assert calls[:6] == ["create", "pwrite", "fsync", "close", "renameat", "fsync"]
