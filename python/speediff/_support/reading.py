"""Reading user files: turns any library's exception into a SpeeDiff error that names the file."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Any

from .._native import memory
from ..errors import SpeeDiffError, SpeeDiffMemoryError, SpeeDiffValueError

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 1 << 20
LONGEST = 200
"""The maximum length of a quoted library message. NumPy quotes whole headers."""
BY_DAMAGE = (None, errno.EINVAL, errno.EOVERFLOW)
"""errno values that blame the file's content: libraries set none; a seek beyond the end sets EINVAL."""


@contextlib.contextmanager
def reading(path: object, what: str) -> Iterator[None]:
    """A context for all code that reads one file.

    Args:
        path: The file.
        what: What the file must be, such as "a whole gzip file"; ends the sentence "FILE must be".

    Raises:
        SpeeDiffValueError: If the block raises. Decoders raise arbitrary exceptions on damaged files.
        SpeeDiffMemoryError: If memory runs out.
        OSError: If the system cannot read the file; the error names it.
    """
    try:
        yield
    except SpeeDiffError:
        raise
    except MemoryError as error:
        raise SpeeDiffMemoryError(f"{path} needs more memory than is available: {_words(error)}") from None
    except OSError as error:
        if error.errno not in BY_DAMAGE:
            error.filename = error.filename or str(path)
            raise
        raise SpeeDiffValueError(f"{path} must be {what}: {_words(error)}") from None
    except Exception as error:
        raise SpeeDiffValueError(f"{path} must be {what}: {_words(error)}") from None


def _words(error: Exception) -> str:
    """The error's message on one line."""
    text = f"no {error}" if isinstance(error, KeyError) else str(error)
    line = " ".join(text.split()) or type(error).__name__
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def irregular(path: object) -> str | None:
    """What a path is other than a regular file; None for one. Reading a pipe could block."""
    mode = os.stat(str(path)).st_mode
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"


def check_regular(path: object) -> None:
    """Raises unless the path is a regular file."""
    if kind := irregular(path):
        raise SpeeDiffValueError(f"{path} must be a file, got {kind}")


def check_memory(path: object, size: int) -> None:
    """Raises if `size` bytes exceed what this process may use. A small archive can declare any size."""
    limit = memory.limit()
    if size > limit:
        raise SpeeDiffMemoryError(
            f"{path} must fit into memory: it holds {size / 2**30:.1f} GiB, this process may use "
            f"{limit / 2**30:.1f} GiB"
        )


def read_up_to(file: Any, count: int) -> bytearray:
    """Reads at most `count` bytes, in pieces: a damaged header may declare more than fits into memory."""
    content = bytearray()
    while piece := file.read(min(PIECE, count - len(content))):
        content += piece
    return content
