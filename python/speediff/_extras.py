"""Loads the packages that only some commands need, or says how to install them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from .errors import SpeeDiffError

if TYPE_CHECKING:
    from types import ModuleType


def load(module: str, purpose: str, *, install: str = "-e 'python[train]'") -> ModuleType:
    """The module.

    Args:
        module: Its full name.
        purpose: What needs it, to begin a sentence with.
        install: What pip is to install.

    Raises:
        SpeeDiffError: If it is missing; it tells how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SpeeDiffError(f"{purpose} needs {module} ({error}): pip install {install}") from None
