"""Reports a native library that cannot be loaded in one line, like the other errors of the command line.

The package is imported, and loads the library, before `cli.main` can catch anything.
"""

from __future__ import annotations

import sys
from os.path import basename
from typing import TYPE_CHECKING

from ..errors import SpeeDiffLibraryError

if TYPE_CHECKING:
    from types import TracebackType


def catch() -> None:
    """Handles uncaught loading errors if this process is `speediff` or `python -m speediff`."""
    # Python sets sys.argv[0] to "-m" while it looks for the module.
    program = basename("".join(sys.argv[:1]))
    if program == "speediff" or (program == "-m" and {"speediff", "-mspeediff"} & {*sys.orig_argv}):
        sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not isinstance(error, SpeeDiffLibraryError):
        sys.__excepthook__(kind, error, trace)
        return
    print("speediff:", " ".join(str(error).split()), file=sys.stderr)
    sys.exit(2)
