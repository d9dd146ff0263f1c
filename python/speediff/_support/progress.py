"""Progress on stderr: a bar in a terminal and in a notebook, lines in a log."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from . import extras, messages
from .log_lines import SECONDS, LogLines
from .streams import LOST

if TYPE_CHECKING:
    from collections.abc import Sequence

_shown = True


def hide() -> None:
    """Shows no more progress and no warnings in this process: another one does."""
    global _shown
    _shown = False
    messages.hide()


def bar(
    items: Sequence[Any] | None = None,
    label: str = "",
    *,
    total: int | None = None,
    initial: int = 0,
    unit: str = "step",
    is_main: bool = False,
    delay: float = 0.0,
) -> Any:
    """What counts, and estimates the time left: a bar of tqdm or `LogLines`, which describes the arguments.

    Raises:
        SpeeDiffError: If tqdm is missing, in a log as well; it tells how to install it.
    """
    tqdm = extras.load("tqdm.auto", "a progress bar").tqdm
    counted: dict[str, Any] = {"total": total, "initial": initial, "unit": unit, "delay": delay}
    if _shown and not _is_watched():
        return LogLines(items, label=label, is_main=is_main, **counted)
    return tqdm(items, desc=label, dynamic_ncols=True, disable=not _shown, **counted)


def task(label: str) -> contextlib.AbstractContextManager[Any]:
    """For work that cannot be counted: a log tells now and then that it goes on."""
    is_silent = _is_watched() or not _shown
    return contextlib.nullcontext() if is_silent else LogLines(label=label, delay=SECONDS)


def note(line: str) -> None:
    """Writes a line on stderr, where bars are shown."""
    if _shown:
        messages.tell(line)


def check() -> None:
    """Raises SpeeDiffError if there can be no bars, before any work is done."""
    extras.load("tqdm", "a progress bar")


def _is_watched() -> bool:
    """Whether somebody sees a bar move."""
    if "ipykernel" in sys.modules:
        return True
    with contextlib.suppress(AttributeError, *LOST):  # No stream, or none that is a terminal.
        # Terminals of no width, as containers have them, show no bar.
        return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0
    return False
