"""Imports packages that only some commands need, or says how to install them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from .errors import SpeeDiffError

if TYPE_CHECKING:
    from types import ModuleType


def load(module: str, purpose: str, *, install: str = "-e 'python[train]'") -> ModuleType:
    """Imports a module.

    Args:
        module: Its full name.
        purpose: What needs it; the message begins with this.
        install: The argument for `pip install`.

    Raises:
        SpeeDiffError: If the module is missing. The message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SpeeDiffError(f"{purpose} needs {module} ({error}): pip install {install}") from None
