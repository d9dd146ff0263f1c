"""Finds the pictures and classes of a folder, and the reasons for files left out."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from .._support.text_names import one_line
from ..errors import SpeeDiffValueError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    Identity = tuple[int, int]
    """The device and inode of a file or folder."""

HIDDEN = "hidden"
SYSTEM = "of the operating system"
RUN = "written by SpeeDiff"
LOOP = "link to a folder above"
BROKEN = "link to nothing"
SPECIAL = "pipe, socket or device"
UNREADABLE = "format that this Pillow cannot read"
OTHER = "no ending of a picture"
EMPTY = "folder without pictures"

SYSTEM_NAMES = frozenset(
    {
        "__macosx",
        "@eadir",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "thumbs.db",
        "desktop.ini",
    }
)
"""Names in lower case. Some of these folders hold thumbnails of the pictures."""
CHECKPOINT, DESCRIPTIONS, MARK = "run.safetensors", ("run.json", "results.json"), b'"speediff"'
"""A folder is a run or a comparison if it has a checkpoint, or a description with this prefix."""
RUN_PICTURES = re.compile(r"samples(-\d{7,})?\.png|curves\.png")
"""Pictures written by a run, a comparison or `speediff generate`."""
SHOWN = 5
"""The number of names to show."""


@dataclass
class Some:
    """A count with its first names. Keeping all could need a name per picture, of a million."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Adds a name."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(name)

    def note(self, what: str) -> list[str]:
        """One line about the names for a terminal; no line if there are none.

        Args:
            what: Text between the count and the names.
        """
        if self.count == 0:
            return []
        more = f" and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
        return [one_line(f"{self.count} {what}: {', '.join(self.first)}{more}")]


@dataclass
class Found:
    """The content of a folder."""

    classes: dict[str, list[str]]
    """Picture paths by sub-folder; empty without classes."""
    loose: list[str]
    """Paths of pictures without a class."""
    left_out: dict[str, Some]
    """Unused files and folders, by reason."""
    linked: Some
    """Pictures that also exist under another name."""

    @property
    def notes(self) -> list[str]:
        """What is used twice or left out, one line per reason."""
        left_out = [names.note(f"left out ({reason})") for reason, names in self.left_out.items()]
        return list(chain(self.linked.note("used again (link to the same file)"), *left_out))


def find(folder: str, endings: Collection[str], unreadable: Collection[str], out: str | None) -> Found:
    """Searches a folder recursively, in an order that does not depend on the file system.

    Links are followed.

    Args:
        folder: Holds pictures, or one sub-folder of pictures per class.
        endings: Suffixes of readable pictures, in lower case.
        unreadable: Suffixes of pictures that cannot be read.
        out: A folder to exclude; None: none.

    Raises:
        SpeeDiffValueError: If there are no pictures, or a class is empty. Skipping it would shift the labels
            of later classes.
        OSError: If a folder cannot be read.
    """
    search = _Search(folder, endings, unreadable, out)
    found = Found({}, [], search.left_out, search.linked)
    empty = []
    for entry in search.top():
        if not entry.is_dir():
            found.loose.append(entry.path)
            continue
        runs = search.count(RUN)
        pictures = list(search.below(entry))
        if pictures:
            found.classes[entry.name] = pictures
        elif search.count(RUN) == runs:  # A folder that holds only runs is not a class.
            empty.append(entry.name)
    left_out = "".join(f"; {note}" for note in found.notes)
    if not found.loose and not found.classes:
        raise SpeeDiffValueError(f"{folder} must hold pictures, got none{left_out}")
    if found.loose and found.classes:
        raise SpeeDiffValueError(
            f"{folder} must hold pictures or sub-folders of them, got both: "
            f"{search.name(found.loose[0])} and {next(iter(found.classes))}/"
        )
    if found.classes and empty:
        raise SpeeDiffValueError(
            f"{os.path.join(folder, empty[0])} must hold pictures, got none: each sub-folder of {folder} is "
            f"a class; fill it or move it elsewhere{left_out}"
        )
    for name in empty:
        search.leave_out(EMPTY, f"{name}/")
    return found


