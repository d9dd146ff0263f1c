"""What the scripts behind `make` say where a tool is missing: one line that names it and where it is from."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.checkout


def run(script: str, *arguments: str, at: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A script of a copy of the checkout's, so that no environment beside it counts."""
    shutil.copytree(ROOT / "scripts", at / "scripts", dirs_exist_ok=True)
    return subprocess.run(
        [str(at / "scripts" / script), *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(at), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def program(folder: Path, name: str, output: str) -> Path:
    """A program that prints something, and fails where it should run Python."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{output}'\ntest \"$1\" = --version\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("Swift version 6.1 (swift-6.1-RELEASE)", None),
        ("Apple Swift version 6.10.2 (swiftlang)", None),
        ("Swift version 5.10.1 (swift-5.10.1-RELEASE)", "needs Swift 6.1 or later, got 5.10: "),
        ("", "needs Swift 6.1 or later, got an unknown version: "),
    ],
)
def test_an_old_swift_is_told(printed: str, told: str | None, tmp_path: Path) -> None:
    program(tmp_path / "bin", "swift", printed)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    finished = run("check-tools.sh", "swift", at=tmp_path, PATH=path)
    assert finished.returncode == (told is not None)
    if told is None:
        assert finished.stderr == ""
    else:
        assert told + "install it from https://swift.org/install" in finished.stderr
        assert finished.stderr.count("\n") == 1


def test_no_swift_and_no_python_are_told(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "head"):
        (tools / name).symlink_to(shutil.which(name) or name)
    for script, arguments in (("check-tools.sh", ("swift", "python")), ("build.sh", ())):
        finished = run(script, *arguments, at=tmp_path, PATH=str(tools))
        assert finished.returncode != 0
        assert "no swift on the PATH: install it from https://swift.org/install" in finished.stderr
    finished = run("check-tools.sh", "python", at=tmp_path, PATH=str(tools), PYTHON="python9")
    assert (
        "needs Python 3.11 or later (the package alone 3.10), got python9, no such program" in finished.stderr
    )
    assert finished.stderr.count("\n") == 1


def test_an_old_python_is_told(tmp_path: Path) -> None:
    old = program(tmp_path / "bin", "python3.10", "Python 3.10.13")
    finished = run("check-tools.sh", "python", at=tmp_path, PYTHON=str(old))
    assert finished.returncode == 1
    assert f"got {old}, Python 3.10.13: run make with PYTHON=python3.11" in finished.stderr
    assert run("check-tools.sh", "python", at=tmp_path, PYTHON=sys.executable).returncode == 0


def test_where_the_oldest_python_is_missing_it_is_said_and_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "python").mkdir()
    shutil.copy(ROOT / "python" / "pyproject.toml", tmp_path / "python")
    project = (ROOT / "python" / "pyproject.toml").read_text()
    (oldest,) = re.findall(r'^requires-python = ">=(.*)"$', project, re.MULTILINE)
    finished = run("test-oldest.sh", at=tmp_path, PATH="/usr/bin:/bin")
    assert (finished.returncode, finished.stdout.count("\n")) == (0, 1)
    assert f"Not tested with Python {oldest}" in finished.stdout
    # A program of that name that is none, as one of pyenv's shims, is none.
    program(tmp_path / "bin", f"python{oldest}", "pyenv: command not found")
    finished = run("test-oldest.sh", at=tmp_path, PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert f"Not tested with Python {oldest}" in finished.stdout


def test_a_system_without_dpkg_is_told_what_it_needs(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sh").symlink_to(shutil.which("sh") or "sh")
    finished = run("install-system-packages.sh", "libopenblas-dev", at=tmp_path, PATH=str(tools))
    assert finished.returncode == 0
    assert "libopenblas-dev must be installed" in finished.stderr
