"""Processes that communicate through `torch.distributed`."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from .._distributed.group import Group
from .._support import arguments
from ..errors import SpeeDiffGroupError, SpeeDiffValueError
from ._gathering import is_distributed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._distributed.group import Floats

LONGEST_TIMEOUT = 1e9
"""Seconds: decades, but small enough for gloo's counter."""
SHORT, LENGTH = 1016, 8
"""Bytes of a message sent with the first exchange, and of the length before it."""


class GlooGroup(Group):
    """The processes of the default process group, with a gloo group for messages."""

    def __init__(self, timeout: float) -> None:
        seconds = arguments.real("timeout", timeout)
        if not 0 < seconds <= LONGEST_TIMEOUT:
            raise SpeeDiffValueError(f"timeout must be in (0, {LONGEST_TIMEOUT:g}], got {timeout!r}")
        self._began_all = not is_distributed()
        limit = timedelta(seconds=seconds)
        with _telling():
            if self._began_all:
                dist.init_process_group("gloo", timeout=limit)
            self._group: Any = dist.new_group(backend="gloo", timeout=limit)
        super().__init__(dist.get_rank(), dist.get_world_size(), "gloo")

    def _gather(self, message: bytes) -> list[bytes]:
        block = len(message).to_bytes(LENGTH, "little") + message[:SHORT].ljust(SHORT, b"\0")
        parts = self._gather_equal(block)
        lengths = [int.from_bytes(part[:LENGTH], "little") for part in parts]
        longest = max(lengths)
        if longest > SHORT:
            parts = self._gather_equal(bytes(LENGTH) + message.ljust(longest, b"\0"))
        return [part[LENGTH : LENGTH + length] for part, length in zip(parts, lengths, strict=True)]

    def _gather_equal(self, block: bytes) -> list[bytes]:
        """Gathers blocks of equal length."""
        own = torch.frombuffer(bytearray(block), dtype=torch.uint8)
        parts = [torch.empty_like(own) for _ in range(self.world_size)]
        with _telling():
            dist.all_gather(parts, own, group=self._group)
        return [part.numpy().tobytes() for part in parts]

    def _sum(self, array: Floats) -> None:
        with _telling():
            dist.all_reduce(torch.from_numpy(array), group=self._group)

    def _leave_with_error(self) -> None:
        """Does nothing: the others see the connection close."""

    def close(self) -> None:
        """Ends the communication, and `torch.distributed` if this group initialized it."""
        group, self._group = self._group, None
        if group is not None and is_distributed():
            dist.destroy_process_group(None if self._began_all else group)


@contextmanager
def _telling() -> Iterator[None]:
    """Explains gloo's errors."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise SpeeDiffGroupError(
            f"all ranks must be running and answer in time, got a gloo error: {_reason(error)}"
        ) from None


def _reason(error: Exception) -> str:
    """The message of gloo without source file and advice."""
    line = str(error).partition("\n")[0].partition(". This is typically")[0]
    return re.sub(r"^\[\S+:\d+\] ", "", line)
