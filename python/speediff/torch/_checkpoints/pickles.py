"""Loads what `torch.save` wrote, runs no code of it, and says in one line why it does not load."""

from __future__ import annotations

import argparse
import contextlib
import re
from typing import TYPE_CHECKING

import torch

from ...errors import SpeeDiffFileError
from .._adoption.places import some

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ALLOWED = (argparse.Namespace,)
"""DiT's train.py saves its arguments, too."""

_SCRIPT = "a TorchScript archive; save the module's state_dict() instead"
"""Which PyTorch refuses itself since 2.6."""

_NOT_ALLOWED = re.compile(r"GLOBAL ([\w.]+)|Unsupported class ([\w.]+)")
_DETAIL = re.compile(r"WeightsUnpickler error: ([^\n]+)")
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

_BEGINNINGS = {
    b"": "an empty file",
    b"version https://git-lfs": "a pointer of Git LFS in place of the file; fetch it with git lfs pull",
    b"<!DOCTYPE": "a web page; download the file itself",
    b"<html": "a web page; download the file itself",
}


def load_pickle(path: Path) -> object:
    """What the file holds: tensors, numbers, strings, and lists and dicts of them.

    Raises:
        SpeeDiffFileError: If it cannot be read, is damaged, or holds anything else.
    """
    check_beginning(path, "a checkpoint that PyTorch can load")
    try:
        with _allowed():
            loaded: object = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise SpeeDiffFileError(_explained(path, error)) from error
    if isinstance(loaded, torch.jit.ScriptModule):
        raise SpeeDiffFileError(f"{path} must be a checkpoint, got {_SCRIPT}")
    return loaded


def check_beginning(path: Path, rule: str) -> None:
    """Raises if the file is not there, is empty, or is one of what people download in place of a file."""
    if path.exists() and not path.is_file():
        raise SpeeDiffFileError(f"{path} must be {rule}, got no ordinary file")
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise SpeeDiffFileError(f"{path} must be {rule}, got: {error.strerror}") from error
    for beginning, found in _BEGINNINGS.items():
        if start[: len(beginning)].lower() == beginning.lower() and (beginning or not start):
            raise SpeeDiffFileError(f"{path} must be {rule}, got {found}")


@contextlib.contextmanager
def _allowed() -> Iterator[None]:
    """Adds what is allowed to what PyTorch loads; its own context manager for this is not in 2.4."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([*_ALLOWED])
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _explained(path: Path, error: Exception) -> str:
    """One line of ours: PyTorch's own is several, and advises to load the file by running its code."""
    text = _TERMINAL_CODES.sub("", str(error))
    if "TorchScript" in text:
        return f"{path} must be a checkpoint, got {_SCRIPT}"
    found = _refused_classes(path) or {"".join(match) for match in _NOT_ALLOWED.findall(text)}
    if found:
        return (
            f"{path} must hold tensors, numbers, strings, lists and dicts alone, got {some(found)}, which is "
            "not loaded since that can run code; where the file was made, save its state dicts alone, as "
            'torch.save({"model": model.state_dict()}, path)'
        )
    detail = _DETAIL.search(text)
    reason = detail[1] if detail else text.partition("\n")[0].partition(". ")[0]
    reason = "" if "weights" in reason.lower() or not reason else f": {reason}"
    return f"{path} must be a checkpoint that PyTorch can load, got one that is cut short or damaged{reason}"


def _refused_classes(path: Path) -> set[str]:
    """The classes and functions that the file names and that are not allowed, if PyTorch can list them."""
    try:
        with _allowed():
            return set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:
        return set()
