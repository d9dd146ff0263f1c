"""Chooses among a wheel's builds of the library: the levels of x86-64, as its psABI defines them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import SpeeDiffLibraryError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

LEVELS = {
    "x86-64-v2": {"cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3"},
    "x86-64-v3": {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}
"""What each level adds to those before it, in Linux's words: `pni` is SSE3, and `abm` has LZCNT."""

CPUINFO = "/proc/cpuinfo"


def choose(available: Sequence[str]) -> str:
    """The level whose build to load: what SPEEDIFF_ISA says, else the highest that this processor runs.

    Args:
        available: The levels that there are builds for, from the lowest to the highest.

    Raises:
        SpeeDiffLibraryError: If there is none to choose. A build beyond the processor would end the
            interpreter at its first instruction that the processor does not know.
    """
    asked = os.environ.get("SPEEDIFF_ISA")
    if asked and not available:
        raise SpeeDiffLibraryError(
            f"SPEEDIFF_ISA must be unset where the package has one library and no builds, got {asked!r}"
        )
    if asked and asked not in available:
        raise SpeeDiffLibraryError(f"SPEEDIFF_ISA must be one of {', '.join(available)}, got {asked!r}")
    flags = _processor_flags()
    if asked:
        if missing := _missing(asked, flags):
            raise SpeeDiffLibraryError(
                f"SPEEDIFF_ISA must be a level that this processor has, got {asked!r}, which needs "
                f"{', '.join(missing)}"
            )
        return asked
    for level in reversed(available):
        if not (missing := _missing(level, flags)):
            return level
    raise SpeeDiffLibraryError(
        f"this package needs a processor of {available[0]}, and this one lacks {', '.join(missing)}; "
        "build the library with `make build` in a checkout, and set SPEEDIFF_LIBRARY to its path"
    )


def _missing(level: str, flags: Collection[str]) -> list[str]:
    """What the level and those before it need, and the processor lacks."""
    names = list(LEVELS)
    needed = set().union(*(LEVELS[name] for name in names[: names.index(level) + 1]))
    return sorted(needed.difference(flags))


def _processor_flags() -> set[str]:
    """What the processor, and the system on it, can run; the lowest level's where the system does not say."""
    try:
        with open(CPUINFO, encoding="ascii", errors="replace") as file:
            # The first processor's is enough, and the whole file takes long on large machines.
            for line in file:
                if line.startswith("flags"):
                    return set(line.partition(":")[2].split())
    except OSError:
        pass
    return set(LEVELS["x86-64-v2"])
