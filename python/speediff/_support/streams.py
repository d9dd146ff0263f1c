"""stdout and stderr whose failures never stop the work: text that cannot be written is dropped.

A log may be closed, on a full disk, or a pipe whose reader died from the same Ctrl-C. Messages do not block
on a pager that nobody scrolls or on a stopped terminal.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

STDERR = 2
PATIENCE = 0.5
"""Seconds that a message waits for a slow reader."""
LOST = (OSError, ValueError)
"""Errors of writing to a broken stream and to a closed one."""


class Stream:
    """A text stream whose writes do not raise."""

    def __init__(self, stream: Any, *, patience: float | None = None) -> None:
        """Wraps a stream.

        Args:
            stream: The stream; None: the process was started without it.
            patience: Seconds to wait for a full pipe or terminal before dropping text; None: no limit.
        """
        self._patience = patience
        self._is_behind = False
        self.error: OSError | None = None
        """The first error that a write would have raised."""
        if stream is None:
            # It stays open for the life of the process, like other standard streams.
            stream = open(os.devnull, "w")  # noqa: SIM115
            self.error = _closed()
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes the text if possible."""
        if self._patience is not None:
            # Do not wait twice for the same reader.
            self._is_behind = not _takes(self._stream, 0.0 if self._is_behind else self._patience)
        if not self._is_behind:
            with self._noting():
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes buffered text if possible."""
        with self._noting():
            self._stream.flush()

    def finish(self) -> None:
        """Drops text that could not be written. Otherwise Python retries at exit and exits with 120."""
        try:
            self._stream.flush()
        except LOST:
            with contextlib.suppress(*LOST), open(os.devnull, "w") as nothing:
                os.dup2(nothing.fileno(), self._stream.fileno())
                self._stream.flush()

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except UnicodeError:
            raise  # The text is invalid, not the stream.
        except LOST as error:
            self.error = self.error or (error if isinstance(error, OSError) else _closed())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def unfailing() -> Iterator[Stream]:
    """Replaces `sys.stdout` and `sys.stderr` by such streams within its block; yields the former."""
    _open_missing()
    before = sys.stdout, sys.stderr
    out, err = Stream(before[0]), Stream(before[1], patience=PATIENCE)
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        sys.stdout, sys.stderr = before
        out.finish()
        err.finish()


def tell_at_once(line: str) -> None:
    """Writes a line to stderr from a signal handler, which may have interrupted another write."""
    with contextlib.suppress(OSError):
        if select.select([], [STDERR], [], 0)[1]:
            os.write(STDERR, f"{line}\n".encode())


def _takes(stream: Any, patience: float) -> bool:
    """Whether a stream accepts a line, or fails, within `patience` seconds."""
    try:
        return bool(select.select([], [stream], [], patience)[1])
    except (*LOST, TypeError):  # Not an operating-system stream, or a broken one.
        return True


def _open_missing() -> None:
    """Opens closed standard streams: otherwise a checkpoint file could get stderr's descriptor."""
    for number in range(STDERR + 1):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # Opens the lowest free descriptor, which is this one.


def _closed() -> OSError:
    return OSError(errno.EBADF, os.strerror(errno.EBADF))
