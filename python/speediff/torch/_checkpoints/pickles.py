"""Loads files of `torch.save` without running their code; errors are one line."""

from __future__ import annotations

import argparse
import contextlib
import re
from typing import TYPE_CHECKING

import torch

from ..._support.reading import irregular
from ...errors import SpeeDiffFileError
from .._adoption.places import some

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ALLOWED = (argparse.Namespace,)
"""DiT's train.py also saves its arguments."""

_SCRIPT = "a TorchScript archive; save the module's state_dict() instead"
"""PyTorch itself rejects these since 2.6."""

_NOT_ALLOWED = re.compile(r"GLOBAL ([\w.]+)|Unsupported class ([\w.]+)")
_DETAIL = re.compile(r"WeightsUnpickler error: ([^\n]+)")
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

_BEGINNINGS = {
    b"": "an empty file",
    b"version https://git-lfs": "a Git LFS pointer instead of the file; fetch it with git lfs pull",
    b"<!DOCTYPE": "a web page; download the file itself",
    b"<html": "a web page; download the file itself",
}


def load_pickle(path: Path) -> object:
    """Loads a file of tensors, numbers, strings, and lists and dicts of them.

    Raises:
        SpeeDiffFileError: If the file cannot be read, is damaged, or holds anything else.
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
    """Raises if the file is missing, empty, or a common wrong download such as a web page."""
    try:
        kind, start = irregular(path), b""
        if kind is None:
            with path.open("rb") as file:
                start = file.read(64)
    except OSError as error:
        raise SpeeDiffFileError(f"{path} must be {rule}, got: {error.strerror}") from error
    if kind is not None:
        raise SpeeDiffFileError(f"{path} must be {rule}, got {kind}")
    for beginning, found in _BEGINNINGS.items():
        if start[: len(beginning)].lower() == beginning.lower() and (beginning or not start):
            raise SpeeDiffFileError(f"{path} must be {rule}, got {found}")


@contextlib.contextmanager
def _allowed() -> Iterator[None]:
    """Extends PyTorch's safe globals. Its own context manager is missing in 2.4."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([*_ALLOWED])
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _explained(path: Path, error: Exception) -> str:
    """A one-line error. PyTorch's message has several lines and advises running the file's code."""
    text = _TERMINAL_CODES.sub("", str(error))
    if "TorchScript" in text:
        return f"{path} must be a checkpoint, got {_SCRIPT}"
    found = _refused_classes(path) or {"".join(match) for match in _NOT_ALLOWED.findall(text)}
    if found:
        return (
            f"{path} must hold only tensors, numbers, strings, lists and dicts, got {some(found)}, which is "
            "not loaded because it can run code; in the program that wrote the file save only state dicts: "
            'torch.save({"model": model.state_dict()}, path)'
        )
    detail = _DETAIL.search(text)
    reason = detail[1] if detail else text.partition("\n")[0].partition(". ")[0]
    reason = "" if "weights" in reason.lower() or not reason else f": {reason}"
    return f"{path} must be a checkpoint that PyTorch can load, got a truncated or damaged one{reason}"


def _refused_classes(path: Path) -> set[str]:
    """The disallowed classes and functions in the file, if PyTorch can list them."""
    try:
        with _allowed():
            return set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:
        return set()
