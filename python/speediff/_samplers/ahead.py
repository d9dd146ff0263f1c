"""Counts a sampler's calls, and keeps what was drawn ahead of them.

There is no lock. A signal handler that uses the sampler may interrupt any line here, in the thread that holds
the lock, and would wait for ever. Each change is one operation, which neither a handler nor another thread
can divide.
"""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Native = TypeVar("Native")
Piece = TypeVar("Piece")

_UNLIMITED = 1 << 30


class Block(Generic[Piece]):
    """The results of a row of calls, handed out one by one."""

    __slots__ = ("_dropped", "_successor", "end", "key", "pieces")

    def __init__(self, end: int, key: Any = None, pieces: list[Piece] | None = None) -> None:
        self.end = end
        """The call after the last piece. The next one follows from it: taking a piece updates nothing."""
        self.key = key
        """What the pieces were drawn for: batch size, or batch size and device; None: there are none yet."""
        self.pieces: list[Piece] = [] if pieces is None else pieces
        """The first of them last; `pop()` takes it, from any number of threads at once."""
        self._dropped: list[Piece] = []
        self._successor: dict[int, Block[Piece]] = {}

    def next_call(self) -> int:
        """The number of the call that comes next."""
        # Counted in one go, without a line of Python between the two lengths.
        return self.end - sum(map(len, (self.pieces, self._dropped)))

    def drop(self) -> int:
        """Gives up the pieces, and tells the next call. May be done again."""
        # One call of C, which no handler interrupts: a piece is in one of the lists, and never in neither.
        with suppress(IndexError):
            self._dropped.extend(iter(self.pieces.pop, None))
        return self.end - len(self._dropped)

    def replace(self, other: Block[Piece]) -> bool:
        """Makes another block follow this one, which has no pieces left; False if one does already."""
        return self._successor.setdefault(0, other) is other

    def last(self) -> Block[Piece]:
        """This block, or the last of those that follow it."""
        block = self
        while block._successor:
            block = block._successor[0]
        return block


class DrawsAhead(Generic[Native, Piece]):
    """The calls of a native sampler: their number so far, and the results of some that are still to come.

    A row of equal calls is drawn in one crossing of the C boundary, and handed out piece by piece. As a
    draw is a pure function of its call's number, results do not depend on it. Each call is handed out
    once, to however many threads; who draws one that another has taken meanwhile draws the next one.
    """

    __slots__ = ("__weakref__", "_most", "block", "native", "seed", "size")

    def __init__(self, native: Native | None, seed: int, call: int = 0, size: int | None = None) -> None:
        self.native = native
        """What draws; None after `close()`."""
        self.seed = seed
        """Its seed."""
        self.size = size
        """The batch size of the last call; None: there was none."""
        self.block: Block[Piece] = Block(call)
        """Where to take the next piece. Replaced as a whole: its key and its pieces belong together."""
        self._most = _UNLIMITED
        """How many calls to draw at once; doubles from 1 after `forget`."""
        _instances.add(self)

    def next_call(self) -> int:
        """The number of the call that comes next."""
        return self.block.last().next_call()

    def take(self, key: object, calls: int, draw: Callable[[int, int], list[Piece]]) -> Piece:
        """The next call's result for `key`, drawn with the calls after it.

        Args:
            key: What to draw for. If it has changed, pieces for the old one are dropped, and their
                calls drawn anew.
            calls: How many calls to draw.
            draw: Draws a number of calls from a first one on.
        """
        while True:
            block = self.block.last()
            if block.key == key:
                try:
                    return block.pieces.pop()  # Another thread was faster, or a signal handler.
                except IndexError:
                    pass
            call = block.drop()
            count = min(calls, self._most)
            pieces = draw(call, count)
            pieces.reverse()
            first = pieces.pop()
            if self._replace(block, Block(call + count, key, pieces)):
                self._most = min(2 * self._most, _UNLIMITED)
                return first

    def take_apart(self, draw: Callable[[int], None]) -> None:
        """Draws the next call by itself, and moves on if that succeeds."""
        while True:
            block = self.block.last()
            call = block.drop()
            draw(call)
            if self._replace(block, Block(call + 1)):
                return

    def forget(self) -> None:
        """Drops what was drawn ahead, because the next call's result has become another one.

        Who forgets after every call would draw ahead in vain; hence little at first.
        """
        self._most = 1
        self._begin_anew(None)

    def go_to(self, call: int) -> None:
        """Makes a call the next one."""
        self.size = None
        self._begin_anew(call)

    def _begin_anew(self, call: int | None) -> None:
        """Drops what was drawn ahead, and begins with a call; None: with the one that is next."""
        while True:
            block = self.block.last()
            following = block.drop()
            if self._replace(block, Block(following if call is None else call)):
                return

    def _replace(self, block: Block[Piece], other: Block[Piece]) -> bool:
        if not block.replace(other):
            return False
        # Should a handler come before this line it finds the block all the same, as the last one.
        self.block = other
        return True


_instances: weakref.WeakSet[DrawsAhead[Any, Any]] = weakref.WeakSet()


def _drop_in_child() -> None:
    """Has a forked child look at each sampler before it draws, and not go on with its parent's pieces."""
    for instance in _instances:
        instance.block = Block(instance.next_call())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_in_child)
