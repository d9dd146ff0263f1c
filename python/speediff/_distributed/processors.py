"""Dividing a machine's processors among the processes on it."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any

from .._native import c_training as ct
from . import launchers

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTROL_GROUPS = "/proc/self/cgroup"


def available() -> dict[str, Any]:
    """The processors available to this process.

    Returns:
        machine: The machine's name.
        processors: The processor numbers in the affinity mask.
        quota: The cgroup CPU quota, in whole processors; 0: unlimited.
        groups: The names of those cgroups. Processes in the same ones share the quota.
        requested: The threads that OMP_NUM_THREADS requests; 0: unset.

    Raises:
        SpeeDiffValueError: If OMP_NUM_THREADS is not a number of threads.
    """
    count, quota, requested = (ctypes.c_int64() for _ in range(3))
    ct.speediff_thread_limits(count, quota, requested)
    if hasattr(os, "sched_getaffinity"):
        processors = sorted(os.sched_getaffinity(0))
    else:
        processors = list(range(count.value))
    # torchrun sets one thread by default, so this is not the user's request.
    by_torchrun = requested.value == 1 and launchers.by_torchrun()
    return {
        "machine": os.uname().nodename,
        "processors": processors,
        "quota": quota.value,
        "groups": _control_groups(),
        "requested": 0 if by_torchrun else requested.value,
    }


def share(descriptions: Sequence[dict[str, Any]], rank: int) -> int:
    """The number of threads for a rank, at least 1. Ranks that may use the same processor share it.

    A launcher may bind each process to its own processors or let all share them. Likewise a quota may
    apply to one process or to all.

    Args:
        descriptions: The result of `available` on each rank.
        rank: The rank.
    """
    own = descriptions[rank]
    neighbours = [each for each in descriptions if each["machine"] == own["machine"]]
    users: dict[int, int] = {}
    for each in neighbours:
        for processor in each["processors"]:
            users[processor] = users.get(processor, 0) + 1
    # Sum exact fractions, so that three thirds are one.
    counts = [users[processor] for processor in own["processors"]]
    threads = int(sum(counts.count(n) / n for n in set(counts)) + 1e-9)
    if own["quota"]:
        threads = min(threads, own["quota"] // sum(each["groups"] == own["groups"] for each in neighbours))
    if own["requested"]:
        threads = min(threads, own["requested"])
    return max(1, threads)


def _control_groups() -> str:
    try:
        with open(CONTROL_GROUPS, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
