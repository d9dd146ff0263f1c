"""Graceful stop on Ctrl-C, SIGTERM and SIGHUP."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, TypeVar

from .._support import streams

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

Result = TypeVar("Result")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""From a terminal; from a scheduler (Slurm, Kubernetes, torchrun); from a terminal that closes."""


class Stopped(KeyboardInterrupt):
    """Raised when work stopped gracefully after a `StopRequest`, on all processes that share it."""

    on_all_ranks = True


class _GivenUp(BaseException):
    """A stop request arrived during work that can be abandoned."""


class StopRequest:
    """In its `with` block, the first of these signals sets `made`. The loop checks it after each step.

    A second Ctrl-C ends the process at once, even inside native code. SIGTERM and SIGHUP do not, because
    launchers and shells send them twice. Signals that were ignored at start stay ignored, as under nohup or
    in a script's background job.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        """Creates the request.

        Args:
            quiet: Print nothing; another process does.
        """
        self.made = False
        self._quiet = quiet
        self._gives_up = False

    def unless_made(self, work: Callable[[], Result]) -> Result | None:
        """The result of `work`; None if a stop request preceded or interrupted it."""
        try:
            try:
                self._gives_up = True
                return None if self.made else work()
            finally:
                self._gives_up = False
        except _GivenUp:
            return None

    def _make(self, number: int, frame: FrameType | None) -> None:
        if self.made:
            return
        self.made = True
        if signal.SIGINT in self._previous:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if not self._quiet:
            is_from_keys = number == signal.SIGINT
            name, again = ("", "again") if is_from_keys else (f"{signal.Signals(number).name}: ", "Ctrl-C")
            streams.tell_at_once(f"\nspeediff: {name}stopping after this step; {again} to stop at once")
        if self._gives_up:
            raise _GivenUp

    def __enter__(self) -> StopRequest:
        self._previous = {}
        if threading.current_thread() is threading.main_thread():  # Only the main thread may set handlers.
            heard = [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
            self._previous = {number: signal.signal(number, self._make) for number in heard}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            # None means a handler from outside Python, which cannot be restored.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
