"""Files that are replaced as a whole: at every moment there is the old one or the new one.

    replace_text(folder / "run.json", text)
    replace(folder / "images.npy", lambda file: np.save(file, images))

All files of the commands are written this way. `FileReplacement.swift` does the same for checkpoints: a
temporary file `.NAME.speediff-PID-N.tmp` in the same folder is locked, written, flushed to the device and
renamed; then the folder is flushed. So it holds after a power cut, too. Symbolic links stay, and lead to the
new file. Its mode is that of the old one.
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
"""What file systems answer that cannot flush a folder."""
PREFIX_BYTES = 200
"""Of a temporary file's name: a name has 255 bytes at most."""
MOST_LINKS = 40


def replace(path: Path, write: Callable[[BinaryIO], object], *, is_one_of_many: bool = False) -> None:
    """Writes a file, or puts it in the place of the one that is there.

    Args:
        path: May be a symbolic link, also one that leads nowhere yet.
        write: Writes the content. Whatever it raises leaves the old file.
        is_one_of_many: Does not look through the folder for temporary files that a killed writer left.

    Raises:
        OSError: If the file cannot be written; it names the file, and the old one stays.
    """
    with _naming(path), _Target(path) as target:
        if not is_one_of_many:
            target.remove_stale()
        target.replace(write)


def replace_bytes(path: Path, content: bytes | memoryview, *, is_one_of_many: bool = False) -> None:
    """`replace` by these bytes."""
    replace(path, lambda file: file.write(content), is_one_of_many=is_one_of_many)


def replace_text(path: Path, text: str) -> None:
    """`replace` by this text, in UTF-8.

    What UTF-8 lacks, bytes of file names that are no UTF-8, becomes an escape that JSON reads back.
    """
    replace_bytes(path, text.encode("utf-8", "backslashreplace"))


def check(path: Path) -> None:
    """Raises OSError if `replace` would, as far as can be told beforehand. Leaves nothing behind."""
    with _naming(path), _Target(path) as target:
        target.remove_stale()
        target.try_out()


class _Target:
    """The folder and the name that a path leads to."""

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
        """The permissions of the file that is there; None where there is none."""
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
        """Does it."""
        with self._temporary() as (file, temporary):
            write(file)
            file.flush()
            if self._mode is not None:
                os.fchmod(file.fileno(), self._mode)
            os.fsync(file.fileno())
            os.replace(temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        flush_folder(self._folder)

    def try_out(self) -> None:
        """Makes a temporary file, and removes it."""
        with self._temporary() as (_, temporary):
            os.unlink(temporary, dir_fd=self._folder)

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[tuple[BinaryIO, str]]:
        """A new file of a name that no other has, locked; it is removed after an error."""
        number, temporary = self._new()
        with open(number, "w+b") as file:
            try:
                yield file, temporary
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=self._folder)
                raise

    def _new(self) -> tuple[int, str]:
        """Makes and locks a temporary file: its descriptor and its name."""
        # Nobody reads what is to be a private file before it has its mode.
        permissions = 0o666 if self._mode is None else 0o600
        for attempt in itertools.count():
            name = f"{self._prefix}{os.getpid()}-{attempt}.tmp"
            with contextlib.suppress(FileExistsError):
                number = os.open(name, NEW_FLAGS, permissions, dir_fd=self._folder)
                # Between these two calls another writer may have taken it for a stale one, and removes it.
                if _is_free(number) and self._is_there(name, number):
                    return number, name
                os.close(number)
        raise AssertionError("numbers end")

    def _is_there(self, name: str, number: int) -> bool:
        """Whether an open file still has its name in the folder."""
        try:
            entry = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(entry, os.fstat(number))

    def remove_stale(self) -> None:
        """Removes the temporary files of writers that were killed: no lock is on them any more."""
        pattern = re.compile(re.escape(self._prefix) + r"[0-9]+-[0-9]+\.tmp")
        for name in filter(pattern.fullmatch, os.listdir(self._folder)):
            # Without locks nobody can tell, and they stay.
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
        """What temporary files of this name start with; cut between letters."""
        start = self._name
        while len(os.fsencode(start)) > PREFIX_BYTES:
            start = start[:-1]
        return f".{start}.speediff-"


def flush_folder(folder: int) -> None:
    """Waits until the names in an open folder are on the device, where the file system can say so."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH:
            raise


def _is_free(number: int) -> bool:
    """Locks a file, where the file system has locks; False if another process has locked it."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _followed(path: str) -> str:
    """Where symbolic links lead to, whether or not there is a file."""
    for _ in range(MOST_LINKS):
        try:
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        except OSError:  # No link.
            return path
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Has an error of the system name the file that was to be written, not the temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
