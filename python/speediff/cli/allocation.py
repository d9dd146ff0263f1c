"""How a command's process allocates memory. The library leaves that to the program that imports it."""

from __future__ import annotations

import ctypes

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
LARGEST_KEPT = 1 << 25
"""Bytes of the largest block that is reused. glibc allows no more."""
LARGEST_FREE = (1 << 31) - 1
"""Bytes at the end of the heap that are kept for reuse."""


def reuse_memory() -> bool:
    """Has the C library keep freed blocks for the next allocation. Returns whether it can: only glibc does.

    PyTorch allocates each layer's result anew. glibc gives large blocks back to the system, which clears the
    pages of the next ones: a third of the time of training a small convolutional network.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    settings = {_MMAP_THRESHOLD: LARGEST_KEPT, _TRIM_THRESHOLD: LARGEST_FREE}
    return mallopt is not None and all([mallopt(*setting) for setting in settings.items()])
