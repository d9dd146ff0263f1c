"""Finds and loads the native library, and checks that it is the one this package was written for."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from . import _instruction_sets
from .errors import SpeeDiffLibraryError

ABI_VERSION = 1
"""The `SPEEDIFF_ABI_VERSION` of the header that `_c_api.py` transcribes."""

_FILE_NAME = "libspeediff.dylib" if sys.platform == "darwin" else "libspeediff.so"


def _candidates() -> list[Path]:
    """The places to look, in order; an explicit choice leaves no others."""
    chosen = os.environ.get("SPEEDIFF_LIBRARY")
    if chosen:
        return [Path(chosen)]
    package = Path(__file__).resolve().parent
    own, checkout = package / "lib", package.parent.parent
    builds = [level for level in _instruction_sets.LEVELS if (own / level / _FILE_NAME).is_file()]
    if builds or os.environ.get("SPEEDIFF_ISA"):
        return [own / _instruction_sets.choose(builds) / _FILE_NAME]
    return [own / _FILE_NAME, checkout / ".build" / "release" / _FILE_NAME]


def _load() -> tuple[ctypes.CDLL, Path]:
    candidates = _candidates()
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        places = "\n".join(f"  {candidate}" for candidate in candidates)
        raise SpeeDiffLibraryError(
            f"the native library was found at none of these places:\n{places}\n"
            "Build it with `make build` in a checkout, or set SPEEDIFF_LIBRARY to its path."
        )
    try:
        library = ctypes.CDLL(str(path))
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


library, path = _load()


def library_path() -> str:
    """The path of the native library that is in use."""
    return str(path)
