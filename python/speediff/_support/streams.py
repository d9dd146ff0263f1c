"""Standard output and error that never end the work: what cannot be written is lost.

A log may be closed, on a full disk, or a pipe whose reader has died of the same Ctrl-C. No message waits for
a pager that nobody scrolls, or for a stopped terminal.
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
"""Seconds that a message waits for a reader that has fallen behind."""
LOST = (OSError, ValueError)
"""What writing raises: to a broken stream, and to one that the program closed."""


class Stream:
    """A text stream whose writes do not raise."""

    def __init__(self, stream: Any, *, patience: float | None = None) -> None:
        """Takes the stream.

        Args:
            stream: None: this process was started without it.
            patience: Seconds after which a text is lost that a full pipe or terminal does not take; None: it
                waits.
        """
        self._patience = patience
        self._is_behind = False
        self.error: OSError | None = None
        """The first error that a write would have raised."""
        if stream is None:
            # It stays open as long as the process lives, as other standard streams do.
            stream = open(os.devnull, "w")  # noqa: SIM115
            self.error = _closed()
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes the text, if it can be written."""
        if self._patience is not None:
            # Who waited once for the same reader does not wait again.
            self._is_behind = not _takes(self._stream, 0.0 if self._is_behind else self._patience)
        if not self._is_behind:
            with self._noting():
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Writes what is still held back, if it can be written."""
        with self._noting():
            self._stream.flush()

    def finish(self) -> None:
        """Drops what Python could not write: at its end it would try again, and exit with 120."""
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
            raise  # The text is at fault.
        except LOST as error:
            self.error = self.error or (error if isinstance(error, OSError) else _closed())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def unfailing() -> Iterator[Stream]:
    """Makes `sys.stdout` and `sys.stderr` such streams within its block, and gives the former."""
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
    """Writes a line to stderr from a signal's handler, which may have interrupted any other write."""
    with contextlib.suppress(OSError):
        if select.select([], [STDERR], [], 0)[1]:
            os.write(STDERR, f"{line}\n".encode())


def _takes(stream: Any, patience: float) -> bool:
    """Whether a line can be written to a stream within some seconds, or raises."""
    try:
        return bool(select.select([], [stream], [], patience)[1])
    except (*LOST, TypeError):  # It is no stream of the system, or a broken one.
        return True


def _open_missing() -> None:
    """Opens what is closed of the standard streams: else a checkpoint could become the standard error."""
    for number in range(STDERR + 1):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # The lowest number that is free, which is this one.


def _closed() -> OSError:
    return OSError(errno.EBADF, os.strerror(errno.EBADF))
