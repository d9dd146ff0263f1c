"""Finds and loads the native library, and checks its ABI version.

Avoids pathlib: nothing else imports it, and it would take a fifth of the import time.
"""

from __future__ import annotations

import ctypes
import os
import sys
from os.path import abspath, dirname, isfile, join, realpath

from ..errors import SpeeDiffLibraryError
from . import instruction_sets, loading_errors

ABI_VERSION = 4
"""The `SPEEDIFF_ABI_VERSION` of the header that `c_api.py` transcribes."""

_FILE_NAME = "libspeediff.dylib" if sys.platform == "darwin" else "libspeediff.so"


def _candidates() -> list[str]:
    """The paths to try, in order. An explicit choice is the only one."""
    chosen = os.environ.get("SPEEDIFF_LIBRARY")
    if chosen:
        # The loader would search the system's folders for a bare name.
        return [abspath(chosen)]
    package = dirname(dirname(realpath(__file__)))
    own, checkout = join(package, "lib"), dirname(dirname(package))
    builds = [level for level in instruction_sets.LEVELS if isfile(join(own, level, _FILE_NAME))]
    if builds or os.environ.get("SPEEDIFF_ISA"):
        return [join(own, instruction_sets.choose(builds), _FILE_NAME)]
    return [join(own, _FILE_NAME), join(checkout, ".build", "release", _FILE_NAME)]


def _load() -> tuple[ctypes.CDLL, str]:
    candidates = _candidates()
    path = next((candidate for candidate in candidates if isfile(candidate)), None)
    if path is None and (chosen := os.environ.get("SPEEDIFF_LIBRARY")):
        raise SpeeDiffLibraryError(
            f"SPEEDIFF_LIBRARY must be the path of the native library, got {chosen!r}, which does not exist; "
            "correct or unset it"
        )
    if path is None:
        places = "\n".join(f"  {candidate}" for candidate in candidates)
        raise SpeeDiffLibraryError(
            f"the native library was not found at any of these paths:\n{places}\n"
            "Build it with `make build` in a checkout, or set SPEEDIFF_LIBRARY to its path."
        )
    try:
        library = ctypes.CDLL(path)
        abi_version = library.speediff_abi_version
    except (OSError, AttributeError) as error:
        raise SpeeDiffLibraryError(f"{path} is not a SpeeDiff library: {error}") from error
    abi_version.argtypes = []
    abi_version.restype = ctypes.c_uint32
    found = abi_version()
    if found != ABI_VERSION:
        raise SpeeDiffLibraryError(
            f"{path} has ABI version {found}, but this package needs {ABI_VERSION}: they belong to "
            "different releases. Rebuild the library with `make build`, or reinstall the package."
        )
    return library, path


loading_errors.catch()
library, path = _load()


def library_path() -> str:
    """The path of the loaded native library."""
    return path
