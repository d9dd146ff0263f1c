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
        table.add_column(kind)
        table.add_column(value, overflow="fold")
        table.add_column("source", max_width=20)  # Which leaves the longest factor of a formula whole.
        for method in methods:
            if method.kind == kind:
                title = Text(method.name, "bold").append(_parameters(method), "not bold")
                table.add_row(title, method.note or method.formula, method.source)
        console.print(table)


def _parameters(method: MethodInfo) -> str:
    """On lines of their own, where there are any."""
    return "".join(
        f"\n  {name}={value:g}" if isinstance(value, float) else f"\n  {name}={value}"
        for name, value in method.defaults.items()
    )
