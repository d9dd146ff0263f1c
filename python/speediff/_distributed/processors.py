"""The processors that processes on one machine divide among themselves."""

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
    """What this process may use of its machine.

    Returns:
        machine: Its name.
        processors: The numbers of the processors that the affinity mask allows.
        quota: The processor time that control groups allow, in whole processors; 0: any.
        groups: The names of those groups. Processes with the same ones share the quota.
        requested: The threads that OMP_NUM_THREADS asks for; 0: it does not say.

    Raises:
        SpeeDiffValueError: If OMP_NUM_THREADS is no number of threads.
    """
    count, quota, requested = (ctypes.c_int64() for _ in range(3))
    ct.speediff_thread_limits(count, quota, requested)
    if hasattr(os, "sched_getaffinity"):
        processors = sorted(os.sched_getaffinity(0))
    else:
        processors = list(range(count.value))
    # torchrun asks for one thread by itself, where nobody has asked for any number.
    by_torchrun = requested.value == 1 and launchers.by_torchrun()
    return {
        "machine": os.uname().nodename,
        "processors": processors,
        "quota": quota.value,
        "groups": _control_groups(),
        "requested": 0 if by_torchrun else requested.value,
    }


def share(descriptions: Sequence[dict[str, Any]], rank: int) -> int:
    """How many threads a rank is to have, at least 1: each processor is divided among those that may use it.

    A launcher may bind each process to processors of its own, or let all use all. Likewise a quota may be
    each process's own or that of all.

    Args:
        descriptions: What `available` gives on each rank.
        rank: Which one.
    """
    own = descriptions[rank]
    neighbours = [each for each in descriptions if each["machine"] == own["machine"]]
    users: dict[int, int] = {}
    for each in neighbours:
        for processor in each["processors"]:
            users[processor] = users.get(processor, 0) + 1
    # The shares are summed exactly: three thirds are one.
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
