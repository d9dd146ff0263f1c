"""Output folders: creating them, and locking them for one command at a time."""

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
"""The lock file of a folder. Its text names the process that holds the lock. It is removed at the end."""
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EBADF)
"""Errors of file systems without locks, such as Lustre mounted without `-o flock`."""


class NewFolder:
    """A folder, created with its missing parents. It is removed on exit if it is still empty."""

    def __init__(self, path: Path) -> None:
        """Creates the folder and flushes its name to the device.

        Raises:
            SpeeDiffValueError: If a file has this name.
            OSError: If the folder cannot be created; the error names it.
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
        """Removes the created folders that are empty, innermost first."""
        with contextlib.suppress(OSError):
            while self._made:
                self._made[-1].rmdir()
                self._made.pop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove_empty()


class TakenFolder(NewFolder):
    """A folder locked against other commands.

    The lock is `flock` on a file in the folder, so the kernel releases it however the process ends. It works
    across machines if the file system's locks do. NFS has such locks, unless it is mounted with `nolock` or
    `local_lock`. Without locks, a warning is printed and the folder is used anyway.
    """

    def __init__(self, path: Path) -> None:
        """Creates and locks the folder.

        Raises:
            SpeeDiffBusyError: If another command holds the lock; the error names it.
            SpeeDiffValueError: If a file has this name, or the name is not UTF-8.
            OSError: If the folder cannot be written to.
        """
        try:
            str(path).encode()
        except UnicodeEncodeError:  # The library requires UTF-8 paths and would reject the first checkpoint.
            raise SpeeDiffValueError(f"--out must be a UTF-8 name, got {str(path)!r}") from None
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
                # The previous holder may have removed the file meanwhile. Then this lock protects nothing.
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
                "end that process, or choose another --out"
            ) from None
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            messages.warn(
                f"the file system of {self.path} has no locks ({error.strerror}): "
                "make sure that no other command writes to this folder"
            )

    def __exit__(self, *_: object) -> None:
        # Unlink before releasing the lock: nobody else can lock this file until then.
        with contextlib.suppress(OSError):
            os.unlink(self.path / LOCK)
        os.close(self._file)
        self.remove_empty()


def _sign(number: int) -> None:
    """Writes this process's name into the lock file; skipped on a full disk."""
    with contextlib.suppress(OSError):
        os.ftruncate(number, 0)
        os.pwrite(number, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)


def _flush(folder: Path) -> None:
    try:
        number = os.open(folder, replacement.FOLDER_FLAGS)
    except PermissionError:  # The folder may be writable but not readable.
        return
    try:
        replacement.flush_folder(number)
    finally:
        os.close(number)
