"""A training step asks for no memory, once there was one of that size: calls for memory are counted."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pytest

import speediff
from speediff._native import c_training as c

FOLDER = Path(__file__).parent

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="counts glibc's functions")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("allocations") / "trainer_allocations"
    library = Path(speediff.library_path())
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{FOLDER.parents[1] / 'include'}"]
    source = FOLDER / "trainer_allocations.c"
    subprocess.run(["cc", *flags, source, "-o", program, library, f"-Wl,-rpath,{library.parent}"], check=True)
    return program


def calls(
    program: Path,
    threads: int,
    micro_batches: int,
    batches: list[int],
    mdt_version: int = 0,
    precision: int = 0,
) -> tuple[list[int], list[int]]:
    """The calls of malloc and its like of each step, and those of mmap."""
    arguments = [str(number) for number in (mdt_version, threads, micro_batches, precision, *batches)]
    # OpenBLAS starts threads of its own on loading, each of which maps a buffer when it gets to run.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    run = subprocess.run([program, *arguments], check=True, capture_output=True, text=True, env=environment)
    printed = run.stdout
    steps = [[int(number) for number in line.split()] for line in printed.splitlines()]
    assert [batch for batch, _, _ in steps] == batches
    return [count for _, count, _ in steps], [count for _, _, count in steps]


@pytest.mark.parametrize("mdt_version", [0, 1, 2])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("micro_batches", [1, 3])
@pytest.mark.parametrize("precision", [c.PRECISION_FLOAT32, c.PRECISION_BFLOAT16])
def test_no_step_after_the_first_allocates(
    program: Path, threads: int, micro_batches: int, mdt_version: int, precision: int
) -> None:
    """Of an MDT of version 2 each step has another number of tokens."""
    allocations, mappings = calls(program, threads, micro_batches, [4] * 20, mdt_version, precision)
    assert allocations[0] > 0, "the first step lays out memory, and the program counts it"
    assert mappings[0] > 0
    assert allocations[1:] == [0] * 19
    # OpenBLAS maps a buffer when more threads than ever before multiply at the same time.
    assert sum(mappings[1:]) <= threads - 1


def test_only_a_larger_batch_than_ever_allocates(program: Path) -> None:
    allocations, mappings = calls(program, 1, 1, [4, 2, 4, 1, 6, 6, 4, 5])
    assert [count > 0 for count in allocations] == [True, False, False, False, True, False, False, False]
    assert [count > 0 for count in mappings] == [True, False, False, False, True, False, False, False]
