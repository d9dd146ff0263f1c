"""What the machine allows, and what the environment asks for: limits are kept, and wrong values are errors.

Control groups are tested in Swift, on trees of files: ControlGroupTests.swift.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_trainers
from tiny_trainers import in_a_child

import speediff
from speediff._distributed import processors as processor_shares

PACKAGE = Path(speediff.__file__).parent


def default_threads(monkeypatch: pytest.MonkeyPatch, openmp: str) -> int:
    monkeypatch.setenv("OMP_NUM_THREADS", openmp)
    with tiny_trainers.create(threads=None) as trainer:
        return trainer.threads


def test_openmp_limits_the_threads_of_a_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    own = processor_shares.available()
    processors = min(len(own["processors"]), own["quota"] or 1024, 1024)
    assert default_threads(monkeypatch, "1") == 1
    assert default_threads(monkeypatch, "1,4") == 1
    assert default_threads(monkeypatch, "100000") == processors
    assert default_threads(monkeypatch, "") == processors


def test_a_number_of_threads_that_is_given_counts_whatever_openmp_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for openmp in ("1", "abc"):
        monkeypatch.setenv("OMP_NUM_THREADS", openmp)
        with tiny_trainers.create(threads=2) as trainer:
            assert trainer.threads == 2


@pytest.mark.parametrize("openmp", ["abc", "0", "-1", "1.5", "2,"])
def test_a_wrong_number_of_openmp_is_an_error(monkeypatch: pytest.MonkeyPatch, openmp: str) -> None:
    with pytest.raises(speediff.SpeeDiffValueError) as caught:
        default_threads(monkeypatch, openmp)
    assert str(caught.value).startswith("OMP_NUM_THREADS must be a positive number")
    assert f'got "{openmp}"' in str(caught.value)


ON_ONE_PROCESSOR = """
    import os, sys
    import tiny_trainers as t
    os.environ.pop("OMP_NUM_THREADS", None)
    os.sched_setaffinity(0, {int(sys.argv[1])})
    with t.create(threads=None) as trainer:
        print(trainer.threads)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity masks")
def test_the_affinity_mask_limits_the_threads_of_a_trainer() -> None:
    first = min(os.sched_getaffinity(0))
    assert in_a_child(ON_ONE_PROCESSOR, str(first)) == "1"


REFUSED_THREADS = """
    import os, resource
    import tiny_trainers as t
    t.create(threads=1).step(t.images(), t.labels())
    if os.getuid() == 0:
        os.setuid(54321)  # Root has no limit.
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    try:
        t.create(threads=4)
    except t.speediff.SpeeDiffError as error:
        print(type(error).__name__, error)
    with t.create(threads=1) as trainer:
        trainer.step(t.images(), t.labels())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_NPROC")
def test_threads_that_the_system_refuses_are_no_lack_of_memory() -> None:
    found = in_a_child(REFUSED_THREADS)
    assert found.startswith(
        "SpeeDiffThreadError threads must be at most as many as the limit of processes and threads allows, "
        "got 4, of which the system refused number 2; give fewer, or raise the limit ("
    )
    assert found.endswith("ulimit -u is 1)")
    assert not issubclass(speediff.SpeeDiffThreadError, MemoryError)


UNKNOWN_PRODUCT = """
    import tiny_trainers as t
    try:
        t.create(threads=1)
    except t.speediff.SpeeDiffValueError as error:
        print(error)
"""


def test_an_unknown_matrix_product_is_an_error_that_lists_the_known_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("abc", "OpenBLAS", "native "):
        monkeypatch.setenv("SPEEDIFF_MATRIX_PRODUCT", name)
        expected = f'SPEEDIFF_MATRIX_PRODUCT must be one of openblas, native, or not set, got "{name}"'
        assert in_a_child(UNKNOWN_PRODUCT) == expected
    monkeypatch.setenv("SPEEDIFF_MATRIX_PRODUCT", "")
    assert in_a_child(UNKNOWN_PRODUCT) == ""


def command(folder: Path, words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """What `speediff` does, as the script that pip installs; or with `-m`, as a module."""
    if words[:1] != ["-m"]:
        script = folder / "speediff"
        script.write_text("import sys\nfrom speediff.cli import main\nsys.exit(main())\n")
        words = [str(script), *words]
    variables: dict[str, Any] = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment}
    return subprocess.run(
        [sys.executable, *words], env=variables, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("words", [["plan"], ["-m", "speediff", "plan"], ["-m", "speediff", "--version"]])
@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("SPEEDIFF_LIBRARY", "/nowhere/lib.so", "SPEEDIFF_LIBRARY must be the path of the native library"),
        ("SPEEDIFF_LIBRARY", "/etc/passwd", "/etc/passwd is not a SpeeDiff library"),
        ("SPEEDIFF_ISA", "x86-64-v9", "SPEEDIFF_ISA must be "),
    ],
)
def test_a_library_that_cannot_be_loaded_is_one_line_of_the_command(
    tmp_path: Path, words: list[str], variable: str, value: str, expected: str
) -> None:
    done = command(tmp_path, words, **{"SPEEDIFF_LIBRARY": "", variable: value})
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"speediff: {expected}")
    assert value in done.stderr
    assert done.stderr.count("\n") == 1


def test_other_programs_see_the_error_where_it_is_raised() -> None:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "SPEEDIFF_LIBRARY": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-c", "import speediff"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert "SpeeDiffLibraryError: SPEEDIFF_LIBRARY must be" in done.stderr


@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "SPEEDIFF_MATRIX_PRODUCT"])
def test_a_wrong_value_is_one_line_of_the_command_before_training(tmp_path: Path, variable: str) -> None:
    out = tmp_path / "run"
    np.save(tmp_path / "images.npy", np.zeros((8, 8, 8, 1), np.uint8))
    words = ["train", str(tmp_path / "images.npy"), "--steps", "1", "--patch", "4", "--out", str(out)]
    done = command(tmp_path, words, **{variable: "abc"})
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"speediff: {variable} must be")
    assert "Traceback" not in done.stderr
    assert not (out / "run.safetensors").exists()
