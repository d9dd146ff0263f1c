"""The exceptions of SpeeDiff. Each is a `SpeeDiffError` and also the built-in exception that fits."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class SpeeDiffError(Exception):
    """Any error of this package."""

    on_all_ranks = False
    """Whether every process of a `speediff.distributed.Group` raised it, so that none waits for another."""


class SpeeDiffValueError(SpeeDiffError, ValueError):
    """A value is out of range, or contradicts another one."""


class SpeeDiffTypeError(SpeeDiffError, TypeError):
    """A value has the wrong type, or an array the wrong dtype or layout."""


class SpeeDiffClosedError(SpeeDiffValueError):
    """An object was used after its `close()`."""


class SpeeDiffLibraryError(SpeeDiffError, ImportError):
    """The native library is missing, or its version does not match this package."""


class SpeeDiffMemoryError(SpeeDiffError, MemoryError):
    """The machine, or a limit of this process, does not allow the requested memory."""


class SpeeDiffThreadError(SpeeDiffError, RuntimeError):
    """The system refuses more threads: a limit on processes or threads is reached."""


class SpeeDiffFileError(SpeeDiffError, OSError):
    """A file cannot be read or written, or has unexpected contents."""


class SpeeDiffNonFiniteError(SpeeDiffError, ArithmeticError):
    """A loss or a gradient is not finite; the step was not applied."""


class SpeeDiffBusyError(SpeeDiffError, RuntimeError):
    """Another thread uses the trainer, another process made it, or another command has the folder."""


class SpeeDiffGroupError(SpeeDiffError, RuntimeError):
    """Another process of a `speediff.distributed.Group` ended, does not respond, or made a different call."""


class SpeeDiffCancelledError(SpeeDiffError, RuntimeError):
    """The progress callback of a generation stopped it."""


class SpeeDiffInternalError(SpeeDiffError, RuntimeError):
    """A bug in SpeeDiff."""


def unknown_name(argument: str, name: object, known: Iterable[str]) -> SpeeDiffValueError:
    """The error for an unknown name, which suggests the nearest known one.

    Args:
        argument: The argument that the name was given for.
        name: The unknown name.
        known: The names that exist.
    """
    names = sorted(known)
    hint = suggestion(name, names)
    return SpeeDiffValueError(f"{argument} must be one of {', '.join(names)}, got {name!r}{hint}")


def suggestion(name: object, known: Iterable[str]) -> str:
    """The end of an error for an unknown name: the nearest known one, or nothing."""
    nearest = difflib.get_close_matches(str(name), sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
