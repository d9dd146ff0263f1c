"""Files that are refused in one line: SiT's, pickles with code, cut ones, and what is no checkpoint."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loaded_checkpoints import average, loads, refuses, state

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")


@pytest.mark.parametrize("make", [lambda **args: argparse.Namespace(**args), dict])
def test_a_checkpoint_of_sit_is_no_dit(tmp_path: Path, make: Any) -> None:
    """Its names and shapes are those of DiT."""
    for args, said in (
        ({"model": "SiT-XL/2", "path_type": "Linear", "prediction": "velocity"}, "prediction = 'velocity'"),
        ({"model": "SiT-XL/2", "path_type": "VP", "prediction": "noise"}, "path_type = 'VP'"),
        ({"prediction": "score"}, "prediction = 'score'"),
    ):
        torch.save({"model": state(), "ema": average(), "args": make(**args)}, tmp_path / "x.pt")
        refuses(tmp_path / "x.pt", f"whose args say .*{said}.*: it takes a time in")
    torch.save({"model": state(), "args": make(model="DiT-XL/2", image_size=256)}, tmp_path / "x.pt")
    loads(tmp_path / "x.pt", state())


# ---- What is no checkpoint -----------------------------------------------------------------------

OBJECTS: dict[str, tuple[Any, str]] = {
    "a path": (argparse.Namespace(out=Path("x")), r"pathlib\.(\w+\.)?PosixPath"),
    "a number of NumPy": (np.float64(1.5), r"numpy\.\w*\.?multiarray\.scalar"),
    "an array": (np.ones(3), r"numpy\.(ndarray|.*_reconstruct)"),
    "a module": (torch.nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear"),
    "a function": (print, r"builtins\.print"),
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("what", OBJECTS)
def test_a_refused_pickle_says_what_it_holds(tmp_path: Path, what: str, zipped: bool) -> None:
    thing, found = OBJECTS[what]
    path = tmp_path / "x.pt"
    torch.save({"model": state(), "more": thing}, path, _use_new_zipfile_serialization=zipped)
    # Of its older format PyTorch names the first class alone.
    words = found if zipped else ".*"
    said = refuses(path, rf"only .*, got .*{words}.*, which is not loaded .*; .*save only state dicts")
    assert "\n" not in said
    assert "\x1b" not in said
    assert "weights_only" not in said


def test_an_archive_of_torchscript(tmp_path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(tmp_path / "x.pt")
    said = refuses(tmp_path / "x.pt", r"got a TorchScript archive; save the module's state_dict\(\) instead")
    assert "\n" not in said


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_files_that_are_no_checkpoint(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    for content, found in (
        (b"", "got an empty file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
            "got a Git LFS pointer .*git lfs pull",
        ),
        (b"<!doctype html>\n<html>", "got a web page"),
    ):
        path.write_bytes(content)
        refuses(path, f"must be a .*, {found}")
    path.unlink()
    refuses(path, "got: No such file or directory")
    os.mkfifo(path)
    refuses(path, "got a pipe, a socket or a device")


@pytest.mark.parametrize("zipped", [True, False])
def test_each_cut_of_a_pickle_is_one_line(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "x.pt"
    torch.save({"model": state()}, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    for part in (1, 2, 7, 8, 100, 1000, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:part])
        said = refuses(path, "must be a checkpoint that PyTorch can load, got a truncated or damaged one")
        assert not re.search("\n|\x1b|weights_only|[Rr]e-running", said), said
