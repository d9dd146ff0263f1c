"""Which files of a folder are its pictures, in which classes, and why the others are not."""

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
    """Of a file or folder, by whatever name: its device and its number there."""

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
"""In lower case. Some of these folders hold smaller copies of the pictures."""
CHECKPOINT, DESCRIPTIONS, MARK = "run.safetensors", ("run.json", "results.json"), b'"speediff"'
"""A folder with a checkpoint, or a description that begins with this mark, is a run or a comparison."""
RUN_PICTURES = re.compile(r"samples(-\d{7,})?\.png|curves\.png")
"""Pictures that a run, a comparison or `speediff generate` leaves in its folder."""
SHOWN = 5
"""How many names stand for all of them."""


@dataclass
class Some:
    """Names of which only the first are kept: there may be a caption for each of a million pictures."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Counts one more."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(name)

    def note(self, what: str) -> list[str]:
        """A line about all of them, for a terminal, if there are any.

        Args:
            what: Stands between their number and their names.
        """
        if self.count == 0:
            return []
        more = f" and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
        return [one_line(f"{self.count} {what}: {', '.join(self.first)}{more}")]


@dataclass
class Found:
    """What there is in a folder."""

    classes: dict[str, list[str]]
    """The paths of each sub-folder's pictures, by its name; empty if the pictures have no classes."""
    loose: list[str]
    """The paths of pictures without a class."""
    left_out: dict[str, Some]
    """Files and folders that are not used, by the reason."""
    linked: Some
    """Pictures that are there under another name as well."""

    @property
    def notes(self) -> list[str]:
        """What is used twice and what was left out, a line for each reason."""
        left_out = [names.note(f"left out ({reason})") for reason, names in self.left_out.items()]
        return list(chain(self.linked.note("used again (link to the same file)"), *left_out))


def find(folder: str, endings: Collection[str], unreadable: Collection[str], out: str | None) -> Found:
    """Goes through a folder and all that is below it, in an order that no file system decides.

    Links are followed.

    Args:
        folder: Holds pictures, or sub-folders of them: the classes.
        endings: Of pictures, in lower case.
        unreadable: Endings of pictures that cannot be read.
        out: A folder below whose content is not to be used; None: there is none.

    Raises:
        SpeeDiffValueError: If there is no picture, or a class has none: without it, the classes that follow
            would get other labels.
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
        elif search.count(RUN) == runs:  # A folder of runs alone is no class.
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
    """A way through a folder, and what was left out on it."""

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
        """What to call a path below the folder."""
        return path[len(os.path.join(self._folder, "")) :]

    def count(self, reason: str) -> int:
        """How many were left out for a reason."""
        return self.left_out[reason].count if reason in self.left_out else 0

    def leave_out(self, reason: str, name: str) -> None:
        """Notes a file or folder that is not used."""
        self.left_out.setdefault(reason, Some()).add(name)

    def top(self) -> Iterator[os.DirEntry[str]]:
        """The pictures and folders right in the folder."""
        above = [self._root]
        return (entry for entry in _listed(self._folder) if self._accepts(entry, above))

    def below(self, folder: os.DirEntry[str]) -> Iterator[str]:
        """The paths of all pictures in a folder and below. Folders may be nested deeper than calls can be."""
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
        """Whether this is a picture, or a folder to go into; what is neither, is left out."""
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
    """What an entry is or leads to, as os.stat tells; 0 where it leads to nothing."""
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
    """What is in a folder, sorted by name."""
    with os.scandir(folder) as entries:
        return iter(sorted(entries, key=lambda entry: entry.name))


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino
