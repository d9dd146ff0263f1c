"""Counts a sampler's calls and keeps prefetched draws.

There is no lock. A signal handler that uses the sampler may interrupt any line here. If this thread held a
lock, the handler would deadlock. Each change is one atomic operation, for handlers and for other threads.
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
    """The results of consecutive calls, handed out one by one."""

    __slots__ = ("_dropped", "_successor", "end", "key", "pieces")

    def __init__(self, end: int, key: Any = None, pieces: list[Piece] | None = None) -> None:
        self.end = end
        """The call after the last piece. It determines the next call, so taking a piece updates nothing."""
        self.key = key
        """What the pieces were drawn for: batch size, or batch size and device; None: no pieces yet."""
        self.pieces: list[Piece] = [] if pieces is None else pieces
        """The pieces in reverse order. `pop()` takes the next one, also from several threads at once."""
        self._dropped: list[Piece] = []
        self._successor: dict[int, Block[Piece]] = {}

    def next_call(self) -> int:
        """The number of the next call."""
        # One expression, so that no other Python code runs between the two lengths.
        return self.end - sum(map(len, (self.pieces, self._dropped)))

    def drop(self) -> int:
        """Drops the pieces and returns the next call. Can be repeated."""
        # One C call, which no handler interrupts: a piece is always in one of the lists.
        with suppress(IndexError):
            self._dropped.extend(iter(self.pieces.pop, None))
        return self.end - len(self._dropped)

    def replace(self, other: Block[Piece]) -> bool:
        """Links another block after this one, which is empty; False if one is already linked."""
        return self._successor.setdefault(0, other) is other

    def last(self) -> Block[Piece]:
        """The last block of the chain that starts here."""
        block = self
        while block._successor:
            block = block._successor[0]
        return block


class DrawsAhead(Generic[Native, Piece]):
    """The call counter of a native sampler, with prefetched results of later calls.

    Equal consecutive calls are drawn in one call across the C boundary and handed out piece by piece. A draw
    is a pure function of the call's number, so prefetching does not change results. Each call is handed out
    once, whatever the number of threads. A thread that loses a race draws the next call.
    """

    __slots__ = ("__weakref__", "_most", "block", "native", "seed", "size")

    def __init__(self, native: Native | None, seed: int, call: int = 0, size: int | None = None) -> None:
        self.native = native
        """The native sampler; None after `close()`."""
        self.seed = seed
        """Its seed."""
        self.size = size
        """The batch size of the last call; None before the first."""
        self.block: Block[Piece] = Block(call)
        """The block of the next piece. Replaced as a whole: its key and its pieces belong together."""
        self._most = _UNLIMITED
        """The number of calls to draw at once; restarts at 1 after `forget` and doubles."""
        _instances.add(self)

    def next_call(self) -> int:
        """The number of the next call."""
        return self.block.last().next_call()

    def take(self, key: object, calls: int, draw: Callable[[int, int], list[Piece]]) -> Piece:
        """The next call's result for `key`, drawn with the calls after it.

        Args:
            key: What to draw for. If it changes, the old pieces are dropped and their calls redrawn.
            calls: How many calls to draw.
            draw: Draws consecutive calls, given the first one and their number.
        """
        while True:
            block = self.block.last()
            if block.key == key:
                try:
                    return block.pieces.pop()  # Another thread or a signal handler was faster.
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
        """Draws only the next call, and advances if that succeeds."""
        while True:
            block = self.block.last()
            call = block.drop()
            draw(call)
            if self._replace(block, Block(call + 1)):
                return

    def forget(self) -> None:
        """Drops prefetched draws, because the results of later calls have changed.

        A caller that forgets after every call would waste prefetched draws, so prefetching restarts small.
        """
        self._most = 1
        self._begin_anew(None)

    def go_to(self, call: int) -> None:
        """Sets the next call."""
        self.size = None
        self._begin_anew(call)

    def _begin_anew(self, call: int | None) -> None:
        """Drops prefetched draws and restarts at a call; None: at the next one."""
        while True:
            block = self.block.last()
            following = block.drop()
            if self._replace(block, Block(following if call is None else call)):
                return

    def _replace(self, block: Block[Piece], other: Block[Piece]) -> bool:
        if not block.replace(other):
            return False
        # A handler that runs before this line still finds the block, as the last of the chain.
        self.block = other
        return True


_instances: weakref.WeakSet[DrawsAhead[Any, Any]] = weakref.WeakSet()


def _drop_in_child() -> None:
    """Drops the parent's prefetched pieces in a forked child, so that each sampler checks its process."""
    for instance in _instances:
        instance.block = Block(instance.next_call())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_in_child)
