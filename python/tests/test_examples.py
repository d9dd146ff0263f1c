"""The examples run with tiny arguments, resume to the bit, and share a batch over processes."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "train_dit.py"


def run(out: Path, *flags: str, launcher: tuple[str, ...] = ()) -> str:
    """What the script prints."""
    command = [sys.executable, *launcher, str(SCRIPT), "--tiny", "--out", str(out), *flags]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


def losses(out: Path) -> list[float]:
    with (out / "loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [float(row["loss"]) for row in rows]


@pytest.mark.parametrize("method", ["uniform", "speed", "official"])
def test_a_tiny_run_writes_its_pictures_and_one_line_of_results(method: str, tmp_path: Path) -> None:
    printed = run(tmp_path, "--method", method)
    for name in ("loss.png", "samples.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        assert str(tmp_path / name) in printed
    assert method in printed.strip().splitlines()[-1]


def test_a_resumed_run_has_the_losses_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, "--steps", "12")
    run(parts, "--steps", "7")
    run(parts, "--steps", "12", "--resume")
    assert losses(parts) == losses(whole)


def test_a_killed_run_goes_on_where_its_checkpoint_was(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    flags = ("--steps", "60", "--checkpoint-every", "3")
    run(whole, *flags)
    command = [sys.executable, str(SCRIPT), "--tiny", "--out", str(killed), *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = killed / "checkpoint.pt"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert process.returncode == -signal.SIGKILL, "killed in mid-run"
    run(killed, *flags, "--resume")
    assert losses(killed) == losses(whole)


def test_two_processes_share_the_global_batch_of_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    run(one)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    run(two, launcher=launcher)
    # The same draws, images and noise; sums in another order.
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
