"""Names of files and classes: in text that every program reads, and on the command line.

Names of files are bytes. Python keeps those that are no UTF-8 as lone surrogates, which no encoding writes.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any

from ..errors import SpeeDiffValueError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

ITEM = re.compile(r'\s*(?:"(?P<quoted>(?:[^"]|"")*)"\s*|(?P<bare>[^,]*))(?:,|$)')


def printable(name: str) -> str:
    r"""The name of a file, with what is no UTF-8 written as \xe9."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def one_line(text: str) -> str:
    """Text with names in it, for a terminal: what cannot be printed is escaped."""
    letters = printable(text)
    return "".join(x if x.isprintable() else x.encode("unicode_escape").decode() for x in letters)


def to_json(value: Any) -> str:
    """JSON for people to read, in UTF-8. What is no UTF-8 is escaped, and comes back as it was."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda letter: f"\\u{ord(letter[0]):04x}", text) + "\n"


def split(argument: str, text: str) -> list[str]:
    """The names in a list with commas. A name within double quotes may have commas and outer blanks.

    A quote within such a name is written twice, as in CSV.

    Raises:
        SpeeDiffValueError: If a quote is not closed, or is followed by more than a comma.
    """
    names, place = [], 0
    while place <= len(text):
        item = ITEM.match(text, place)
        if item is None or (item["bare"] or "").startswith('"'):
            raise SpeeDiffValueError(
                f"{argument} must close each quote before a comma, and double those within, got {text!r}"
            )
        quoted = item["quoted"]
        names.append(item["bare"].strip() if quoted is None else quoted.replace('""', '"'))
        place = item.end() if item[0].endswith(",") else len(text) + 1
    return names


def find(argument: str, name: str, known: Sequence[str]) -> int:
    """Which of the known names this is. "é" is the same as "e" with an accent of its own.

    Raises:
        SpeeDiffValueError: If it is none of them, or could be several.
    """
    name = printable(name)
    exact = [index for index, other in enumerate(known) if other == name]
    same = exact or [index for index, other in enumerate(known) if _normal(other) == _normal(name)]
    if len(same) > 1:
        numbers = ", ".join(map(str, same))
        raise SpeeDiffValueError(
            f"{argument} must be one class, got {name!r}, which is any of labels {numbers}"
        )
    if not same:
        raise unknown_name(argument, name, known)
    return same[0]


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)
