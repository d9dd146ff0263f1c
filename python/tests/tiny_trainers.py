"""Tiny trainers, and what tests of their errors share."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import speediff
from speediff import DiT, NoiseSchedule, TimestepSampler, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

NAN, INF = float("nan"), float("inf")
SHAPE, CLASSES, STEPS = (2, 8, 8), 6, 50
MODEL = DiT(hidden_size=16, depth=2, num_heads=2, patch_size=4)
FIELDS = ("parameters", "ema_parameters", "exp_avg", "exp_avg_sq")


def sampler(**options: Any) -> TimestepSampler:
    return TimestepSampler(NoiseSchedule.linear(STEPS), **options)


def create(drawn_by: Any = None, model: Any = MODEL, **options: Any) -> Trainer:
    settings = {"input_size": 8, "in_channels": 2, "num_classes": CLASSES, "threads": 1, **options}
    return Trainer(model, sampler() if drawn_by is None else drawn_by, **settings)


def images(n: int = 4) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(n, *SHAPE)).astype(np.float32)


def labels(n: int = 4) -> NDArray[np.int64]:
    return np.arange(n) % CLASSES


def with_one(array: NDArray[Any], place: int, value: float) -> NDArray[Any]:
    copy = array.copy()
    copy.reshape(-1)[place] = value
    return copy


def memory(trainer: Trainer) -> bytes:
    """All that a step changes."""
    tensors = [array for field in FIELDS for array in getattr(trainer, field).values()]
    return b"".join(array.tobytes() for array in tensors)


def refuses(
    call: Callable[[], Any], *parts: str, kind: type[Exception] = speediff.SpeeDiffValueError
) -> None:
    """The call raises this class, and a message with all these parts."""
    with pytest.raises(speediff.SpeeDiffError) as caught:
        call()
    assert type(caught.value) is kind, repr(caught.value)
    for part in parts:
        assert re.search(part, str(caught.value)), f"{part!r} is not in {caught.value!s}"
    assert "\n" not in str(caught.value)


def in_a_child(script: str, *arguments: str, seconds: float = 300) -> str:
    """What a script prints that may end its process."""
    tests = Path(__file__).parent
    lead = f"import sys; sys.path[:0] = [{str(tests)!r}, {str(tests.parent)!r}]\n"
    run = subprocess.run(
        [sys.executable, "-c", lead + textwrap.dedent(script), *arguments],
        capture_output=True, text=True, check=False, timeout=seconds,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout.strip()
