"""Names of files and classes, in portable text and on the command line.

File names are bytes. Python keeps non-UTF-8 bytes as lone surrogates, which no encoding can write.
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
    r"""A file name with non-UTF-8 bytes escaped, as in \xe9."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def one_line(text: str) -> str:
    """Text for a terminal, with unprintable characters escaped."""
    letters = printable(text)
    return "".join(x if x.isprintable() else x.encode("unicode_escape").decode() for x in letters)


def to_json(value: Any) -> str:
    """Indented JSON in UTF-8. Surrogates are escaped and survive a round trip."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda letter: f"\\u{ord(letter[0]):04x}", text) + "\n"


def split(argument: str, text: str) -> list[str]:
    """Splits a comma-separated list. Double-quoted names may contain commas and outer blanks.

    Double a quote within a quoted name, as in CSV.

    Raises:
        SpeeDiffValueError: If a quote is not closed, or is not followed by a comma.
    """
    names, place = [], 0
    while place <= len(text):
        item = ITEM.match(text, place)
        if item is None or (item["bare"] or "").startswith('"'):
            raise SpeeDiffValueError(
                f"{argument} must close each quote before a comma and double inner quotes, got {text!r}"
            )
        quoted = item["quoted"]
        names.append(item["bare"].strip() if quoted is None else quoted.replace('""', '"'))
        place = item.end() if item[0].endswith(",") else len(text) + 1
    return names


def find(argument: str, name: str, known: Sequence[str]) -> int:
    """The index of a name among the known ones. Unicode normalization forms compare equal.

    Raises:
        SpeeDiffValueError: If the name is unknown or ambiguous.
    """
    name = printable(name)
    exact = [index for index, other in enumerate(known) if other == name]
    same = exact or [index for index, other in enumerate(known) if _normal(other) == _normal(name)]
    if len(same) > 1:
        numbers = ", ".join(map(str, same))
        raise SpeeDiffValueError(
            f"{argument} must name one class, got {name!r}, which matches labels {numbers}"
        )
    if not same:
        raise unknown_name(argument, name, known)
    return same[0]


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)
