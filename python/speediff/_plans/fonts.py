"""The fonts of pictures with generated images: Pillow's own, or one of the system that has more letters."""

from __future__ import annotations

import importlib.util
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._support import extras, messages

if TYPE_CHECKING:
    from collections.abc import Sequence

SYSTEM_FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "wqy-zenhei.ttc", "unifont.otf",
    "unifont_upper.otf", "Arial Unicode.ttf",
)  # fmt: skip
"""Where letters are looked for that Pillow's own font lacks: European, Chinese, Japanese and Korean, all."""
NO_CHARACTER = "\U0010ffff"
"""A font draws it as whatever it lacks: mostly a box."""
SHOWN = 5
"""Of the texts that a warning is about."""


def choose(texts: Sequence[str], size: int) -> tuple[Any, list[bool]]:
    """A font for some texts, and which of them it can draw: the first of those that can draw the most."""
    library = extras.load("PIL.ImageFont", "a picture")
    best = library.load_default(size)
    drawable = [_has(best, text) for text in texts]
    for name in (_font_of_matplotlib(), *SYSTEM_FONTS):
        if all(drawable):
            break
        try:
            font = library.truetype(name, size)
        except (OSError, ImportError):  # There is none, or Pillow was built without FreeType.
            continue
        by_this = [_has(font, text) for text in texts]
        if sum(by_this) > sum(drawable):
            best, drawable = font, by_this
    return best, drawable


def composed(text: str) -> str:
    """With letters and their accents in one, as fonts have them."""
    return unicodedata.normalize("NFC", text)


def warn(texts: Sequence[str], consequence: str) -> None:
    """Says, once for the same texts, that no font has their letters, and what that means."""
    shown = ", ".join(texts[:SHOWN]) + ("…" if len(texts) > SHOWN else "")
    # Bytes that are no letters at all become escapes.
    messages.warn(f"{consequence}: {shown.encode('utf-8', 'backslashreplace').decode()}")


def _font_of_matplotlib() -> str:
    """Where it would be, without importing matplotlib."""
    found = importlib.util.find_spec("matplotlib")
    package = Path(found.origin).parent if found is not None and found.origin else Path()
    return str(package / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf")


def _has(font: Any, text: str) -> bool:
    try:
        text.encode()
        box = _drawn(font, NO_CHARACTER)
        return not any(_drawn(font, letter) == box for letter in set(text))
    except UnicodeEncodeError:
        # A name that is no UTF-8; or Pillow without FreeType, whose only font has few letters.
        return text.isascii()


def _drawn(font: Any, letter: str) -> tuple[Any, bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)
