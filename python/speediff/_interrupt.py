"""Ctrl-C in long work: the first ends it in good order, the second at once."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """Work has ended in good order after a `StopRequest`, on all processes that share it."""

    on_all_ranks = True


class StopRequest:
    """In its `with` block, the first Ctrl-C (or SIGTERM) sets `made`, for the loop to ask after each step.

    The second ends the process on the spot, even in the middle of native code.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        """Takes how to answer.

        Args:
            quiet: Leave it to another process to say what happens.
        """
        self.made = False
        self._quiet = quiet

    def _make(self, number: int, frame: FrameType | None) -> None:
        self.made = True
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        if self._quiet:
            return
        # Not print: this may run in the middle of one.
        sys.stderr.write("\nspeediff: stopping after this step; again to stop at once\n")

    def __enter__(self) -> StopRequest:
        self._previous = {number: signal.signal(number, self._make) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
