"""The native samplers on NumPy arrays."""

from __future__ import annotations

import ctypes
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from . import buffers
from . import c_api as c
from . import c_processes as cp
from .handles import Handle

if TYPE_CHECKING:
    Table = np.ndarray[Any, np.dtype[np.float64]]
    Timesteps = np.ndarray[Any, np.dtype[np.int64]]
    Weights = np.ndarray[Any, np.dtype[np.float32]]
    Levels = np.ndarray[Any, np.dtype[Any]]
    """What a draw returns beside weights: timesteps or noise levels."""

MAXIMUM_TOTAL = 1 << 31
"""The largest global batch."""

LAST_CALL = (1 << 63) - 1
"""The limit of the call counter: the call after the last one must fit an int64_t."""


class NativeDrawing(Handle):
    """The common base of both native samplers. Thread-safe."""

    __slots__ = ("history_count",)

    level_type: ClassVar[type[np.generic]]
    """The dtype of timesteps or noise levels."""
    _draw: ClassVar[Any]
    _draw_slice: ClassVar[Any]
    _emphasis: ClassVar[Any]
    _count_history: ClassVar[Any]
    _history: ClassVar[Any]
    _restore_history: ClassVar[Any]

    history_count: int
    """The length of the learned history; 0 if the method does not learn."""

    def _measure(self) -> None:
        """Reads the length of the history."""
        count = ctypes.c_int64()
        self._count_history(self.pointer, count)
        self.history_count = count.value

    @abstractmethod
    def update(self, step: int, levels: Levels, losses: Weights) -> None:
        """Learns from losses of a training step; both shape (n,)."""

    def history(self) -> Table:
        """The learned history."""
        return self._read(self._history, self.history_count)

    def restore_history(self, history: Table) -> None:
        """Restores a learned history."""
        self._restore_history(self.pointer, buffers.input_pointer(history), len(history))

    def _read(self, function: Any, count: int, *arguments: int) -> Table:
        return buffers.read_table(lambda out, n: function(self.pointer, *arguments, out, n), count)

    def check_size(self, n: int) -> None:
        """Raises if a call cannot have n entries, before allocating memory."""
        self._draw(self.pointer, 0, 0, n, None, None)

    def draw(self, call: int, levels: Levels, weights: Weights) -> None:
        """Draws consecutive calls from `call` on, one per row; shape (calls, n)."""
        calls, n = levels.shape
        first, w = buffers.output_pointer(levels), buffers.output_pointer(weights)
        self._draw(self.pointer, call, calls, n, first, w)

    def draw_slice(self, step: int, offset: int, total: int, levels: Levels, weights: Weights) -> None:
        """Draws n entries of a step's global batch, starting at `offset`; shape (n,)."""
        first, w = buffers.output_pointer(levels), buffers.output_pointer(weights)
        self._draw_slice(self.pointer, step, offset, len(levels), total, first, w)

    def emphasis(self, step: int, count: int) -> tuple[Table, Table]:
        """λ and E, each of shape (count,)."""
        log_snr = np.empty(count, np.float64)

        def fill(density: Any, n: int) -> None:
            self._emphasis(self.pointer, step, buffers.output_pointer(log_snr), density, n)

        density = buffers.read_table(fill, count)
        log_snr.flags.writeable = False
        return log_snr, density


class NativeSampler(NativeDrawing):
    """A `speediff_sampler`: immutable unless it learns."""

    __slots__ = ("steps",)

    level_type = np.int64
    _draw = staticmethod(c.speediff_sampler_draw)
    _draw_slice = staticmethod(c.speediff_sampler_draw_slice)
    _emphasis = staticmethod(c.speediff_sampler_emphasis)
    _count_history = staticmethod(c.speediff_sampler_history_count)
    _history = staticmethod(c.speediff_sampler_history)
    _restore_history = staticmethod(c.speediff_sampler_restore_history)

    def __init__(self, steps: int, create: Any, *arguments: Any) -> None:
        super().__init__(c.sampler_p, create, c.speediff_sampler_destroy, *arguments)
        self.steps = steps
        self._measure()

    def probabilities(self, step: int) -> Table:
        """P at a training step, shape (T,)."""
        return self._read(c.speediff_sampler_probabilities, self.steps, step)

    def weights(self, step: int) -> Table:
        """The weights at a training step, shape (T,)."""
        return self._read(c.speediff_sampler_weights, self.steps, step)

    def marginal(self, step: int, n: int) -> Table:
        """The exact distribution of an entry of a call's batch, shape (T,)."""
        return self._read(c.speediff_sampler_marginal, self.steps, step, n)

    def expected_weight(self, step: int, n: int) -> float:
        """E[w] over a call's batch of n; n = 0: under P."""
        out = ctypes.c_double()
        c.speediff_sampler_expected_weight(self.pointer, step, n, out)
        return out.value

    def update(self, step: int, levels: Levels, losses: Weights) -> None:
        """Learns from losses, which do not depend on the step; both shape (n,)."""
        t, values = buffers.input_pointer(levels), buffers.input_pointer(losses)
        c.speediff_sampler_update(self.pointer, t, values, len(levels))


class NativeSigmaSampler(NativeDrawing):
    """A `speediff_sigma_sampler`: immutable unless it learns."""

    __slots__ = ()

    level_type = np.float32
    _draw = staticmethod(cp.speediff_sigma_sampler_draw)
    _draw_slice = staticmethod(cp.speediff_sigma_sampler_draw_slice)
    _emphasis = staticmethod(cp.speediff_sigma_sampler_emphasis)
    _count_history = staticmethod(cp.speediff_sigma_sampler_history_count)
    _history = staticmethod(cp.speediff_sigma_sampler_history)
    _restore_history = staticmethod(cp.speediff_sigma_sampler_restore_history)

    def __init__(self, *arguments: Any) -> None:
        create = cp.speediff_sigma_sampler_create
        super().__init__(cp.sigma_sampler_p, create, cp.speediff_sigma_sampler_destroy, *arguments)
        self._measure()

    def update(self, step: int, levels: Levels, losses: Weights) -> None:
        """Learns from losses of a training step; both shape (n,)."""
        first, values = buffers.input_pointer(levels), buffers.input_pointer(losses)
        cp.speediff_sigma_sampler_update(self.pointer, step, first, values, len(levels))

    def draw_shifted(
        self,
        step: int,
        offset: int,
        total: int,
        shifts: Table | None,
        offsets: Table | None,
        levels: Weights,
        weights: Weights,
    ) -> None:
        """As `draw_slice`, with a shift and an offset for each entry."""
        moves = [None if values is None else buffers.input_pointer(values) for values in (shifts, offsets)]
        first, w = buffers.output_pointer(levels), buffers.output_pointer(weights)
        cp.speediff_sigma_sampler_draw_shifted(
            self.pointer, step, offset, len(levels), total, *moves, first, w
        )
