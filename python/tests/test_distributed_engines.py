"""Groups of real processes, over gloo and over MPI: what they say, and what the others get when one ends."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from launched_ranks import ENGINES, SECONDS, ended, mpirun, run, start

WORKER = str(Path(__file__).with_name("group_worker.py"))


@pytest.mark.parametrize("engine", ENGINES)
def test_messages_and_sums_reach_all_ranks(engine: str) -> None:
    codes, out, err = run(engine, [[WORKER, "talk"]] * 3)
    assert not any(codes), err
    assert out.split() == ["done"] * 2


@pytest.mark.parametrize(("engine", "ranks"), [("one", 1), ("mpi", 3)])
def test_the_examples_of_the_page_run(
    engine: str, ranks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    codes, out, err = run(engine, [[WORKER, "page"]] * ranks)
    assert not any(codes), err
    assert out.split() == ["done"] * ranks
    assert [path.name for path in tmp_path.iterdir()] == ["run.safetensors"]


def test_a_rank_that_is_killed_is_an_error_on_the_others_at_once() -> None:
    begun = time.monotonic()
    codes, out, err = run("gloo", [[WORKER, "die"]] * 3)
    assert codes == [3, -signal.SIGKILL, 3], err
    for rank in (0, 2):
        assert f"rank {rank}: all ranks must be running and answer in time, got a gloo error: " in out
    assert "onnection" in out
    assert "done" not in out
    assert time.monotonic() - begun < 60, "they waited for the time-out"


def test_mpirun_ends_the_others_of_a_rank_that_is_killed() -> None:
    codes, out, _ = run("mpi", [[WORKER, "die"]] * 3)
    assert codes != [0]
    assert "done" not in out


@pytest.mark.long
def test_a_rank_that_hangs_is_an_error_after_the_time_out() -> None:
    processes = start("gloo", [[WORKER, "hang"]] * 2)
    try:
        assert processes[0].wait(timeout=SECONDS) == 3
    finally:
        processes[1].kill()
    _, out, _ = ended(processes)
    assert "rank 0: all ranks must be running and answer in time, got a gloo error: Timed out" in out


@pytest.mark.parametrize("engine", ENGINES)
def test_the_error_of_one_rank_alone_ends_all(engine: str) -> None:
    codes, out, err = run(engine, [[WORKER, "fail"]] * 2)
    assert all(codes)
    assert "ZeroDivisionError: of rank 1 alone" in err
    assert "done" not in out


def test_a_programs_own_process_group_stays() -> None:
    codes, out, err = run("gloo", [[WORKER, "beside"]] * 2)
    assert not any(codes), err
    assert out.split() == ["done"] * 2


def test_an_mpirun_of_another_mpi_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes would all take themselves for the only one. That of MVAPICH sets this variable."""
    mpirun()
    monkeypatch.setenv("MV2_COMM_WORLD_SIZE", "2")
    (process,) = start("mpi", [[WORKER, "talk"]])
    ((code,), _, err) = ended([process])
    assert code
    assert "mpi4py must use the MPI whose mpirun started these 2 processes" in err
