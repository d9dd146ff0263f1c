"""Loads the modules that print tables, which need rich."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from .errors import SpeeDiffError

if TYPE_CHECKING:
    from types import ModuleType


def load(name: str) -> ModuleType:
    """The module of this package that prints a table.

    Raises:
        SpeeDiffError: If rich is missing; it tells how to install it, and what works without.
    """
    try:
        return importlib.import_module(f".{name}", __package__)
    except ImportError as error:
        raise SpeeDiffError(
            f"the table needs rich ({error}): pip install -e 'python[cli]', or use --json"
        ) from None
