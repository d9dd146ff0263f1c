"""The list of methods in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from ._method_list import MethodInfo


def print_methods(methods: tuple[MethodInfo, ...]) -> None:
    """Prints a table for samplings and one for weightings."""
    console = Console(highlight=False, markup=False, emoji=False)
    for kind, value in (("sampling", "P"), ("weighting", "w")):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        for header in (kind, "parameters", value, "source"):
            table.add_column(header, overflow="fold")
        for method in methods:
            if method.kind == kind:
                formula = method.note or method.formula
                table.add_row(method.name, method.signature, formula, method.source)
        console.print(table)
