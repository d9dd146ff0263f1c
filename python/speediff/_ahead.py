"""Counts a sampler's calls, and keeps what was drawn ahead of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Piece = TypeVar("Piece")


class DrawsAhead(Generic[Piece]):
    """The calls of a sampler: their number so far, and the results of some that are still to come.

    A row of equal calls is drawn in one crossing of the C boundary, and handed out piece by piece. As
    a draw is a pure function of its call's number, results do not depend on it. Several threads may
    take pieces at once: each call is handed out once.
    """

    __slots__ = ("_end", "_lock", "key", "pieces")

    def __init__(self, call: int = 0) -> None:
        self.key: object = None
        """What the pieces were drawn for: batch size and device."""
        self.pieces: list[Piece] = []
        """The results of the next calls, the first of them last. `pop()` takes it."""
        # The call after the last piece. The next call is derived from it, so that taking a piece
        # has nothing else to update.
        self._end = call
        self._lock = threading.Lock()

    def next_call(self) -> int:
        """The number of the call that comes next."""
        return self._end - len(self.pieces)

    def take(self, key: object, calls: int, draw: Callable[[int, int], list[Piece]]) -> Piece:
        """The next call's result for `key`, drawn with the calls after it.

        Args:
            key: What to draw for. If it has changed, pieces for the old one are dropped, and their
                calls drawn anew.
            calls: How many calls to draw.
            draw: Draws a number of calls from a first one on.
        """
        with self._lock:
            if self.key != key:
                # Others take pieces without the lock, so the rest is taken out one by one.
                self.key = None
                while self.pieces:
                    self.pieces.pop()
                    self._end -= 1
            elif self.pieces:  # Another thread was faster.
                return self.pieces.pop()
            pieces = draw(self._end, calls)
            pieces.reverse()
            first = pieces.pop()
            self._end += calls
            self.pieces = pieces
            self.key = key
            return first

    def take_apart(self, draw: Callable[[int], None]) -> None:
        """Draws the next call by itself, and moves on if that succeeds."""
        with self._lock:
            draw(self.next_call())
            if self.pieces:
                self.pieces.pop()
            else:
                self._end += 1
