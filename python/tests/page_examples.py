"""The examples of docs/migrate, run as a reader would run them."""

from __future__ import annotations

import re
from typing import Any

from peer_stand_ins import PATCHES


def example(page: str, index: int = 0) -> str:
    """A Python example of a page, counted from 0."""
    blocks = re.findall(r"```python\n(.*?)```", (PATCHES / f"{page}.md").read_text(), re.DOTALL)
    code: str = blocks[index]
    return code


def run(page: str, names: dict[str, Any], index: int = 0, **changes: str) -> dict[str, Any]:
    """Runs an example with a reader's own names, and returns all names.

    Args:
        page: The page's name.
        names: What the example uses and the reader has.
        index: Which example.
        **changes: `sampler` replaces the expression that makes the example's sampler.
    """
    code = example(page, index)
    if "sampler" in changes:
        code, count = re.subn(r"SigmaSampler\.flow\([^()\n]*\)", changes["sampler"], code)
        assert count == 1, code
    names.setdefault("__name__", "__main__")
    exec(compile(code, f"{page}.md", "exec"), names)
    return names


def own_lines(page: str) -> int:
    """How many lines a reader writes: without imports, blank lines and signatures of the trainer's own."""
    blocks = re.findall(r"```python\n(.*?)```", (PATCHES / f"{page}.md").read_text(), re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return len([line for line in lines if line and not line.startswith(("from ", "import "))])
