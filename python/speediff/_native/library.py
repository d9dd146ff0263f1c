"""Finds and loads the native library, and checks that it is the one this package was written for.

Not with pathlib, which this package would be alone in importing: it takes a fifth of the time.
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
    """The places to look, in order; an explicit choice leaves no others."""
    chosen = os.environ.get("SPEEDIFF_LIBRARY")
    if chosen:
        # The loader would look a bare name up in the system's folders.
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
            f"SPEEDIFF_LIBRARY must be the path of the native library, got {chosen!r}, where no file is; "
            "correct or unset it"
        )
    if path is None:
        places = "\n".join(f"  {candidate}" for candidate in candidates)
        raise SpeeDiffLibraryError(
            f"the native library was found at none of these places:\n{places}\n"
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
            f"{path} has ABI version {found}, and this package needs {ABI_VERSION}: they are of "
            "different releases. Rebuild the library with `make build`, or reinstall the package."
        )
    return library, path


loading_errors.catch()
library, path = _load()


def library_path() -> str:
    """The path of the native library that is in use."""
    return path
