"""What CONTRIBUTING.md tells a newcomer to do works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def added_method() -> str:
    """The patch that adds a sampling."""
    block = re.search(
        r"^```diff\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert block
    return block[1]


def apply(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "apply", *options, "-"],
        input=added_method(),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_method_that_it_adds_fits_the_sources() -> None:
    finished = apply(ROOT, "--check")
    assert finished.returncode == 0, finished.stderr


def test_the_files_that_it_names_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "CONTRIBUTING.md").read_text()):
        assert (ROOT / target).exists(), target


@pytest.mark.long
def test_the_method_that_it_adds_builds_and_passes(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".build*", ".venv", ".git", ".*_cache"))
    finished = apply(copy)
    assert finished.returncode == 0, finished.stderr
    subprocess.run([copy / "scripts" / "build.sh"], check=True, capture_output=True)
    library = copy / ".build" / "release" / "libspeediff.so"
    tests = [
        "test_unit_densities.py",
        "test_samplings.py::test_a_name_stands_for_its_defaults",
        "test_header.py",
    ]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *(f"tests/{test}" for test in tests)],
        cwd=copy / "python",
        env={**os.environ, "PYTHONPATH": str(copy / "python"), "SPEEDIFF_LIBRARY": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
