"""`speediff train --precision`: what a run takes, says, saves and keeps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from training_runs import QUICK, TINY, fails, losses, train

import speediff
from speediff.cli import main

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("tqdm")


def saved(out: Path) -> list[str]:
    """The precision of a run, as its two files have it."""
    settings = json.loads((out / "run.json").read_text())["settings"]
    with speediff.Trainer.load(out / "run.safetensors") as trainer:
        return [settings["precision"], trainer.precision]


def test_the_default_is_float32(images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(images, tmp_path, *QUICK)
    assert saved(tmp_path) == ["float32"] * 2
    assert "precision" not in capsys.readouterr().out


def test_auto_says_what_it_took_and_a_resumed_run_keeps_it(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(images, tmp_path, *QUICK, "--precision", "auto")
    took = saved(tmp_path)
    assert took[0] == took[1] != "auto"
    line = f"--precision auto: matrix products in {took[0]}"
    assert line in capsys.readouterr().out.splitlines()
    train(images, tmp_path, "--steps", "8", "--samples", "0", "--precision", "auto", "--resume")
    assert saved(tmp_path) == took
    assert line in capsys.readouterr().out.splitlines()


def test_a_run_in_bfloat16_goes_on_as_if_it_had_not_stopped(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--samples", "0", "--precision", "bfloat16")
    for name, steps in (("whole", ["9"]), ("parts", ["4", "9"])):
        for i, count in enumerate(steps):
            train(images, tmp_path / name, "--steps", count, *flags, *["--resume"] * (i > 0))
    train(images, tmp_path / "single", "--steps", "9", "--samples", "0")
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts") != losses(tmp_path / "single")
    # Without the flag it has the run's; with another one it is refused.
    train(images, tmp_path / "parts", "--steps", "10", "--samples", "0", "--resume")
    assert saved(tmp_path / "parts") == ["bfloat16"] * 2
    command = ("train", images, "--out", str(tmp_path / "parts"), *TINY, "--resume")
    fails(capsys, "--precision bfloat16, got float32", *command, "--precision", "float32")
    # Made in either precision.
    arrays = []
    for precision in ("float32", "bfloat16"):
        out = tmp_path / f"{precision}.npy"
        run = tmp_path / "parts" / "run.safetensors"
        assert main(["generate", str(run), "--steps", "2", "--precision", precision, "--out", str(out)]) == 0
        arrays.append(np.load(out))
    assert (arrays[0] != arrays[1]).any()


def test_a_run_from_before_there_were_two_is_one_of_float32(images: str, tmp_path: Path) -> None:
    train(images, tmp_path, *QUICK)
    description = json.loads((tmp_path / "run.json").read_text())
    del description["settings"]["precision"]
    (tmp_path / "run.json").write_text(json.dumps(description))
    train(images, tmp_path, "--steps", "8", "--samples", "0", "--precision", "float32", "--resume")
    assert saved(tmp_path) == ["float32"] * 2


def test_unknown_precisions_are_errors(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("train", images, "--out", str(tmp_path), *TINY, *QUICK)
    fails(capsys, "--precision must be one of auto, bfloat16, float32", *command, "--precision", "half")
