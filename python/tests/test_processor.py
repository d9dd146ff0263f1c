"""The processor's name, from the texts of Linux's /proc/cpuinfo."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pytest

from speediff._support import processor

if TYPE_CHECKING:
    from pathlib import Path

AMD = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC

processor\t: 1
cpu family\t: 26
model\t\t: 2
model name\t: another
"""
INTEL = "cpu family\t: 6\nmodel\t\t: 207\nmodel name\t: Intel(R) Xeon(R)   Processor @ 2.60GHz\n"
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (AMD, "AMD EPYC, family 25, model 1"),
        (INTEL, "Intel(R) Xeon(R) Processor @ 2.60GHz, family 6, model 207"),
        ("model name\t: Some\n", "Some"),
        (ARM, ""),
        ("", ""),
    ],
)
def test_kinds_are_told_apart(text: str, name: str) -> None:
    assert processor.name_of(text) == name


def test_where_there_is_no_such_file_python_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    assert processor.name() == (platform.processor() or platform.machine() or "unknown")
