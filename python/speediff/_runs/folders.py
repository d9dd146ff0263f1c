"""Folders that are made for what is to be written, and taken by one command at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from typing import TYPE_CHECKING

from .._support import messages, replacement
from ..errors import SpeeDiffBusyError, SpeeDiffValueError

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

LOCK = "run.lock"
"""The file whose lock says that a folder is taken, and whose text says by whom. It is removed in the end."""
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EBADF)
"""What file systems answer that have no locks, such as Lustre unless it is mounted with `-o flock`."""


class NewFolder:
    """A folder, made with all above it where they are missing. Left empty it is removed again."""

    def __init__(self, path: Path) -> None:
        """Makes it, and waits until its name is on the device.

        Raises:
            SpeeDiffValueError: If there is a file of this name.
            OSError: If it cannot be made; it names the folder.
        """
        self.path = path
        self._made: list[Path] = []
        try:
            self._make(path)
        except FileExistsError:
            self.remove_empty()
            raise SpeeDiffValueError(f"--out must be a folder, got the file {str(path)!r}") from None
        except BaseException:
            self.remove_empty()
            raise

    def _make(self, path: Path) -> None:
        if not path.parent.exists():
            self._make(path.parent)
        try:
            path.mkdir()
        except FileExistsError:
            if not path.is_dir():
                raise
            return
        self._made.append(path)
        _flush(path.parent)

    def remove_empty(self) -> None:
        """Removes what was made and holds nothing, the innermost first."""
        with contextlib.suppress(OSError):
            while self._made:
                self._made[-1].rmdir()
                self._made.pop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove_empty()


class TakenFolder(NewFolder):
    """A folder that no other command writes to as long as this one lives.

    It is a lock of `flock` on a file in the folder: it ends with the process, however that ends. Between
    machines it holds where the file system's locks do: NFS has them, unless it is mounted with `nolock` or
    `local_lock`. Where there are none a warning says so, and the folder is used all the same.
    """

    def __init__(self, path: Path) -> None:
        """Makes and takes it.

        Raises:
            SpeeDiffBusyError: If another command has it; it says which.
            SpeeDiffValueError: If there is a file of this name, or the name is not UTF-8.
            OSError: If nothing can be written to it.
        """
        try:
            str(path).encode()
        except UnicodeEncodeError:  # The library's paths are UTF-8, and would refuse the first checkpoint.
            raise SpeeDiffValueError(f"--out must be a name in UTF-8, got {str(path)!r}") from None
        super().__init__(path)
        try:
            self._file = self._locked()
        except BaseException:
            self.remove_empty()
            raise

    def _locked(self) -> int:
        lock = self.path / LOCK
        while True:
            number = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            try:
                self._lock(number)
                # The one who had it may have removed the file meanwhile: then this lock is nobody's.
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.stat(lock), os.fstat(number)):
                        _sign(number)
                        return number
            except BaseException:
                os.close(number)
                raise
            os.close(number)

    def _lock(self, number: int) -> None:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = os.pread(number, 400, 0).decode(errors="replace").strip() or "another process"
            raise SpeeDiffBusyError(
                f"{self.path} must not be used by two commands at once, and {who} is using it; wait, "
                "end that process, or take another --out"
            ) from None
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            messages.warn(
                f"the file system of {self.path} has no locks ({error.strerror}): "
                "let no other command write to this folder meanwhile"
            )

    def __exit__(self, *_: object) -> None:
        # As long as it is locked nobody else takes this file.
        with contextlib.suppress(OSError):
            os.unlink(self.path / LOCK)
        os.close(self._file)
        self.remove_empty()


def _sign(number: int) -> None:
    """Writes into the file who has it. On a full disk nobody learns it."""
    with contextlib.suppress(OSError):
        os.ftruncate(number, 0)
        os.pwrite(number, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)


def _flush(folder: Path) -> None:
    try:
        number = os.open(folder, replacement.FOLDER_FLAGS)
    except PermissionError:  # Names may be made in it, but not listed.
        return
    try:
        replacement.flush_folder(number)
    finally:
        os.close(number)
