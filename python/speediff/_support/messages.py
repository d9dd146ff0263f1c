"""What a program has to say beside its results: lines on stderr, which never end the work."""

from __future__ import annotations

import contextlib
import sys

from .streams import LOST

_said: set[str] = set()
_warns = True


def hide() -> None:
    """Says no more warnings in this process: another one does."""
    global _warns
    _warns = False


def tell(message: str) -> None:
    """Writes a line in one piece, so that lines of two threads do not mix."""
    if sys.stderr is not None:
        with contextlib.suppress(*LOST):
            sys.stderr.write(f"{message}\n")
            sys.stderr.flush()


def warn(message: str) -> None:
    """Writes a warning in one line, and the same one only once."""
    line = f"speediff: warning: {' '.join(message.split())}"
    if _warns and line not in _said:
        _said.add(line)
        tell(line)
