"""Ctrl-C in long work: the first ends it in good order, the second at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """In its `with` block, the first Ctrl-C (or SIGTERM) sets `made`, for the loop to ask after each step.

    The second ends the process on the spot, even in the middle of native code.
    """

    def __init__(self) -> None:
        self.made = False

    def _make(self, number: int, frame: FrameType | None) -> None:
        self.made = True
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        # Not print: this may run in the middle of one.
        sys.stderr.write("\nspeediff: stopping after this step; again to stop at once\n")

    def __enter__(self) -> StopRequest:
        self._previous = {number: signal.signal(number, self._make) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def leaving_at_once() -> Iterator[None]:
    """In its `with` block, Ctrl-C ends the process, with exit code 130. For work that leaves nothing behind.

    ctypes drops what a signal's handler raises as a callback begins: KeyboardInterrupt would be lost there.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        sys.stderr.write("\n")
        os._exit(130)

    previous = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
