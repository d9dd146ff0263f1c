"""Unified diffs, as far as the migration patches need them.

GNU patch and `git apply` begin their search at the line that a hunk's header names, and go by the hunk's own
lines. The stand-ins are shorter than the files that the patches are for, so only these lines count here:
context and what is taken away, together, must occur exactly once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Hunk:
    """A place of a file: the lines before and after."""

    path: str
    starts: tuple[int, int]
    counts: tuple[int, int]
    kinds: str = ""
    """The first character of each line: a space, + or -."""
    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)

    @property
    def context(self) -> tuple[int, int]:
        """How many lines of context begin and end it."""
        return tuple(len(kinds) - len(kinds.lstrip()) for kinds in (self.kinds, self.kinds[::-1]))


def read_patch(patch: Path) -> tuple[str, list[Hunk]]:
    """The header before the first file, and the hunks."""
    header, hunks, path = [], [], None
    for line in patch.read_text().splitlines():
        if line.startswith("+++ b/"):
            path = line.removeprefix("+++ b/")
        elif line.startswith("--- "):
            path = ""
        elif path is None:
            header.append(line)
        elif match := re.fullmatch(r"@@ -(\d+),(\d+) \+(\d+),(\d+) @@.*", line):
            old_start, old_count, new_start, new_count = map(int, match.groups())
            hunks.append(Hunk(path, (old_start, new_start), (old_count, new_count)))
        else:
            kind, text = line[0], line[1:]
            assert kind in "+- ", line
            hunks[-1].kinds += kind
            if kind in "- ":
                hunks[-1].old.append(text)
            if kind in "+ ":
                hunks[-1].new.append(text)
            if kind == "+":
                hunks[-1].added.append(text)
    return "\n".join(header), hunks


def apply_patch(patch: Path, root: Path) -> None:
    """Changes the files below `root`."""
    for hunk in read_patch(patch)[1]:
        file = root / hunk.path
        lines = file.read_text().splitlines()
        size = len(hunk.old)
        places = [i for i in range(len(lines) - size + 1) if lines[i : i + size] == hunk.old]
        assert len(places) == 1, f"{hunk.path}: {len(places)} places for {hunk.old}"
        lines[places[0] : places[0] + size] = hunk.new
        file.write_text("\n".join(lines) + "\n")
