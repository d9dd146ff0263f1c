"""No input is mapped: a file that another program shortens must not end the process with SIGBUS."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 1 << 20
READ_ARRAY = "from speediff._data.datasets import load; values = [load(path).values]"
READ_TENSORS = "from speediff.torch._checkpoints.files import read; values = read(path).model.values()"


def sum_after_truncation(path: Path, read: str) -> float:
    """The sum of what a process has read of a file that is then cut to 100 bytes."""
    program = (
        f"import os, sys; path = sys.argv[1]; {read}; os.truncate(path, 100)\n"
        "print(sum(float(value.sum()) for value in values))"
    )
    result = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True)
    assert result.returncode == 0, (result.returncode, result.stderr)
    return float(result.stdout)


def test_arrays_are_not_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", np.ones((COUNT // 64, 8, 8), np.uint8))
    assert sum_after_truncation(tmp_path / "data.npy", READ_ARRAY) == COUNT


def test_tensors_are_not_mapped(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "model.safetensors"
    safetensors.save_file({"weight": torch.ones(COUNT)}, path)
    assert sum_after_truncation(path, READ_TENSORS) == COUNT
