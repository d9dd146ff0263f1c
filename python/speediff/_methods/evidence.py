"""What the study found of the methods: `evidence.json`, which `make study-page` writes."""

from __future__ import annotations

import functools
import json
from pathlib import Path

PACKAGED = Path(__file__).with_name("evidence.json")


def of(kind: str, name: str) -> tuple[str, ...]:
    """A sentence for each arm of the study that has the method; none if it was not studied.

    Args:
        kind: "sampling" or "weighting".
        name: The method's name.
    """
    return tuple(_packaged().get(kind, {}).get(name, ()))


@functools.cache
def _packaged() -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = json.loads(PACKAGED.read_text(encoding="utf-8"))
    return found
