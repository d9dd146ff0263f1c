"""Reading a user's file: what a library raises on the way becomes an error of ours that names the file."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Any

from ..errors import SpeeDiffError, SpeeDiffMemoryError, SpeeDiffValueError

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 1 << 20
LONGEST = 200
"""Characters of a library's own words: NumPy quotes whole headers."""
BY_DAMAGE = (None, errno.EINVAL, errno.EOVERFLOW)
"""Numbers of an OSError that the content is to blame for: libraries set none, seeking too far does."""


@contextlib.contextmanager
def reading(path: object, what: str) -> Iterator[None]:
    """Stands around all that reads one file.

    Args:
        path: The file.
        what: What it must be, to end the sentence "FILE must be": "a whole gzip file".

    Raises:
        SpeeDiffValueError: If whatever reads the file raises. Decoders raise any exception on damaged files.
        SpeeDiffMemoryError: If the memory does not suffice.
        OSError: If the system does not let it be read; it has the file's name.
    """
    try:
        yield
    except SpeeDiffError:
        raise
    except MemoryError as error:
        raise SpeeDiffMemoryError(f"{path} needs more memory than there is: {_words(error)}") from None
    except OSError as error:
        if error.errno not in BY_DAMAGE:
            error.filename = error.filename or str(path)
            raise
        raise SpeeDiffValueError(f"{path} must be {what}: {_words(error)}") from None
    except Exception as error:
        raise SpeeDiffValueError(f"{path} must be {what}: {_words(error)}") from None


def _words(error: Exception) -> str:
    """The error's own words, in one line."""
    text = f"no {error}" if isinstance(error, KeyError) else str(error)
    line = " ".join(text.split()) or type(error).__name__
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def check_regular(path: object) -> None:
    """Raises unless the path is a file with an end: a pipe would be waited for."""
    mode = os.stat(str(path)).st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        raise SpeeDiffValueError(f"{path} must be a file, got {kind}")


def check_memory(path: object, size: int) -> None:
    """Raises if so many bytes are more than the machine has. A small archive can promise any number."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory:
        raise SpeeDiffMemoryError(
            f"{path} must fit into memory: it holds {size / 2**30:.1f} GiB, the machine has "
            f"{memory / 2**30:.1f} GiB"
        )


def read_up_to(file: Any, count: int) -> bytearray:
    """At most so many bytes, read in pieces: a damaged header may promise more than there is memory."""
    content = bytearray()
    while piece := file.read(min(PIECE, count - len(content))):
        content += piece
    return content
