"""The native sampler, on NumPy arrays."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from . import _buffers
from . import _c_api as c
from ._handles import Handle

if TYPE_CHECKING:
    import numpy as np

    Table = np.ndarray[Any, np.dtype[np.float64]]
    Timesteps = np.ndarray[Any, np.dtype[np.int64]]
    Weights = np.ndarray[Any, np.dtype[np.float32]]

MAXIMUM_TOTAL = 1 << 31
"""The most entries of a global batch."""

LAST_CALL = (1 << 63) - 1
"""Calls, and the call after the last one drawn, are counted in an int64_t."""


class NativeSampler(Handle):
    """A `speediff_sampler`: immutable, and safe to use from several threads at once."""

    __slots__ = ("steps",)

    def __init__(self, steps: int, create: Any, *arguments: Any) -> None:
        super().__init__(c.sampler_p, create, c.speediff_sampler_destroy, *arguments)
        self.steps = steps

    def probabilities(self) -> Table:
        """P, shape (T,)."""
        return _buffers.read_table(
            lambda out, n: c.speediff_sampler_probabilities(self.pointer, out, n), self.steps
        )

    def weights(self) -> Table:
        """w, shape (T,)."""
        return _buffers.read_table(
            lambda out, n: c.speediff_sampler_weights(self.pointer, out, n), self.steps
        )

    def marginal(self, total: int) -> Table:
        """The exact distribution of an entry of a global batch, shape (T,)."""
        return _buffers.read_table(
            lambda out, n: c.speediff_sampler_marginal(self.pointer, total, out, n), self.steps
        )

    def expected_weight(self, total: int) -> float:
        """E[w] over a global batch; 0 stands for entries of P."""
        out = ctypes.c_double()
        c.speediff_sampler_expected_weight(self.pointer, total, out)
        return out.value

    def check_size(self, n: int) -> None:
        """Raises if a call cannot have n entries, before memory is asked for."""
        c.speediff_sampler_draw(self.pointer, 0, 0, n, None, None)

    def draw(self, call: int, timesteps: Timesteps, weights: Weights) -> None:
        """Draws the calls from one on, a row for each; shape (calls, n)."""
        calls, n = timesteps.shape
        t, w = _buffers.output_pointer(timesteps), _buffers.output_pointer(weights)
        c.speediff_sampler_draw(self.pointer, call, calls, n, t, w)

    def draw_slice(self, step: int, offset: int, total: int, timesteps: Timesteps, weights: Weights) -> None:
        """Draws entries from `offset` on of one step's global batch; shape (n,)."""
        t, w = _buffers.output_pointer(timesteps), _buffers.output_pointer(weights)
        c.speediff_sampler_draw_slice(self.pointer, step, offset, len(timesteps), total, t, w)
