"""The pairs of a method's text: `table(0:0.2, 0.3:1)` and `stages(0:laplace, 500:uniform)`.

A colon is no Python between parentheses, but it is between brackets. So `0:0.2` becomes `_[0:0.2]`.
"""

from __future__ import annotations

import ast

_OPENING, _CLOSING = "([{", ")]}"
_MARK = "_"


def bracketed(text: str) -> str:
    """The text with each argument that has a colon in `_[…]`."""
    out: list[str] = []
    """What is read, in pieces."""
    starts: list[int] = []
    """The piece at which the current argument of each open bracket begins."""
    colons: list[bool] = []
    """Whether it has a colon."""
    quote = ""

    def end() -> None:
        if colons and colons[-1]:
            out.insert(starts[-1], f"{_MARK}[")
            out.append("]")

    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _OPENING:
            out.append(character)
            starts.append(len(out))
            colons.append(False)
            continue
        elif character in _CLOSING and starts:
            end()
            starts.pop()
            colons.pop()
        elif character == "," and starts:
            end()
            out.append(character)
            starts[-1], colons[-1] = len(out), False
            continue
        elif character == ":" and colons:
            colons[-1] = True
        out.append(character)
    return "".join(out)


def pair(node: ast.expr) -> tuple[ast.expr, ast.expr] | None:
    """Both sides of an argument `a:b`; None if it is none."""
    if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice)):
        return None
    sides = node.slice
    is_marked = isinstance(node.value, ast.Name) and node.value.id == _MARK
    if not is_marked or sides.lower is None or sides.upper is None or sides.step is not None:
        return None
    return sides.lower, sides.upper


def unbracketed(text: str) -> str:
    """The text as it was before `bracketed`, for messages."""
    return text.replace(f"{_MARK}[", "").replace("]", "") if f"{_MARK}[" in text else text