class _Search:
    """A search through a folder. Records what it leaves out."""

    def __init__(
        self, folder: str, endings: Collection[str], unreadable: Collection[str], out: str | None
    ) -> None:
        self.left_out: dict[str, Some] = {}
        self.linked = Some()
        self._folder, self._endings, self._unreadable = folder, endings, unreadable
        self._root = _identity(os.stat(folder))
        self._out = _identity(os.stat(out)) if out is not None and os.path.isdir(out) else None
        self._seen: dict[Identity, str] = {}

    def name(self, path: str) -> str:
        """A path relative to the folder, for messages."""
        return path[len(os.path.join(self._folder, "")) :]

    def count(self, reason: str) -> int:
        """The number of entries left out for a reason."""
        return self.left_out[reason].count if reason in self.left_out else 0

    def leave_out(self, reason: str, name: str) -> None:
        """Records an unused file or folder."""
        self.left_out.setdefault(reason, Some()).add(name)

    def top(self) -> Iterator[os.DirEntry[str]]:
        """The pictures and folders directly in the folder."""
        above = [self._root]
        return (entry for entry in _listed(self._folder) if self._accepts(entry, above))

    def below(self, folder: os.DirEntry[str]) -> Iterator[str]:
        """Paths of all pictures in and below a folder. Not recursive: folders may be nested very deeply."""
        above, levels = [self._root, _identity(folder.stat())], [_listed(folder.path)]
        while levels:
            entry = next(levels[-1], None)
            if entry is None:
                levels.pop()
                above.pop()
            elif self._accepts(entry, above):
                if entry.is_dir():
                    above.append(_identity(entry.stat()))
                    levels.append(_listed(entry.path))
                else:
                    yield entry.path

    def _accepts(self, entry: os.DirEntry[str], above: Sequence[Identity]) -> bool:
        """Whether this is a picture or a folder to search. Records anything else as left out."""
        is_folder = stat.S_ISDIR(_mode(entry))
        reason = _against_any(entry)
        if reason is None:
            reason = self._against_folder(entry, above) if is_folder else self._against_file(entry, above)
        if reason is not None:
            self.leave_out(reason, self.name(entry.path) + "/" * is_folder)
        elif not is_folder:
            self._note_link(entry)
        return reason is None

    def _against_folder(self, entry: os.DirEntry[str], above: Sequence[Identity]) -> str | None:
        identity = _identity(entry.stat())
        if identity == self._out or _is_run(entry.path):
            return RUN
        return LOOP if identity in above else None

    def _against_file(self, entry: os.DirEntry[str], above: Sequence[Identity]) -> str | None:
        ending = os.path.splitext(entry.name)[1].lower()
        if ending in self._unreadable:
            return UNREADABLE
        if ending not in self._endings:
            return OTHER
        if len(above) == 1 and RUN_PICTURES.fullmatch(entry.name):
            return RUN
        mode = _mode(entry)
        if mode == 0:
            return BROKEN
        return None if stat.S_ISREG(mode) else SPECIAL

    def _note_link(self, entry: os.DirEntry[str]) -> None:
        name = self.name(entry.path)
        first = self._seen.setdefault(_identity(entry.stat()), name)
        if first != name:
            self.linked.add(f"{name} is {first}")


def _against_any(entry: os.DirEntry[str]) -> str | None:
    if entry.name.startswith("."):
        return HIDDEN
    return SYSTEM if entry.name.lower() in SYSTEM_NAMES else None


def _mode(entry: os.DirEntry[str]) -> int:
    """The mode of an entry or its link's target, as from os.stat; 0 for a broken link."""
    try:
        return entry.stat().st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return 0
        raise


def _is_run(folder: str) -> bool:
    if os.path.lexists(os.path.join(folder, CHECKPOINT)):
        return True
    paths = (os.path.join(folder, name) for name in DESCRIPTIONS)
    return any(os.path.isfile(path) and _begins_with_mark(path) for path in paths)


def _begins_with_mark(path: str) -> bool:
    with open(path, "rb") as file:
        return MARK in file.read(64)


def _listed(folder: str) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder, sorted by name."""
    with os.scandir(folder) as entries:
        return iter(sorted(entries, key=lambda entry: entry.name))


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino
