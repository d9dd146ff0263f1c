"""Fonts for image grids: Pillow's own, or a system font with more characters."""

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
"""Fonts to try for characters that Pillow's font lacks: European, then CJK, then all scripts."""
NO_CHARACTER = "\U0010ffff"
"""Fonts draw this character with their missing-glyph box."""
SHOWN = 5
"""The number of texts that a warning shows."""


def choose(texts: Sequence[str], size: int) -> tuple[Any, list[bool]]:
    """The first font that can draw the most of the texts, and which ones it can draw."""
    library = extras.load("PIL.ImageFont", "a picture")
    best = library.load_default(size)
    drawable = [_has(best, text) for text in texts]
    for name in (_font_of_matplotlib(), *SYSTEM_FONTS):
        if all(drawable):
            break
        try:
            font = library.truetype(name, size)
        except (OSError, ImportError):  # The font is missing, or Pillow was built without FreeType.
            continue
        by_this = [_has(font, text) for text in texts]
        if sum(by_this) > sum(drawable):
            best, drawable = font, by_this
    return best, drawable


def composed(text: str) -> str:
    """The text in composed form (NFC), which fonts expect."""
    return unicodedata.normalize("NFC", text)


def warn(texts: Sequence[str], consequence: str) -> None:
    """Warns, once per set of texts, that no font has their characters."""
    shown = ", ".join(texts[:SHOWN]) + ("…" if len(texts) > SHOWN else "")
    # Non-UTF-8 bytes become escapes.
    messages.warn(f"{consequence}: {shown.encode('utf-8', 'backslashreplace').decode()}")


def _font_of_matplotlib() -> str:
    """The path of matplotlib's font, without importing matplotlib."""
    found = importlib.util.find_spec("matplotlib")
    package = Path(found.origin).parent if found is not None and found.origin else Path()
    return str(package / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf")


def _has(font: Any, text: str) -> bool:
    try:
        text.encode()
        box = _drawn(font, NO_CHARACTER)
        return not any(_drawn(font, letter) == box for letter in set(text))
    except UnicodeEncodeError:
        # A name that is not UTF-8; or Pillow without FreeType, whose only font has few characters.
        return text.isascii()


def _drawn(font: Any, letter: str) -> tuple[Any, bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)
