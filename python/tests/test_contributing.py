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
SECTIONS = ["Adding a method", "Adding an operation", "Adding a network"]


def patch(section: str) -> str:
    """What a section of CONTRIBUTING.md adds to the sources."""
    text = re.search(
        rf"^## {section}\n(.*?)^## ", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert text, section
    block = re.search(r"^```diff\n(.*?)^```", text[1], re.MULTILINE | re.DOTALL)
    assert block, section
    return block[1]


def apply(section: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "apply", *options, "-"],
        input=patch(section),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def patched_copy(section: str, folder: Path) -> Path:
    """The sources with what a section adds to them."""
    copy = folder / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".build*", ".venv", ".git", ".*_cache"))
    finished = apply(section, copy)
    assert finished.returncode == 0, finished.stderr
    return copy


pytestmark = pytest.mark.checkout


@pytest.mark.parametrize("section", SECTIONS)
def test_what_it_adds_fits_the_sources(section: str) -> None:
    finished = apply(section, ROOT, "--check")
    assert finished.returncode == 0, finished.stderr


def test_the_files_that_it_names_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "CONTRIBUTING.md").read_text()):
        assert (ROOT / target).exists(), target


@pytest.mark.long
def test_the_method_that_it_adds_builds_and_passes(tmp_path: Path) -> None:
    copy = patched_copy("Adding a method", tmp_path)
    subprocess.run([copy / "scripts" / "build.sh"], check=True, capture_output=True)
    library = copy / ".build" / "release" / "libspeediff.so"
    tests = [
        "test_unit_samplings.py",
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


@pytest.mark.long
def test_the_operation_that_it_adds_builds_and_passes(tmp_path: Path) -> None:
    copy = patched_copy("Adding an operation", tmp_path)
    flags = ["-Xswiftc", "-enable-testing", "-Xswiftc", "-warnings-as-errors", "-Xcc", "-march=native"]
    finished = subprocess.run(
        [
            "swift",
            "test",
            "-c",
            "release",
            "--disable-xctest",
            *flags,
            "--filter",
            "KernelsTests.OperationTests",
        ],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "RMSNorm, " in finished.stdout + finished.stderr


@pytest.mark.long
def test_the_network_that_it_adds_builds_trains_and_resumes(tmp_path: Path) -> None:
    added = re.findall(r"^diff --git a/(\S+) ", patch("Adding a network"), flags=re.MULTILINE)
    changed = [name for name in added if (ROOT / name).exists()]
    assert changed == ["Sources/Networks/NetworkFamilies.swift"], "the rest is new files"
    copy = patched_copy("Adding a network", tmp_path)
    subprocess.run([copy / "scripts" / "build.sh"], check=True, capture_output=True)
    library = copy / ".build" / "release" / "libspeediff.so"
    paths = os.pathsep.join(map(str, (copy / "python", copy / "python" / "tests")))
    finished = subprocess.run(
        [sys.executable, copy / "python" / "tests" / "mixer_run.py", tmp_path],
        env={**os.environ, "PYTHONPATH": paths, "SPEEDIFF_LIBRARY": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (0, "trained and resumed\n"), finished.stderr
    tests = ["test_networks.py", "test_former_checkpoints.py"]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *(f"tests/{test}" for test in tests)],
        cwd=copy / "python",
        env={**os.environ, "PYTHONPATH": str(copy / "python"), "SPEEDIFF_LIBRARY": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
