"""Checks the arguments that a run saved with its checkpoint."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ...errors import SpeeDiffFileError

if TYPE_CHECKING:
    from pathlib import Path

_OTHERS = ("velocity", "score", "flow")
"""Prediction types of networks with continuous time."""


def check_arguments(path: Path, arguments: object) -> None:
    """Raises if the saved arguments are those of a SiT.

    Its tensors have the names and shapes of a DiT. But it is trained on times in [0, 1], where 1 is data,
    and its time embedding has never seen steps 0, 1, …, T-1.
    """
    values: dict[str, Any] = {}
    if isinstance(arguments, argparse.Namespace):
        values = vars(arguments)
    elif isinstance(arguments, dict):
        values = {name: value for name, value in arguments.items() if isinstance(name, str)}
    is_sit = str(values.get("model", "")).lower().startswith("sit") or "path_type" in values
    if is_sit or values.get("prediction") in _OTHERS:
        names = [name for name in ("model", "path_type", "prediction") if name in values]
        said = ", ".join(f"{name} = {values[name]!r}" for name in names)
        raise SpeeDiffFileError(
            f"{path} must be a checkpoint of a network with discrete timesteps, got one whose args say "
            f"{said}: it takes a time in [0, 1], where 1 is data, like SiT; the trainer does not support "
            "such networks"
        )
