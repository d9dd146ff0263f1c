"""Loads optional packages; errors say how to install them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SpeeDiffError

if TYPE_CHECKING:
    from types import ModuleType

CHECKOUT = Path(__file__).resolve().parents[2]
"""The folder of `pyproject.toml`, unless the package was installed from a wheel."""

EVALUATE = "speediff[evaluate]"
"""What evaluations, classifiers and the measures of comparisons need."""


def load(module: str, purpose: str, *, install: str = "speediff[train]") -> ModuleType:
    """Imports a module of an optional package.

    Args:
        module: Its full name.
        purpose: What needs it; the subject of the error's sentence.
        install: What to pass to `pip install`.

    Raises:
        SpeeDiffError: If it is missing; the error says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SpeeDiffError(f"{purpose} needs {module} ({error}): {command(install)}") from None


def load_own(module: str, purpose: str, *, install: str = "speediff[train]", instead: str = "") -> ModuleType:
    """Imports a module of this package that needs an extra.

    Args:
        module: Its name within the package.
        purpose: What needs it; the subject of the error's sentence.
        install: What to pass to `pip install`.
        instead: What works without it; the end of the error's sentence.

    Raises:
        SpeeDiffError: If a package is missing; the error says how to install it.
    """
    try:
        return importlib.import_module(f"speediff.{module}")
    except ImportError as error:
        needed = (error.name or "another package").partition(".")[0]
        raise SpeeDiffError(f"{purpose} needs {needed} ({error}): {command(install)}{instead}") from None


def command(packages: str) -> str:
    """The command that installs packages. In a checkout it installs this package from there."""
    if packages.startswith("speediff[") and (CHECKOUT / "pyproject.toml").is_file():
        return f"pip install -e '{packages.replace('speediff', 'python')}'"
    import shlex  # Here: most programs need no such command.

    # Shells read brackets as a glob pattern.
    return f"pip install {shlex.quote(packages)}"
