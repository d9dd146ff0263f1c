"""The list of methods in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ._method_list import MethodInfo


def print_methods(methods: tuple[MethodInfo, ...]) -> None:
    """Prints a table for samplings and one for weightings."""
    console = Console(highlight=False, markup=False, emoji=False)
    for kind, value in (("sampling", "P"), ("weighting", "w")):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        # Wide enough for the longest name, parameter and factor: nothing is broken within a word.
        for header, width in ((kind, 23), (value, 30), ("source", 18)):
            table.add_column(header, overflow="fold", min_width=width)
        for method in methods:
            if method.kind == kind:
                title = Text(method.name, "bold").append(_parameters(method), "not bold")
                table.add_row(title, method.note or method.formula, method.source)
        console.print(table)


def _parameters(method: MethodInfo) -> str:
    """On lines of their own, where there are any."""
    return "".join(f"\n  {parameter}" for parameter in method.signature.split(", ") if parameter)
