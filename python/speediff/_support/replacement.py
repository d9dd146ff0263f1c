"""Atomic file replacement: at every moment the path holds the whole old file or the whole new one.

    replace_text(folder / "run.json", text)
    replace(folder / "images.npy", lambda file: np.save(file, images))

The commands write all files this way, and `FileReplacement.swift` does the same for checkpoints. A temporary
file `.NAME.speediff-PID-N.tmp` in the same folder is locked, written, flushed to the device and renamed. Then
the folder is flushed, so the guarantee survives a power cut. Symbolic links stay and lead to the new file. It
keeps the mode of the old one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import re
import stat
from typing import TYPE_CHECKING, BinaryIO

from ..errors import SpeeDiffFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY
NEW_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
CANNOT_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
"""Errors of file systems that cannot flush a folder."""
PREFIX_BYTES = 200
"""The maximum bytes of NAME in a temporary file's name: a file name has at most 255 bytes."""
MOST_LINKS = 40


def replace(path: Path, write: Callable[[BinaryIO], object], *, is_one_of_many: bool = False) -> None:
    """Writes a file, replacing an existing one.

    Args:
        path: The file. May be a symbolic link, even a broken one.
        write: Writes the content. If it raises, the old file stays.
        is_one_of_many: Skip the search for stale temporary files of killed writers.

    Raises:
        OSError: If the file cannot be written. The error names it, and the old file stays.
    """
    with _naming(path), _Target(path) as target:
        if not is_one_of_many:
            target.remove_stale()
        target.replace(write)


def replace_bytes(path: Path, content: bytes | memoryview, *, is_one_of_many: bool = False) -> None:
    """`replace` with these bytes."""
    replace(path, lambda file: file.write(content), is_one_of_many=is_one_of_many)


def replace_text(path: Path, text: str) -> None:
    """`replace` with this text, in UTF-8.

    Surrogates, which stand for non-UTF-8 bytes of file names, become escapes that JSON reads back.
    """
    replace_bytes(path, text.encode("utf-8", "backslashreplace"))


def check(path: Path) -> None:
    """Raises OSError if `replace` would, as far as can be checked in advance. Writes nothing."""
    with _naming(path), _Target(path) as target:
        target.remove_stale()
        target.try_out()


class _Target:
    """The folder and the name of a path, links resolved."""

    def __init__(self, path: Path) -> None:
        resolved = _followed(os.fspath(path))
        folder, self._name = os.path.split(resolved)
        if self._name in ("", ".", ".."):
            raise SpeeDiffFileError(f"{path} must be a regular file, got a directory")
        self._folder = os.open(folder or ".", FOLDER_FLAGS)
        try:
            self._mode = self._earlier_mode(path)
        except BaseException:
            os.close(self._folder)
            raise

    def __enter__(self) -> _Target:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._folder)

    def _earlier_mode(self, path: Path) -> int | None:
        """The permissions of the existing file; None without one."""
        try:
            mode = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "a FIFO, a socket or a device"
            raise SpeeDiffFileError(f"{path} must be a regular file, got {kind}")
        effective = os.access in os.supports_effective_ids
        if not os.access(self._name, os.W_OK, dir_fd=self._folder, effective_ids=effective):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return mode & 0o777

    def replace(self, write: Callable[[BinaryIO], object]) -> None:
        """Writes the file and renames it into place."""
        with self._temporary() as (file, temporary):
            write(file)
            file.flush()
            if self._mode is not None:
                os.fchmod(file.fileno(), self._mode)
            os.fsync(file.fileno())
            os.replace(temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        flush_folder(self._folder)

    def try_out(self) -> None:
        """Creates a temporary file and removes it."""
        with self._temporary() as (_, temporary):
            os.unlink(temporary, dir_fd=self._folder)

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[tuple[BinaryIO, str]]:
        """A new, locked temporary file; removed on error."""
        number, temporary = self._new()
        with open(number, "w+b") as file:
            try:
                yield file, temporary
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=self._folder)
                raise

    def _new(self) -> tuple[int, str]:
        """Creates and locks a temporary file; returns its descriptor and name."""
        # Create it private: nobody may read the content before the final mode is set.
        permissions = 0o666 if self._mode is None else 0o600
        for attempt in itertools.count():
            name = f"{self._prefix}{os.getpid()}-{attempt}.tmp"
            with contextlib.suppress(FileExistsError):
                number = os.open(name, NEW_FLAGS, permissions, dir_fd=self._folder)
                # Between these two calls another writer may consider it stale and remove it.
                if _is_free(number) and self._is_there(name, number):
                    return number, name
                os.close(number)
        raise AssertionError("numbers end")

    def _is_there(self, name: str, number: int) -> bool:
        """Whether the name in the folder still refers to the open file."""
        try:
            entry = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(entry, os.fstat(number))

    def remove_stale(self) -> None:
        """Removes temporary files of killed writers, whose locks are gone."""
        pattern = re.compile(re.escape(self._prefix) + r"[0-9]+-[0-9]+\.tmp")
        for name in filter(pattern.fullmatch, os.listdir(self._folder)):
            # Without locks stale files cannot be recognized, so they stay.
            with contextlib.suppress(OSError), self._opened(name) as number:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if stat.S_ISREG(os.fstat(number).st_mode) and self._is_there(name, number):
                    os.unlink(name, dir_fd=self._folder)

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        number = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._folder)
        try:
            yield number
        finally:
            os.close(number)

    @property
    def _prefix(self) -> str:
        """The prefix of temporary files for this name, truncated between characters."""
        start = self._name
        while len(os.fsencode(start)) > PREFIX_BYTES:
            start = start[:-1]
        return f".{start}.speediff-"


def flush_folder(folder: int) -> None:
    """Flushes the names in an open folder to the device, if the file system supports it."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH:
            raise


def _is_free(number: int) -> bool:
    """Locks a file, if the file system has locks; False if another process holds the lock."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _followed(path: str) -> str:
    """The target of symbolic links, which need not exist."""
    for _ in range(MOST_LINKS):
        try:
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        except OSError:  # Not a link.
            return path
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Makes OS errors name the target file instead of the temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
