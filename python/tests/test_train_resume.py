"""`speediff train --resume`, after the end, Ctrl-C or a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from training_runs import QUICK, TINY, fails, losses, train

import speediff
from speediff.cli import main

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("tqdm")


RESUMABLE = [
    (),
    ("--flip", "--method", "official", "--accumulation", "2"),
    ("--method", "adaptive(bins=4)+uncertainty(bins=3)", "--accumulation", "2", "--unconditional"),
    ("--method", "uniform+to_emphasis(of=laplace(scale=2)+min_snr)", "--strata", "low_discrepancy"),
    ("--method", "loss_second_moment(history=1)", "--timesteps", "21"),
]


@pytest.mark.parametrize("flags", RESUMABLE)
def test_a_resumed_run_has_the_losses_of_an_uninterrupted_one(
    images: str, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(images, whole, "--steps", "23", "--samples", "0", *flags)
    train(images, parts, "--steps", "9", "--samples", "0", *flags)
    train(images, parts, "--steps", "23", "--samples", "0", *flags, "--resume")
    assert losses(parts) == losses(whole)
    checkpoints = [(out / "run.safetensors").read_bytes() for out in (parts, whole)]
    assert checkpoints[0] == checkpoints[1]


def test_a_resumed_run_has_its_own_settings(images: str, tmp_path: Path) -> None:
    train(images, tmp_path, *QUICK, "--method", "uniform + p2( k=2 )", "--seed", "4")
    command = ["train", images, "--out", str(tmp_path), "--resume", "--steps", "8", "--samples", "0"]
    assert main(command) == 0
    assert len(losses(tmp_path)) == 8
    settings = json.loads((tmp_path / "run.json").read_text())["settings"]
    assert (settings["steps"], settings["method"], settings["seed"]) == (8, "uniform+p2(k=2)", 4)


def test_a_finished_run_has_nothing_to_train(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(images, tmp_path, *QUICK)
    before = (tmp_path / "run.safetensors").read_bytes()
    train(images, tmp_path, *QUICK, "--resume")
    assert "has 6 steps: nothing to train" in capsys.readouterr().out
    assert (tmp_path / "run.safetensors").read_bytes() == before


def test_resuming_nothing_starts(images: str, tmp_path: Path) -> None:
    train(images, tmp_path, *QUICK, "--resume")
    assert len(losses(tmp_path)) == 6


def test_what_a_resumed_run_refuses(
    images: str, latents: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path)
    train(images, tmp_path, *QUICK)
    again = ("train", images, "--out", out)
    fails(capsys, f"{tmp_path / 'run.safetensors'} exists: add --resume, or choose another --out", *again)
    resume = (*again, "--resume")
    fails(capsys, "the settings of the run: --lr 0.0015, got 0.1", *resume, "--lr", "0.1")
    fails(
        capsys,
        "--flip False, got True; --method speed, got uniform",
        *resume,
        "--flip",
        "--method",
        "uniform",
    )
    fails(capsys, "the data of the run: ", "train", latents, "--out", out, "--resume")
    content = (tmp_path / "run.json").read_text()
    (tmp_path / "run.json").write_text(content.replace('"seed": 0', '"seed": 1'))
    fails(capsys, "run.safetensors must belong to the run in run.json", *resume)
    (tmp_path / "run.json").write_text(content)
    checkpoint = tmp_path / "run.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    fails(capsys, "run.safetensors", *resume)


def test_rows_of_lost_steps_are_dropped(images: str, tmp_path: Path) -> None:
    """A run is killed after its log and before its checkpoint."""
    train(images, tmp_path, "--steps", "4", "--samples", "0")
    before = losses(tmp_path)
    with (tmp_path / "loss.csv").open("a") as file:
        file.write("5,9.9,1\n6,9.9,1\n")
    train(images, tmp_path, "--steps", "6", "--samples", "0", "--resume")
    assert losses(tmp_path)[:4] == before
    assert 9.9 not in losses(tmp_path)


def start(data: str, out: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "speediff", "train", data, "--out", str(out), *TINY, *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)


LONG = ("--steps", "100000", "--samples", "0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_saves_and_the_run_goes_on(images: str, tmp_path: Path, number: signal.Signals) -> None:
    process = start(images, tmp_path, *LONG, "--checkpoint-every", "3")
    wait_for(tmp_path / "run.safetensors", process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopping after this step" in err
    steps = len(losses(tmp_path))
    assert f"stopped at step {steps}; --resume continues {tmp_path / 'run.safetensors'}" in err
    train(images, tmp_path, "--steps", str(steps + 5), "--samples", "0", "--resume")
    whole = tmp_path / "whole"
    train(images, whole, "--steps", str(steps + 5), "--samples", "0")
    assert losses(tmp_path) == losses(whole)


def test_a_killed_run_goes_on_where_its_checkpoint_was(images: str, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(images, killed, *LONG, "--checkpoint-every", "2")
    wait_for(killed / "run.safetensors", process)
    time.sleep(0.05)
    process.kill()
    process.communicate()
    with speediff.Trainer.load(killed / "run.safetensors") as trainer:
        steps = trainer.global_step + 4
    for out, flags in ((killed, ("--resume",)), (whole, ())):
        train(images, out, "--steps", str(steps), "--samples", "0", *flags)
    assert losses(killed) == losses(whole)


def test_signals_are_as_before_after_training(images: str, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    train(images, tmp_path, *QUICK)
    assert signal.getsignal(signal.SIGINT) is before
