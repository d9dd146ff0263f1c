"""Counts a sampler's calls, and keeps what was drawn ahead of them."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Piece = TypeVar("Piece")

_UNLIMITED = 1 << 30


class Block(Generic[Piece]):
    """The results of a row of calls, handed out one by one."""

    __slots__ = ("end", "key", "pieces")

    def __init__(self, end: int, key: Any = None, pieces: list[Piece] | None = None) -> None:
        self.end = end
        """The call after the last piece. The next one follows from it: taking a piece updates nothing."""
        self.key = key
        """What the pieces were drawn for: batch size, or batch size and device; None: there are none yet."""
        self.pieces: list[Piece] = [] if pieces is None else pieces
        """The first of them last; `pop()` takes it, from any number of threads at once."""


class DrawsAhead(Generic[Piece]):
    """The calls of a sampler: their number so far, and the results of some that are still to come.

    A row of equal calls is drawn in one crossing of the C boundary, and handed out piece by piece. As a
    draw is a pure function of its call's number, results do not depend on it. Each call is handed out
    once, to however many threads.
    """

    __slots__ = ("__weakref__", "_lock", "_most", "block")

    def __init__(self, call: int = 0) -> None:
        self.block: Block[Piece] = Block(call)
        """Where to take the next piece. Replaced as a whole: its key and its pieces belong together."""
        self._most = _UNLIMITED
        """How many calls to draw at once; doubles from 1 after `forget`."""
        self._lock = threading.Lock()
        _instances.add(self)

    def next_call(self) -> int:
        """The number of the call that comes next."""
        with self._lock:
            return self.block.end - len(self.block.pieces)

    def take(self, key: object, calls: int, draw: Callable[[int, int], list[Piece]]) -> Piece:
        """The next call's result for `key`, drawn with the calls after it.

        Args:
            key: What to draw for. If it has changed, pieces for the old one are dropped, and their
                calls drawn anew.
            calls: How many calls to draw.
            draw: Draws a number of calls from a first one on.
        """
        with self._lock:
            if self.block.key == key:
                try:
                    return self.block.pieces.pop()  # Another thread was faster.
                except IndexError:
                    pass
            call = self._drop()
            calls = min(calls, self._most)
            self._most = min(2 * self._most, _UNLIMITED)
            pieces = draw(call, calls)
            pieces.reverse()
            first = pieces.pop()
            self.block = Block(call + calls, key, pieces)
            return first

    def forget(self) -> None:
        """Drops what was drawn ahead, because the next call's result has become another one.

        Who forgets after every call would draw ahead in vain; hence little at first.
        """
        with self._lock:
            self._drop()
            self._most = 1

    def take_apart(self, draw: Callable[[int], None]) -> None:
        """Draws the next call by itself, and moves on if that succeeds."""
        with self._lock:
            call = self._drop()
            draw(call)
            self.block = Block(call + 1)

    def _drop(self) -> int:
        """Gives up what was drawn ahead, and tells the next call.

        The lock is held, but others take pieces without it: hence one by one.
        """
        block = self.block
        dropped = 0
        while True:
            try:
                block.pieces.pop()
            except IndexError:
                break
            dropped += 1
        call = block.end - dropped
        self.block = Block(call)
        return call


_instances: weakref.WeakSet[DrawsAhead[Any]] = weakref.WeakSet()


def _renew_locks() -> None:
    """A forked child inherits locks that other threads of its parent held, and nobody releases them."""
    for instance in _instances:
        instance._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
