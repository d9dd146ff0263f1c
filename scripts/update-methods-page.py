"""Writes the tables of formulas into docs/methods/README.md, between their markers: `make methods`."""

from __future__ import annotations

import re
from pathlib import Path

from speediff._methods.method_list import markdown

PAGE = Path(__file__).resolve().parents[1] / "docs" / "methods" / "README.md"
BEGIN, END = "<!-- methods: begin -->", "<!-- methods: end -->"


def updated(text: str) -> str:
    """The text with the tables as they are now."""
    return re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{markdown()}\n{END}", text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
