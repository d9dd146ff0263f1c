"""Arrays that take long to compute, kept in the user's cache folder. A failure costs only time."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SpeeDiffError
from . import messages, replacement

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, Any]


def kept(name: str, read: Callable[[Path], Array], compute: Callable[[], Array]) -> Array:
    """An array from the cache, or computed and then kept there.

    Args:
        name: The file's name. It must change whenever the array would.
        read: Reads and checks the file; any `SpeeDiffError` or `OSError` means that it is unusable.
        compute: Computes the array.
    """
    path = folder() / f"{name}.npz"
    with contextlib.suppress(SpeeDiffError, OSError):
        return read(path)
    array = compute()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Atomic: other processes find nothing, or the whole file.
        replacement.replace(path, lambda file: np.savez_compressed(file, images=array))
    except OSError as error:
        messages.warn(f"{path.parent}: {error.strerror}; the next start computes {name} again")
    return array


def folder() -> Path:
    """The folder, which need not exist: speediff in $XDG_CACHE_HOME, or in ~/.cache."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = given if os.path.isabs(given) else os.path.expanduser("~/.cache")
    return Path(base) / "speediff"
