"""Chooses among a wheel's builds of the library, one per x86-64 psABI level."""

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
"""The CPU flags that each level adds, in Linux's names: `pni` is SSE3, and `abm` includes LZCNT."""

CPUINFO = "/proc/cpuinfo"


def choose(available: Sequence[str]) -> str:
    """The level to load: SPEEDIFF_ISA if set, otherwise the highest that this processor supports.

    Args:
        available: The levels with builds, from lowest to highest.

    Raises:
        SpeeDiffLibraryError: If no level fits. A build for a newer processor would crash the interpreter
            with an illegal instruction.
    """
    asked = os.environ.get("SPEEDIFF_ISA")
    if asked and not available:
        raise SpeeDiffLibraryError(
            f"SPEEDIFF_ISA must be unset for a package with a single build of the library, got {asked!r}"
        )
    if asked and asked not in available:
        raise SpeeDiffLibraryError(f"SPEEDIFF_ISA must be one of {', '.join(available)}, got {asked!r}")
    flags = _processor_flags()
    if asked:
        if missing := _missing(asked, flags):
            raise SpeeDiffLibraryError(
                f"SPEEDIFF_ISA must be a level that this processor supports, got {asked!r}, which needs "
                f"{', '.join(missing)}"
            )
        return asked
    for level in reversed(available):
        if not (missing := _missing(level, flags)):
            return level
    raise SpeeDiffLibraryError(
        f"this package needs a processor with {available[0]}, and this one lacks {', '.join(missing)}; "
        "build the library with `make build` in a checkout, and set SPEEDIFF_LIBRARY to its path"
    )


def _missing(level: str, flags: Collection[str]) -> list[str]:
    """The flags that the level needs, including lower levels, and the processor lacks."""
    names = list(LEVELS)
    needed = set().union(*(LEVELS[name] for name in names[: names.index(level) + 1]))
    return sorted(needed.difference(flags))


def _processor_flags() -> set[str]:
    """The CPU flags that the processor and the system support; the lowest level's if unknown."""
    try:
        with open(CPUINFO, encoding="ascii", errors="replace") as file:
            # The first processor is enough; reading the whole file is slow on large machines.
            for line in file:
                if line.startswith("flags"):
                    return set(line.partition(":")[2].split())
    except OSError:
        pass
    return set(LEVELS["x86-64-v2"])
