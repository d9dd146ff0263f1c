"""The parts of matplotlib that pictures need. Pictures are files, so MPLBACKEND is ignored.

A notebook sets a backend in the environment that other programs may lack, and matplotlib cannot be imported
with an unknown backend.
"""

# ruff: noqa: E402, for the reason above.

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any

VARIABLE = "MPLBACKEND"

_is_new = "matplotlib" not in sys.modules
_backend = os.environ.pop(VARIABLE, None)
try:
    import matplotlib as mpl
finally:
    if _backend is not None:
        os.environ[VARIABLE] = _backend
if _is_new and _backend:
    with suppress(ValueError):
        # For other code in this process that shows figures.
        mpl.rcParams["backend"] = _backend

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from . import fonts

__all__ = [
    "Figure", "FigureCanvasAgg", "FuncFormatter", "LogLocator", "MaxNLocator", "NullFormatter", "encoded",
    "literal", "mpl", "withStroke",
]  # fmt: skip

FONT = "DejaVu Sans"
"""Bundled with matplotlib."""


def encoded(figure: Figure, ending: str, **options: Any) -> memoryview:
    """The figure's file content for a suffix such as ".svg"."""
    file = io.BytesIO()
    figure.savefig(file, format=ending.removeprefix("."), **options)
    return file.getbuffer()


def literal(text: str) -> str:
    """Escapes math markup, and replaces characters that the font lacks by "?"."""
    known = get_font(findfont(FONT)).get_charmap()
    drawn = "".join(letter if ord(letter) in known or letter == "\n" else "?" for letter in text)
    if drawn != text:
        fonts.warn([text], f"{FONT}, the pictures' font, lacks characters; they are drawn as ?")
    return drawn.replace("$", "\\$")
