"""Saving that is interrupted or has no room, and paths of all kinds."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_trainers import create, images, in_a_child, labels, memory, refuses

import speediff
from speediff import NoiseSchedule, SpeeDiffFileError, Trainer

LINEAR = NoiseSchedule.linear(1000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.safetensors"


# ---- Kills and full disks ------------------------------------------------------------------------

SAVING = """
    import sys
    import tiny_trainers as t
    model = t.DiT(hidden_size=128, depth=4, num_heads=2, patch_size=4)
    with t.create(model=model) as trainer:
        while True:
            trainer.save(sys.argv[1])
            print("saved", flush=True)
            trainer.step(t.images(1), t.labels(1))
"""


@pytest.mark.parametrize("times", [5, pytest.param(100, marks=pytest.mark.long)])
def test_a_kill_while_saving_leaves_a_whole_file(times: int, path: Path) -> None:
    rng, torn = random.Random(0), 0
    tests = str(Path(__file__).parent)
    script = f"import sys; sys.path[:0] = [{tests!r}, {str(Path(tests).parent)!r}]\n" + textwrap.dedent(
        SAVING
    )
    for _ in range(times):
        child = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "saved\n"
        while not list(path.parent.glob(".*.tmp")):
            pass
        time.sleep(rng.uniform(0, 0.02))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        torn += len(list(path.parent.glob(".*.tmp"))) > 0
        with Trainer.load(path, threads=1) as trainer:
            assert np.isfinite(trainer.flat_parameters).all()
            trainer.save(path)
        assert list(path.parent.iterdir()) == [path]
    print(f"{torn} of {times} kills came in the middle of a file")
    assert torn > 0 or times < 10


TOO_LARGE = """
    import resource, sys
    from pathlib import Path
    import tiny_trainers as t
    import speediff
    path = Path(sys.argv[1])
    with t.create() as trainer:
        trainer.save(path)
        old = path.read_bytes()
        trainer.step(t.images(), t.labels())
        for limit in (0, 1, 5000, len(old) // 2, len(old) - 1):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                trainer.save(path)
            except speediff.SpeeDiffFileError as error:
                print(error)
            assert path.read_bytes() == old
            assert list(path.parent.iterdir()) == [path]
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        trainer.save(path)
        assert path.read_bytes() != old
"""


def test_a_file_that_may_not_be_so_large_leaves_the_old_one(path: Path) -> None:
    lines = in_a_child(TOO_LARGE, str(path)).splitlines()
    assert len(lines) == 5
    assert all(line.startswith(f"{path} must be writable, got File too large") for line in lines)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs to mount a file system")
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(tmp_path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a file system")
    try:
        path = tmp_path / "run.safetensors"
        with create() as trainer:
            trainer.save(path)
            old = path.read_bytes()
            (tmp_path / "ballast").write_bytes(bytes((3 << 20) - len(old) - len(old) // 2))
            trainer.step(images(), labels())
            refuses(lambda: trainer.save(path), "No space left", kind=SpeeDiffFileError)
            assert path.read_bytes() == old
            (tmp_path / "ballast").unlink()
            trainer.save(path)
        Trainer.load(path).close()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


FORBIDDEN = """
    import os, sys
    import tiny_trainers as t
    import speediff
    os.chdir(sys.argv[1])
    with t.create() as trainer:
        trainer.save("kept.safetensors")
        os.chmod("kept.safetensors", 0o444)
        os.chmod(".", 0o555)
        if os.geteuid() == 0:
            os.setuid(65534)
        for path in ("new.safetensors", "kept.safetensors"):
            try:
                trainer.save(path)
            except speediff.SpeeDiffFileError as error:
                print(error)
    speediff.Trainer.load("kept.safetensors").close()
"""


def test_a_directory_that_may_not_be_written_is_an_error(tmp_path: Path) -> None:
    lines = in_a_child(FORBIDDEN, str(tmp_path)).splitlines()
    tmp_path.chmod(0o700)
    assert [line.split()[0] for line in lines] == ["new.safetensors", "kept.safetensors"]
    assert all("Permission denied" in line for line in lines)
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept.safetensors"]


def test_paths_of_all_kinds_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with create() as trainer:
        odd = ["a b", "-rf", "müll 模型 🙂", "new\nline", "quote'\"", ".hidden", "x" * 255, "%s%n"]
        for path in [
            *odd,
            *(name.encode() + b"2" for name in odd[:3]),
            *(Path(name + "3") for name in odd[:3]),
        ]:
            trainer.save(path)
            assert os.path.isfile(path)
            with Trainer.load(path) as loaded:
                assert memory(loaded) == memory(trainer)
        assert len(list(tmp_path.iterdir())) == len(odd) + 6


def test_paths_that_lead_nowhere_are_errors(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    file = tmp_path / "a file"
    file.write_bytes(b"12345678")
    with create() as trainer:
        uses: list[Any] = [trainer.save, Trainer.load]
        for use in uses:
            for path in ("", tmp_path, "/", "/dev/full", tmp_path / "loop", tmp_path / "fifo", file / "x"):
                refuses(lambda path=path, use=use: use(path), "must", kind=SpeeDiffFileError)
            for path in (tmp_path / "none" / "x", "x" * 256, "/x" * 3000):
                refuses(lambda path=path, use=use: use(path), "must", kind=SpeeDiffFileError)
            for path in ("a\0b", b"a\0b"):
                refuses(lambda path=path, use=use: use(path), "^path ", "null")
            for path in (b"\xff\xfe", "\udcff"):
                refuses(
                    lambda path=path, use=use: use(path), "^path must be valid UTF-8, got b'.xff", "rename"
                )
            for path in (None, 3, 3.5, ["x"], file.open("rb")):
                refuses(lambda path=path, use=use: use(path), "^path ", kind=speediff.SpeeDiffTypeError)
        refuses(lambda: Trainer.load(file), "at least|header", kind=SpeeDiffFileError)
        refuses(lambda: Trainer.load(tmp_path / "none"), "No such file", kind=SpeeDiffFileError)
    assert file.read_bytes() == b"12345678"


def test_a_link_leads_to_the_file_that_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "link", tmp_path / "folder" / "run.safetensors"
    link.symlink_to("folder/run.safetensors")
    with create() as trainer:
        trainer.save(link)
        target.chmod(0o640)
        trainer.step(images(), labels())
        trainer.save(link)
        assert link.is_symlink()
        assert target.stat().st_mode & 0o777 == 0o640
        with Trainer.load(link) as loaded:
            assert memory(loaded) == memory(trainer)
