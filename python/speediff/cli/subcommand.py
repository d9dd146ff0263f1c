"""Creates the parsers of sub-commands that have a full help page."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def add(
    subparsers: argparse._SubParsersAction[Any],
    name: str,
    run: Callable[[argparse.Namespace], None],
    *,
    summary: str,
    description: str,
    epilog: str,
    prints: bool = False,
) -> argparse.ArgumentParser:
    """Adds a sub-command that calls `run`. Help texts are printed verbatim.

    `prints` means that the result is the printed output rather than files.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, prints=prints)
    return parser
