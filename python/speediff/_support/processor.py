"""The processor's name, for what depends on it: times, and the last bits of sums."""

from __future__ import annotations

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
FIELDS = {"model name": "", "cpu family": "family ", "model": "model "}
"""The fields that tell kinds apart, with what stands before them. Virtual machines may shorten the name."""


def name() -> str:
    """As `AMD EPYC, family 25, model 1`; elsewhere what Python knows."""
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return name_of(text) or platform.processor() or platform.machine() or "unknown"


def name_of(cpuinfo: str) -> str:
    """The name in the text of `CPUINFO`; empty if there is none, as on Arm."""
    found: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        field, _, value = line.partition(":")
        found.setdefault(field.strip(), " ".join(value.split()))
    if not found.get("model name"):
        return ""
    return ", ".join(before + found[field] for field, before in FIELDS.items() if found.get(field))
