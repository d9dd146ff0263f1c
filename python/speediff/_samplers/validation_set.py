"""Fixed noise levels and noise for a validation loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._native.native_sampler import MAXIMUM_TOTAL
from .._support import arguments
from .._support.random_numbers import normal
from ..errors import SpeeDiffTypeError
from .recipe import Drawing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._native.native_sampler import NativeDrawing, Weights

NOISE = 4
"""The purpose of the random bits; those of training runs have others."""

SPREAD = Drawing.of(strata="stratified")
"""One process, one entry in each stratum."""


def make(
    create: Callable[[int], NativeDrawing], n: int, shape: Sequence[int], seed: int
) -> tuple[Any, Weights]:
    """The levels (n,) and the noise (n, *shape).

    Args:
        create: Makes the native sampler for a seed, with strata.
        n: The number of entries.
        shape: That of one entry.
        seed: In [0, 2⁶⁴).
    """
    n = arguments.integer("n", n, least=1, end=MAXIMUM_TOTAL + 1)
    seed = arguments.integer("seed", seed, least=0, end=1 << 64)
    if not isinstance(shape, (tuple, list)):
        raise SpeeDiffTypeError(f"shape must be a tuple of integers, got {shape!r}")
    sizes = tuple(arguments.integer(f"shape[{i}]", size, least=1) for i, size in enumerate(shape))
    native = create(seed)
    levels = np.empty(n, native.level_type)
    native.draw_slice(0, 0, n, levels, np.empty(n, np.float32))
    # An entry's noise depends on its index alone, not on n.
    return levels, np.stack([normal(seed, index, NOISE, sizes) for index in range(n)])
