"""`speediff methods`: every method, with formula, parameters and source."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .._methods.method import Method
from .._methods.method_list import MethodInfo, markdown, methods
from .._support import extras

if TYPE_CHECKING:
    import argparse


TABLE = {"install": "speediff[cli]", "instead": ", or use --json"}
"""What an error suggests if the package that prints tables is missing."""


def add_to(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Adds the sub-command to the command line."""
    parser = subparsers.add_parser(
        "methods",
        help="list all methods, with formula and source",
        description="Lists every method with its formula, parameters, defaults and source.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, prints=True)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print Markdown tables")
    form.add_argument("--json", action="store_true", help="print everything as JSON")


def run(options: argparse.Namespace) -> None:
    """Prints the list."""
    if options.json:
        print(json.dumps([_plain(method) for method in methods()], ensure_ascii=False))
    elif options.markdown:
        print(markdown())
    else:
        extras.load_own("cli.methods_table", "the table", **TABLE).print_methods(methods())


def _plain(method: MethodInfo) -> dict[str, Any]:
    defaults = {
        name: value.describe() if isinstance(value, Method) else value
        for name, value in method.defaults.items()
    }
    return {
        "kind": method.kind,
        "name": method.name,
        "formula": method.formula,
        "source": method.source,
        "defaults": defaults,
        "implemented": method.implemented,
        "note": method.note,
        "call": method.call,
        "evidence": list(method.evidence),
    }
