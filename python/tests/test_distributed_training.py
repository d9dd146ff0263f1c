"""`speediff train` on several processes: one run, however many they are, and whatever happens to one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from launched_ranks import ended, pids, run, start
from training_runs import QUICK, TINY, determined_weights, fails, losses, train

import speediff

if TYPE_CHECKING:
    from numpy.typing import NDArray

for module in ("tqdm", "PIL"):
    pytest.importorskip(module)

LEARNING = ("--method", "adaptive(bins=10)+uncertainty(bins=10)", "--flip", "--clip", "1")
UNEVEN = ("--batch-size", "7", "--accumulation", "1")
"""No number of processes divides it."""
ENDLESS = ("--steps", "100000", "--samples", "0", "--checkpoint-every", "5")


def command(data: str, out: Path, *flags: str) -> list[str]:
    return ["-m", "speediff", "train", data, "--out", str(out), *TINY, *flags]


def train_on(engine: str, ranks: int, data: str, out: Path, *flags: str) -> str:
    """What the processes of a run write to stdout and stderr."""
    codes, written, errors = run(engine, [command(data, out, *flags)] * ranks)
    assert not any(codes), errors
    return written + errors


def weights(out: Path) -> NDArray[np.float32]:
    with speediff.Trainer.load(out / "run.safetensors", threads=1) as trainer:
        return determined_weights(trainer)


# ---- One run -------------------------------------------------------------------------------------


def check_that_two_equal_one(engine: str, ranks: int, images: str, tmp_path: Path, *flags: str) -> None:
    steps = ("--steps", "50", "--samples", "1", "--sample-steps", "2", *flags)
    train(images, tmp_path / "one", *steps)
    written = train_on(engine, ranks, images, tmp_path / "several", *steps)
    assert written.count("50 steps, ") == 1
    assert written.count(str(tmp_path / "several" / "samples.png")) == 1
    one, several = (losses(tmp_path / name) for name in ("one", "several"))
    assert len(one) == 50
    assert several == pytest.approx(one, rel=1e-5)
    expected = weights(tmp_path / "one")
    assert np.abs(weights(tmp_path / "several") - expected).max() < 1e-4 * np.abs(expected).max()
    names = {path.name for path in (tmp_path / "several").iterdir()}
    assert names == {"run.json", "run.safetensors", "loss.csv", "samples.png"}


def test_two_processes_over_gloo_are_one(images: str, tmp_path: Path) -> None:
    check_that_two_equal_one("gloo", 2, images, tmp_path, *LEARNING, *UNEVEN)


def test_two_processes_over_mpi_are_one(images: str, tmp_path: Path) -> None:
    check_that_two_equal_one("mpi", 2, images, tmp_path, *LEARNING, *UNEVEN)


@pytest.mark.long
@pytest.mark.parametrize("engine", ["gloo", "mpi"])
@pytest.mark.parametrize(
    "flags",
    [
        ("--accumulation", "2", "--learn-sigma", "--prediction", "v"),
        ("--method", "speed", "--batch-size", "48"),  # More than there are data.
        ("--batch-size", "2", "--label-dropout", "0.5"),  # Fewer images than processes.
    ],
)
def test_three_processes_are_one(images: str, tmp_path: Path, engine: str, flags: tuple[str, ...]) -> None:
    check_that_two_equal_one(engine, 3, images, tmp_path, *flags)


@pytest.mark.long
def test_torchrun_starts_the_processes(images: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    train(images, tmp_path / "one", *QUICK)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = command(images, tmp_path / "two", *QUICK)
    done = subprocess.run(
        [sys.executable, *launcher, *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)


# ---- Killed, stopped, resumed --------------------------------------------------------------------

needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


def disturbed(
    engine: str, ranks: int, rank: int, number: signal.Signals, data: str, out: Path, *flags: str
) -> tuple[list[int], str]:
    """Sends a signal to one rank of an endless run, some steps after its first checkpoint."""
    processes = start(engine, [command(data, out, *ENDLESS, *flags)] * ranks)
    limit = time.monotonic() + 60
    while not (out / "run.safetensors").exists() and time.monotonic() < limit:
        assert processes[0].poll() is None
        time.sleep(0.01)
    time.sleep(0.05)
    pid = pids(str(out))[rank]
    os.kill(pid, number)
    codes, written, errors = ended(processes)
    return codes, written + errors


def check_the_rest(engine: str, ranks: int, images: str, tmp_path: Path, *flags: str) -> None:
    """A disturbed run goes on with another number of processes as if it had been left alone."""
    out, whole = tmp_path / "disturbed", tmp_path / "whole"
    with speediff.Trainer.load(out / "run.safetensors", threads=1) as trainer:
        steps = ("--steps", str(trainer.global_step + 10), "--samples", "0")
    before = losses(out)
    if engine == "one":
        train(images, out, *steps, *flags, "--resume")
    else:
        train_on(engine, ranks, images, out, *steps, *flags, "--resume")
    train(images, whole, *steps, *flags)
    assert losses(out) == pytest.approx(losses(whole), rel=1e-4)
    assert losses(out)[:5] == before[:5]


@needs_proc
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_run_over_mpi_goes_on_with_another_number(images: str, tmp_path: Path, victim: int) -> None:
    flags = (*LEARNING, *UNEVEN)
    codes, _ = disturbed("mpi", 2, victim, signal.SIGKILL, images, tmp_path / "disturbed", *flags)
    assert all(codes)
    assert not pids(str(tmp_path / "disturbed")), "mpirun leaves ranks behind"
    check_the_rest("mpi", 3, images, tmp_path, *flags)


@needs_proc
def test_a_killed_run_over_gloo_goes_on_alone(images: str, tmp_path: Path) -> None:
    out = tmp_path / "disturbed"
    codes, written = disturbed("gloo", 2, 1, signal.SIGKILL, images, out, *LEARNING, *UNEVEN)
    assert codes == [2, -signal.SIGKILL]
    assert "speediff: rank 0: all ranks must be running and answer in time, got a gloo error: " in written
    assert f"; --resume continues {out / 'run.safetensors'}\n" in written
    check_the_rest("one", 1, images, tmp_path, *LEARNING, *UNEVEN)


@needs_proc
@pytest.mark.long
def test_a_run_alone_goes_on_over_gloo(images: str, tmp_path: Path) -> None:
    out = tmp_path / "disturbed"
    train(images, out, *QUICK, *LEARNING, *UNEVEN)
    check_the_rest("gloo", 3, images, tmp_path, *LEARNING, *UNEVEN)


@needs_proc
@pytest.mark.parametrize("engine", ["gloo", "mpi"])
def test_ctrl_c_on_one_rank_stops_all_after_the_same_step(images: str, tmp_path: Path, engine: str) -> None:
    out = tmp_path / "disturbed"
    codes, written = disturbed(engine, 2, 1, signal.SIGINT, images, out, *UNEVEN)
    assert set(codes) == {130}
    steps = len(losses(out))
    assert written.count(f"stopped at step {steps}; --resume continues {out / 'run.safetensors'}") == 1
    with speediff.Trainer.load(out / "run.safetensors", threads=1) as trainer:
        assert trainer.global_step == steps


# ---- Disagreement --------------------------------------------------------------------------------


def test_settings_that_differ_are_told_before_anything_is_written(images: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    commands = [command(images, out, *QUICK, "--seed", str(rank // 2), "--lr", "1e-3") for rank in range(3)]
    codes, _, errors = run("mpi", commands)
    assert all(codes)
    assert errors.count("speediff: ") == 1
    assert "speediff: all ranks must agree, got --seed 0 on ranks 0-1, 1 on rank 2" in errors
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--steps 7", "--steps 6 on rank 0, 7 on rank 1"),
        ("--checkpoint-every 7", "--checkpoint-every 500 on rank 0, 7 on rank 1"),
        ("--steps 0", "rank 1: --steps must be at least 1, got 0"),
        ("--nonsense", "rank 1: the flags must be those of `speediff train`, got others"),
    ],
)
def test_flags_of_one_rank_are_told(images: str, tmp_path: Path, flags: str, message: str) -> None:
    commands = [command(images, tmp_path / "out", *QUICK)] * 2
    commands[1] = [*commands[1], *flags.split()]
    codes, _, errors = run("mpi", commands)
    assert all(codes)
    assert message in errors
    assert not (tmp_path / "out").exists()


def test_data_that_differ_or_are_missing_are_told(images: str, tmp_path: Path) -> None:
    other = tmp_path / "other.npy"
    np.save(other, np.zeros((40, 8, 8), np.uint8))
    for path, message in (
        (other, 'data "'),
        (tmp_path / "none.npz", f"rank 1: {tmp_path / 'none.npz'}: No such file"),
    ):
        out = tmp_path / "out"
        codes, _, errors = run("mpi", [command(images, out, *QUICK), command(str(path), out, *QUICK)])
        assert all(codes)
        assert message in errors
        assert not out.exists()


def test_ranks_that_see_other_checkpoints_are_told(images: str, tmp_path: Path) -> None:
    """As on machines that share no folder."""
    for name, flags in (("a", ()), ("b", ("--seed", "1")), ("c", ("--steps", "7"))):
        train(images, tmp_path / name, *QUICK, *flags)
    for name, message in (
        ("b", "--seed 0 on rank 0, 1 on rank 1"),
        ("c", "--steps 6 on rank 0, 7 on rank 1"),
        ("none", "a run to resume true on rank 0, false on rank 1"),
    ):
        commands = [
            command(images, tmp_path / folder, "--samples", "0", "--resume") for folder in ("a", name)
        ]
        codes, _, errors = run("mpi", commands)
        assert all(codes)
        assert message in errors
    steps = ("--steps", "9", "--samples", "0", "--resume")
    codes, _, errors = run("mpi", [command(images, tmp_path / folder, *steps) for folder in ("a", "c")])
    assert all(codes)
    assert "global_step 6 on rank 0, 7 on rank 1; parameters " in errors


def test_a_file_that_cannot_be_written_is_told_on_all_ranks(images: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    codes, _, errors = run("mpi", [command(images, tmp_path / "file" / "out", *QUICK)] * 2)
    assert all(codes)
    assert f"speediff: rank 0: {tmp_path / 'file' / 'out'}: Not a directory" in errors


@pytest.mark.parametrize("name", ["compare", "generate"])
def test_other_commands_run_in_one_process(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PMI_SIZE", "3")
    fails(capsys, f"speediff {name} must run in one process, got 3", name, "data.npz")


def test_an_engine_that_does_not_exist(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ("train", images, "--out", str(tmp_path), "--engine", "nccl")
    fails(capsys, "--engine must be one of gloo, mpi, one, got 'nccl'", *wrong)


def test_one_process_may_be_chosen_among_several(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PMI_SIZE", "3")
    train(images, tmp_path, *QUICK, "--engine", "one")
    assert len(losses(tmp_path)) == 6
