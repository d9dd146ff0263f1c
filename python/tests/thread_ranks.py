"""Threads that take themselves for the processes of a run: what ranks do together, without starting any."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from speediff.distributed import Group

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Result = TypeVar("Result")
SECONDS = 60
"""After which ranks that wait for others give up."""


class Meeting:
    """Where threads leave what they say, and take what others said."""

    def __init__(self, ranks: int) -> None:
        self.barrier = threading.Barrier(ranks, timeout=SECONDS)
        self.said: list[Any] = [None] * ranks

    def exchange(self, rank: int, what: Any) -> list[Any]:
        self.said[rank] = what
        self.barrier.wait()
        everything = list(self.said)
        self.barrier.wait()
        return everything


class ThreadGroup(Group):
    """A rank that is a thread."""

    def __init__(self, rank: int, meeting: Meeting) -> None:
        super().__init__(rank, len(meeting.said), "threads")
        self.meeting = meeting
        self.exchanges = 0

    def _gather(self, message: bytes) -> list[bytes]:
        self.exchanges += 1
        return self.meeting.exchange(self.rank, message)

    def _sum(self, array: NDArray[np.float32]) -> None:
        self.exchanges += 1
        array[...] = np.sum(self.meeting.exchange(self.rank, array.copy()), axis=0)

    def close(self) -> None:
        pass

    def _leave_with_error(self) -> None:
        self.meeting.barrier.abort()


def on_ranks(count: int, body: Callable[[ThreadGroup], Result]) -> list[Result]:
    """What the body gives on each rank; the first rank's error, if there are any."""
    outcomes = outcomes_on_ranks(count, body)
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if errors:
        raise errors[0]
    return outcomes


def outcomes_on_ranks(count: int, body: Callable[[ThreadGroup], Result]) -> list[Any]:
    """What the body gives or raises on each rank."""
    meeting = Meeting(count)
    outcomes: list[Any] = [None] * count

    def run(rank: int) -> None:
        try:
            with ThreadGroup(rank, meeting) as group:
                outcomes[rank] = body(group)
        except BaseException as error:
            outcomes[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
