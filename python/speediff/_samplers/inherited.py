"""Warns if a process draws with another process's sampler: it would repeat that process's batches."""

from __future__ import annotations

import os
import sys
import warnings

_warned_in: int | None = None


class Origin:
    """The processes where a sampler was made and where this object or copy was created."""

    __slots__ = ("_lives_in", "_made_in")

    def __init__(self, made_in: int | None = None) -> None:
        self._lives_in = os.getpid()
        self._made_in = self._lives_in if made_in is None else made_in

    def __reduce__(self) -> tuple[type[Origin], tuple[int]]:
        return Origin, (self._made_in,)

    def check(self) -> None:
        """Warns, once per process, in a fork of the sampler's process and in a DataLoader worker."""
        here = os.getpid()
        if here == self._made_in:
            return
        if here != self._lives_in:
            _warn(here, "process forked from the one that made it")
        elif _is_data_worker():
            _warn(here, "DataLoader worker")


def _warn(process: int, place: str) -> None:
    global _warned_in
    if _warned_in == process:
        return
    _warned_in = process
    warnings.warn(
        f"this sampler was made in another process and draws in a {place}: without a rank of its own, each "
        "such process draws the same batches; draw in the main process, or make a sampler in each worker "
        "with rank= and world_size=",
        RuntimeWarning,
        stacklevel=5,  # The line that calls `sample`.
    )


def _is_data_worker() -> bool:
    data = sys.modules.get("torch.utils.data")
    return data is not None and data.get_worker_info() is not None
