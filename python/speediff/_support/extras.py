"""Loads the packages that only some commands need, or says how to install them."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SpeeDiffError

if TYPE_CHECKING:
    from types import ModuleType

CHECKOUT = Path(__file__).resolve().parents[2]
"""Where `pyproject.toml` is, unless the package was installed from a wheel."""


def load(module: str, purpose: str, *, install: str = "speediff[train]") -> ModuleType:
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
        raise SpeeDiffError(f"{purpose} needs {module} ({error}): {command(install)}") from None


def load_own(module: str, purpose: str, *, install: str = "speediff[train]", instead: str = "") -> ModuleType:
    """A module of this package that imports what an extra has.

    Args:
        module: Its name within the package.
        purpose: What needs it, to begin a sentence with.
        install: What pip is to install.
        instead: What works without, to end the sentence with.

    Raises:
        SpeeDiffError: If something is missing; it tells how to install it.
    """
    try:
        return importlib.import_module(f"speediff.{module}")
    except ImportError as error:
        needed = (error.name or "another package").partition(".")[0]
        raise SpeeDiffError(f"{purpose} needs {needed} ({error}): {command(install)}{instead}") from None


def command(packages: str) -> str:
    """The command that installs packages. This one is taken from the checkout, if it runs from there."""
    if packages.startswith("speediff[") and (CHECKOUT / "pyproject.toml").is_file():
        return f"pip install -e '{packages.replace('speediff', 'python')}'"
    # A shell would take brackets for a pattern.
    return f"pip install {shlex.quote(packages)}"
