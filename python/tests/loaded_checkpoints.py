"""Checkpoints that `trainer_from` loads, or refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pipelines import network

import speediff
from speediff import SpeeDiffFileError
from speediff.torch import trainer_from

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from speediff import Trainer

State = dict[str, "Tensor"]


def loads(path: Path, expected: State, ema: State | None = None, **options: Any) -> None:
    """The trainer has exactly these values."""
    with trainer_from(path, **{"num_heads": 3, **options}) as trainer:
        assert_has(trainer, expected)
        assert_has(trainer, expected if ema is None else ema, ema=True)


def assert_has(trainer: Trainer, expected: State, *, ema: bool = False) -> None:
    found = trainer.state_dict(ema=ema)
    for name, value in expected.items():
        if name != "pos_embed":
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def refuses(path: Any, words: str, kind: type[Exception] = SpeeDiffFileError, **options: Any) -> str:
    with pytest.raises(speediff.SpeeDiffError, match=words) as caught:
        trainer_from(path, **{"num_heads": 3, **options})
    assert type(caught.value) is kind, repr(caught.value)
    return str(caught.value)


def state() -> State:
    found: State = network().state_dict()
    return found


def average() -> State:
    return {name: value if name == "pos_embed" else value + 0.25 for name, value in state().items()}
