"""The processors that processes on one machine divide among themselves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def available() -> dict[str, Any]:
    """The name of this machine, and the numbers of the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        processors = sorted(os.sched_getaffinity(0))
    else:
        processors = list(range(os.cpu_count() or 1))
    return {"machine": os.uname().nodename, "processors": processors}


def share(descriptions: Sequence[dict[str, Any]], rank: int) -> int:
    """How many processors fall to a rank, at least 1: each is divided among those that may use it.

    A launcher may bind each process to processors of its own, or let all use all.

    Args:
        descriptions: What `available` gives on each rank.
        rank: Which one.
    """
    own = descriptions[rank]
    neighbours = [each["processors"] for each in descriptions if each["machine"] == own["machine"]]
    users: dict[int, int] = {}
    for processors in neighbours:
        for processor in processors:
            users[processor] = users.get(processor, 0) + 1
    # The shares are summed exactly: three thirds are one.
    counts = [users[processor] for processor in own["processors"]]
    return max(1, int(sum(counts.count(n) / n for n in set(counts)) + 1e-9))
