"""Messages on stderr. A failed write never stops the work."""

from __future__ import annotations

import contextlib
import sys

from .streams import LOST

_said: set[str] = set()
_warns = True


def hide() -> None:
    """Silences warnings in this process, because another process prints them."""
    global _warns
    _warns = False


def tell(message: str) -> None:
    """Writes a line in one call, so that lines of two threads do not mix."""
    if sys.stderr is not None:
        with contextlib.suppress(*LOST):
            sys.stderr.write(f"{message}\n")
            sys.stderr.flush()


def warn(message: str) -> None:
    """Writes a warning on one line, once per distinct text."""
    line = f"speediff: warning: {' '.join(message.split())}"
    if _warns and line not in _said:
        _said.add(line)
        tell(line)
