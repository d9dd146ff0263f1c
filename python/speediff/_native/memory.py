"""The memory that this process may use."""

from __future__ import annotations

import ctypes

from . import c_training as c


def limit() -> int:
    """The bytes of the machine's memory, or fewer where a control group limits them."""
    out = ctypes.c_int64()
    c.speediff_memory_limit(out)
    return out.value
