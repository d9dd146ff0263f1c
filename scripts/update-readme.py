"""Writes the tables of methods into README.md, between their markers: `make readme`."""

from __future__ import annotations

import re
from pathlib import Path

from speediff._method_list import markdown

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- methods: begin -->", "<!-- methods: end -->"


def updated(text: str) -> str:
    """The text with the tables as they are now."""
    return re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{markdown()}\n{END}", text, flags=re.DOTALL)


if __name__ == "__main__":
    README.write_text(updated(README.read_text()))
