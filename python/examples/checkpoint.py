"""Checkpoints that survive ``kill -9`` at any moment and refuse to continue the wrong run."""

from __future__ import annotations

import os
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = "speediff-example-1"
_KEYS = {"format", "script", "config", "step", "state"}


class CheckpointError(Exception):
    """A checkpoint that cannot be continued; the message says why."""


def save(path: Path, script: str, config: dict[str, Any], step: int, state: dict[str, Any]) -> None:
    """Replace the checkpoint at ``path`` in one step.

    The new one is complete on the disk before it takes the old one's name, so that at every
    moment ``path`` holds one or the other, whole.
    """
    temporary = path.with_name(path.name + ".tmp")  # the same folder: os.replace stays atomic
    content = {"format": _FORMAT, "script": script, "config": config, "step": step, "state": state}
    with temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, too, must outlive a power cut
    finally:
        os.close(folder)


def load(path: Path, script: str, config: dict[str, Any], last_step: int) -> tuple[int, dict[str, Any]]:
    """The step and the state saved at ``path``, on the CPU.

    Raises:
        CheckpointError: The file is torn or foreign, is past ``last_step``, or belongs to another
            script or ``config``. The message says which, and names every difference.
    """
    damaged = f"{path} is damaged, or not a checkpoint"
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load checks no checksums
            if archive.testzip() is not None:
                raise CheckpointError(f"{damaged}: a checksum is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{damaged}: {str(error).partition(chr(10))[0]}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT or content.keys() != _KEYS:
        raise CheckpointError(f"{path} is not a checkpoint of these examples ({_FORMAT})")
    if content["script"] != script:
        raise CheckpointError(f"{path} was written by {content['script']}, not by {script}")
    saved = content["config"]
    differences = [
        f"--{name.replace('_', '-')} was {saved.get(name)}, is {config.get(name)}"
        for name in sorted(saved.keys() | config.keys())
        if saved.get(name) != config.get(name)
    ]
    if differences:
        raise CheckpointError(f"{path} belongs to another run: " + "; ".join(differences))
    if content["step"] > last_step:
        raise CheckpointError(f"{path} is at step {content['step']}, past --steps {last_step}")
    return content["step"], content["state"]
