"""Commands that compute with PyTorch reuse memory; the system clears no pages for them again and again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy
from speediff.cli import allocation

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        numpy.ones(3 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
can = allocation.reuse_memory()
numpy.ones(3 << 20)  # The first block comes from the system.
print(before, can, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_large_blocks_are_reused() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, can, after = done.stdout.split()
    assert can == "True"
    # 24 MB, twenty times: each block was mapped anew before.
    assert int(after) <= int(before) // 10
