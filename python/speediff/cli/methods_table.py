"""The list of methods in the terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .._methods.method_list import KINDS, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._methods.method_list import MethodInfo

NARROW, PIPE = 64, 1000
"""The first is narrower than any table; the second is wider than any row."""


def print_methods(methods: Sequence[MethodInfo]) -> None:
    """Prints the methods, one table for each kind, or lists if the terminal is too narrow."""
    console = Console(width=_width(), highlight=False, markup=False, emoji=False)
    for kind, value in KINDS.items():
        of_kind = [method for method in methods if method.kind == kind]
        if console.width < NARROW:
            console.print(f"{kind}s, {value}, source\n")
            for method in of_kind:
                console.print(_title(method), overflow="fold")
                for text in (method.note or method.formula, method.source):
                    console.print(Padding(Text(text, overflow="fold"), (0, 0, 0, 4), expand=False))
            console.print()
        else:
            console.print(_table(kind, value, of_kind, source_width=None if console.width == PIPE else 20))
    _print_evidence(console, [method for method in methods if method.evidence])


def _print_evidence(console: Console, methods: Sequence[MethodInfo]) -> None:
    if methods:
        console.print("what docs/study.md found\n")
    for method in methods:
        console.print(f"{method.kind} {method.name}", overflow="fold")
        for sentence in method.evidence:
            console.print(Padding(Text(sentence, overflow="fold"), (0, 0, 0, 4), expand=False))


def _table(kind: str, value: str, methods: Sequence[MethodInfo], *, source_width: int | None) -> Table:
    """Sources of 20 columns leave room for the longest factor of a formula within 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column(kind, overflow="fold")
    table.add_column(value, overflow="fold")
    table.add_column("source", overflow="fold", max_width=source_width)
    for method in methods:
        table.add_row(_title(method), method.note or method.formula, method.source)
    return table


def _width() -> int | None:
    """The width in columns; None if rich knows it from terminal or environment. Pipes are unlimited."""
    return None if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal() else PIPE


def _title(method: MethodInfo) -> Text:
    """The name, followed by the parameters on separate lines."""
    parameters = "".join(
        f"\n  {name}={shown(value)}".replace(", ", ",\n    ") for name, value in method.defaults.items()
    )
    return Text(method.name, "bold").append(parameters, "not bold")
