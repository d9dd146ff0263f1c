"""What SpeeDiff raises: each class is a `SpeeDiffError` and also the built-in that fits."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class SpeeDiffError(Exception):
    """Any error of this package."""

    on_all_ranks = False
    """Whether every process of a `speediff.distributed.Group` has raised it, and none waits for another."""


class SpeeDiffValueError(SpeeDiffError, ValueError):
    """A value is outside its range, or does not fit another one."""


class SpeeDiffTypeError(SpeeDiffError, TypeError):
    """A value has the wrong type, or an array the wrong dtype or layout."""


class SpeeDiffClosedError(SpeeDiffValueError):
    """An object is used after its `close()`."""


class SpeeDiffLibraryError(SpeeDiffError, ImportError):
    """The native library is missing, or does not fit this package."""


class SpeeDiffMemoryError(SpeeDiffError, MemoryError):
    """The machine does not have the memory that is asked for."""


class SpeeDiffFileError(SpeeDiffError, OSError):
    """A file cannot be read or written, or holds something else than it should."""


class SpeeDiffNonFiniteError(SpeeDiffError, ArithmeticError):
    """A loss or a gradient is not finite; the step was not applied."""


class SpeeDiffBusyError(SpeeDiffError, RuntimeError):
    """Another thread uses the trainer, another process made it, or another command has the folder."""


class SpeeDiffGroupError(SpeeDiffError, RuntimeError):
    """Another process of a `speediff.distributed.Group` has ended, is silent, or does something else."""


class SpeeDiffCancelledError(SpeeDiffError, RuntimeError):
    """A generation was stopped by its own progress callback."""


class SpeeDiffInternalError(SpeeDiffError, RuntimeError):
    """A defect of SpeeDiff."""


def unknown_name(argument: str, name: object, known: Iterable[str]) -> SpeeDiffValueError:
    """Describes a name that is none of the known ones, and the nearest of those.

    Args:
        argument: The argument that the name was given for.
        name: What was given.
        known: The names that exist.
    """
    names = sorted(known)
    nearest = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return SpeeDiffValueError(f"{argument} must be one of {', '.join(names)}, got {name!r}{hint}")
