"""A run's settings and data, stored in `run.json` and in each checkpoint."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from .._support import messages, text_names
from .._support.replacement import replace_text
from .._support.version import __version__
from .._trainer import checkpoints
from ..errors import SpeeDiffError, SpeeDiffValueError
from . import run_settings

if TYPE_CHECKING:
    from pathlib import Path

    from .._data.datasets import Dataset
    from .run_settings import Settings

    Description = dict[str, Any]

NAME = "run.json"


def describe(settings: Settings, data: Dataset, source: str) -> Description:
    """Everything that must match on resume, and what the sample pictures need."""
    return {
        "speediff": __version__,
        "settings": settings,
        "data": {
            "source": source,
            "fingerprint": data.fingerprint,
            "kind": "images" if data.is_images else "latents",
            "class_names": data.class_names,
        },
    }


def write(folder: Path, description: Description) -> None:
    """Writes `run.json`, unless it already has this content."""
    path = folder / NAME
    text = text_names.to_json(description)
    with contextlib.suppress(OSError, ValueError):
        if path.read_text(encoding="utf-8") == text:
            return
    replace_text(path, text)


def read(checkpoint: Path) -> Description:
    """The description of a checkpoint's run: `run.json`, or the copy in the checkpoint.

    Raises:
        SpeeDiffValueError: If `run.json` is damaged and the checkpoint has no copy (earlier versions).
        FileNotFoundError: If it is missing and the checkpoint has no copy.
    """
    path = checkpoint.with_name(NAME)
    try:
        return _checked(path)
    except (FileNotFoundError, SpeeDiffValueError) as error:
        copy = _copy(checkpoint)
        if copy is None:
            raise
        if not isinstance(error, FileNotFoundError):
            messages.warn(f"{path} is damaged; using the copy in {checkpoint.name}")
        return copy


def _checked(path: Path) -> Description:
    content = path.read_bytes()
    with contextlib.suppress(ValueError, RecursionError):
        description = _complete(json.loads(content))
        if description is not None:
            return description
    raise SpeeDiffValueError(f"{path} must be a run.json that `speediff train` wrote")


def _copy(checkpoint: Path) -> Description | None:
    with contextlib.suppress(SpeeDiffError):
        return _complete(checkpoints.Checkpoint(checkpoint).run())
    return None


def _complete(description: Any) -> Description | None:
    """Adds settings that an earlier version lacked; None if this is no description."""
    with contextlib.suppress(KeyError, TypeError, AttributeError):
        settings, data = description["settings"], description["data"]
        names = data["class_names"]
        if (
            settings.keys() <= run_settings.DEFAULTS.keys()
            and {"source", "fingerprint", "kind"} <= data.keys()
            and all(isinstance(name, str) for name in (settings["method"], *(names or ())))
        ):
            return {**description, "settings": {**run_settings.DEFAULTS, **settings}}
    return None
