"""What a run is made of, apart from its tensors: settings and data, in `run.json` and in each checkpoint."""

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
    """All that must be the same for the run to go on, and that its pictures need."""
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
    """Writes `run.json`, unless it is there already."""
    path = folder / NAME
    text = text_names.to_json(description)
    with contextlib.suppress(OSError, ValueError):
        if path.read_text(encoding="utf-8") == text:
            return
    replace_text(path, text)


def read(checkpoint: Path) -> Description:
    """What is known of the run of a checkpoint: `run.json`, or the checkpoint's copy where that is lost.

    Raises:
        SpeeDiffValueError: If `run.json` is damaged and there is no copy, as from an earlier version.
        FileNotFoundError: If it is missing and there is no copy.
    """
    path = checkpoint.with_name(NAME)
    try:
        return _checked(path)
    except (FileNotFoundError, SpeeDiffValueError) as error:
        copy = _copy(checkpoint)
        if copy is None:
            raise
        if not isinstance(error, FileNotFoundError):
            messages.warn(f"{path} is damaged; what it held is taken from {checkpoint.name}")
        return copy


def _checked(path: Path) -> Description:
    content = path.read_bytes()
    with contextlib.suppress(ValueError, RecursionError):
        description = _complete(json.loads(content))
        if description is not None:
            return description
    raise SpeeDiffValueError(f"{path} must be as `speediff train` wrote it")


def _copy(checkpoint: Path) -> Description | None:
    with contextlib.suppress(SpeeDiffError):
        return _complete(checkpoints.Checkpoint(checkpoint).run())
    return None


def _complete(description: Any) -> Description | None:
    """With the settings that an earlier version did not have; None if it is none."""
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
