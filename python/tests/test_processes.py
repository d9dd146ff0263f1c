"""Training on several processes, and after being killed: the same run, whatever the number and the moment."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "train_dit.py"
LAUNCHER = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


def train(out: Path, *flags: str, processes: int = 1) -> subprocess.Popen[str]:
    """Starts a small run."""
    launcher = (*LAUNCHER, str(processes)) if processes > 1 else (sys.executable,)
    command = [*launcher, str(SCRIPT), "--tiny", "--out", str(out), *flags]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(run: subprocess.Popen[str]) -> None:
    _, errors = run.communicate(timeout=600)
    assert run.returncode == 0, errors[-2000:]


def losses(out: Path) -> list[float]:
    with (out / "loss.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def weights(out: Path) -> dict[str, Any]:
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    averages = enumerate(state["ema"]["shadow_params"])
    return {**state["model"], **{f"ema.{place}": value for place, value in averages}}


@pytest.mark.long
def test_the_loss_curve_is_the_same_on_one_two_and_four_processes(tmp_path: Path) -> None:
    curves = {}
    for processes in (1, 2, 4):
        out = tmp_path / str(processes)
        finish(train(out, "--steps", "50", processes=processes))
        curves[processes] = losses(out)
        assert len(curves[processes]) == 50
    # The same draws, images, noise and dropped labels; sums in another order.
    assert curves[2] == pytest.approx(curves[1], rel=1e-4)
    assert curves[4] == pytest.approx(curves[1], rel=1e-4)


def kill_all_of(out: Path) -> None:
    """SIGKILL to the launcher and its workers, which have sessions of their own."""
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(out).encode() in status.read_bytes().split(b"\0"):
                os.kill(int(status.parent.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_killed_ten_times_ends_in_the_same_weights(tmp_path: Path, processes: int) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    flags = ("--steps", "1000", "--checkpoint-every", "3", "--method", "loss_second_moment")
    finish(train(whole, *flags, processes=processes))
    checkpoint, moments = killed / "checkpoint.pt", random.Random(0)
    for _ in range(10):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
        run = train(killed, *flags, "--resume", processes=processes)
        while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
            assert run.poll() is None, "a run that is killed later does not end by itself"
            time.sleep(0.01)
        # Anywhere from here, in the middle of writing a checkpoint included.
        time.sleep(moments.uniform(0, 0.5))
        kill_all_of(killed)
        run.communicate()
        assert run.returncode == -signal.SIGKILL
    finish(train(killed, *flags, "--resume", processes=processes))
    expected, actual = weights(whole), weights(killed)
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        assert torch.equal(value, actual[name]), name
    assert losses(killed) == losses(whole)


IN_ACCELERATE = """
import torch
from accelerate import Accelerator

import speediff
from speediff.torch import TimestepSampler

accelerator = Accelerator(cpu=True)
schedule = speediff.NoiseSchedule.linear(1000)
sampler = TimestepSampler.speed(schedule, seed=1)
drawing = sampler.recipe.drawing
assert (drawing.rank, drawing.world_size) == (accelerator.process_index, accelerator.num_processes) != (0, 1)
mine = sampler.sample(sampler.local_batch(32), accelerator.device)[0]
whole = TimestepSampler.speed(schedule, seed=1, rank=0, world_size=1).sample(32)[0]
assert torch.equal(accelerator.gather(mine), whole)
# Threads of gloo that are still there when the interpreter ends may abort it.
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


def test_accelerate_tells_the_ranks(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    script = tmp_path / "ranks.py"
    script.write_text(IN_ACCELERATE)
    done = subprocess.run([*LAUNCHER, "2", str(script)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
