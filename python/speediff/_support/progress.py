"""Progress on stderr: a bar in terminals and notebooks, lines in logs."""

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
    """Silences progress and warnings in this process, because another process shows them."""
    hide_bars()
    messages.hide()


def hide_bars() -> None:
    """Silences progress in this process, but no warnings."""
    global _shown
    _shown = False


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
    """A progress counter: tqdm's bar or `LogLines`, which documents the arguments.

    Raises:
        SpeeDiffError: If tqdm is missing (also when stderr is a log); the error says how to install it.
    """
    tqdm = extras.load("tqdm.auto", "a progress bar").tqdm
    counted: dict[str, Any] = {"total": total, "initial": initial, "unit": unit, "delay": delay}
    if _shown and not _is_watched():
        return LogLines(items, label=label, is_main=is_main, **counted)
    return tqdm(items, desc=label, dynamic_ncols=True, disable=not _shown, **counted)


class Table:
    """Lines under the bars of a terminal, each replaced in place. In a log each text is a new line."""

    def __init__(self, names: Sequence[str]) -> None:
        """Makes an empty line for each name."""
        self._lines: dict[str, Any] = {}
        if _shown and _is_watched():
            tqdm = extras.load("tqdm.auto", "a progress bar").tqdm
            self._lines = {name: tqdm(bar_format="{desc}", dynamic_ncols=True) for name in names}

    def show(self, name: str, text: str) -> None:
        """Shows a line's new text."""
        if name in self._lines:
            self._lines[name].set_description_str(text)
        else:
            note(text)

    def close(self) -> None:
        """Leaves the last texts."""
        for line in self._lines.values():
            line.close()


def task(label: str) -> contextlib.AbstractContextManager[Any]:
    """A context for work without units; logs get a line at intervals."""
    is_silent = _is_watched() or not _shown
    return contextlib.nullcontext() if is_silent else LogLines(label=label, delay=SECONDS)


def note(line: str) -> None:
    """Writes a line to stderr without breaking a bar."""
    if _shown:
        messages.tell(line)


def check() -> None:
    """Raises SpeeDiffError if tqdm is missing. Called before any work."""
    extras.load("tqdm", "a progress bar")


def _is_watched() -> bool:
    """Whether stderr is a terminal or a notebook."""
    if "ipykernel" in sys.modules:
        return True
    with contextlib.suppress(AttributeError, *LOST):  # No stream, or not a terminal.
        # Terminals of width 0, as in some containers, show no bar.
        return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0
    return False
