"""Builds of the library for several instruction sets draw the same bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import speediff
from speediff._native import instruction_sets

LIBRARY = Path(speediff.library_path())
PACKAGE = Path(speediff.__file__).parent
CHECKOUT = Path(__file__).resolve().parents[2]

SCRIPT = Path(__file__).parent / "draw_digests.py"


def builds() -> list[Path]:
    """What this processor runs: a wheel's builds, or a checkout's that are as new as the library in use."""
    flags = instruction_sets._processor_flags()
    levels = [level for level in instruction_sets.LEVELS if not instruction_sets._missing(level, flags)]
    if LIBRARY.parents[1] == PACKAGE / "lib":
        return [PACKAGE / "lib" / level / LIBRARY.name for level in levels]
    folders = [CHECKOUT / f".build-{level.removeprefix('x86-64-')}" / "release" for level in levels]
    others = [folder / LIBRARY.name for folder in folders if (folder / LIBRARY.name).is_file()]
    return [LIBRARY, *(path for path in others if path.stat().st_mtime >= LIBRARY.stat().st_mtime)]


def draws(library: Path) -> dict[str, str]:
    """Digests of all kinds of draws."""
    environment = {**os.environ, "SPEEDIFF_LIBRARY": str(library)}
    run = subprocess.run(
        [sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True, check=True
    )
    digests: dict[str, str] = json.loads(run.stdout)
    return digests


def test_every_build_draws_the_same_bits() -> None:
    first, *others = builds()
    if not others:
        pytest.skip("there is one build; `make test-c` makes another")
    expected = draws(first)
    assert len(expected) > 200
    for other in others:
        found = draws(other)
        assert {name for name in expected if found[name] != expected[name]} == set(), other
