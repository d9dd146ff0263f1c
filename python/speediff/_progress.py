"""Progress bars on stderr: live in a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

from . import _extras

if TYPE_CHECKING:
    from collections.abc import Sequence

Item = TypeVar("Item")

_shown = True

LOG_SECONDS = 15.0
"""How often a bar is written where nobody watches it move."""


def hide() -> None:
    """Shows no more bars in this process: another one does."""
    global _shown
    _shown = False


def bar(items: Sequence[Item] | None = None, label: str = "", **options: Any) -> Any:
    """A bar of tqdm, which counts and estimates the time left."""
    tqdm = _extras.load("tqdm", "a progress bar").tqdm
    interval = 0.1 if sys.stderr.isatty() else LOG_SECONDS
    return tqdm(items, desc=label, mininterval=interval, dynamic_ncols=True, disable=not _shown, **options)


def note(line: str) -> None:
    """Writes a line on stderr, where bars are shown."""
    if _shown:
        print(line, file=sys.stderr)


def check() -> None:
    """Raises SpeeDiffError if there can be no bars, before any work is done."""
    _extras.load("tqdm", "a progress bar")
