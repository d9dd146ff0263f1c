"""What all samplers share: drawing batches, saving their state and resuming."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from .. import errors
from .._native import buffers
from .._native.handles import Closable
from .._native.native_sampler import LAST_CALL, NativeDrawing
from .._support import arguments
from . import saved_state
from .ahead import DrawsAhead
from .inherited import Origin
from .recipe import AnyRecipe, Drawing, Options, check_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._native.native_sampler import Levels, Table, Weights
    from ..sampling import Sampling
    from .moves import Moves, Place

Piece = TypeVar("Piece")
Native = TypeVar("Native", bound=NativeDrawing)

# How far to prefetch: enough to amortize the call across the C boundary, and little enough that the pieces
# (12 bytes per entry) stay in the L2 cache.
_AHEAD_CALLS = 64
_AHEAD_ENTRIES = 48 * 1024


class DrawingBase(Closable[Native], Generic[Native, Piece]):
    """Counts the calls of a native sampler and returns their results."""

    recipe: AnyRecipe

    def _prepare(self, seed: int, options: Options) -> None:
        """Creates the native sampler from the recipe."""
        seed = arguments.integer("seed", seed, least=0, end=1 << 64)
        self._layout_is_default = options.get("rank") is None and options.get("world_size") is None
        self._origin = Origin()
        # Replaced as a whole, so that nobody sees one state's native object with another's call counter.
        self._ahead: DrawsAhead[Native, Piece] = DrawsAhead(self._create_native(seed), seed)

    @property
    def _handle(self) -> Native | None:
        return self._ahead.native

    @property
    def seed(self) -> int:
        """The seed of every draw."""
        return self._ahead.seed

    @abstractmethod
    def _create_native(self, seed: int) -> Native:
        """Creates the recipe's native sampler."""

    @abstractmethod
    def _fingerprint(self) -> dict[str, Any]:
        """Plain values that identify the schedule or the process."""

    @abstractmethod
    def emphasis(self) -> tuple[Table, Table]:
        """The emphasis of the next batch, as a density over λ = ln S."""

    @classmethod
    def _drawing_of(cls, options: Options) -> Drawing:
        """Fills in rank and world size, and checks the options."""
        check_names(options)
        filled = options.copy()
        for name, default in zip(("rank", "world_size"), cls._default_layout(), strict=True):
            if filled.get(name) is None:
                filled[name] = default  # type: ignore[literal-required]
        return Drawing.of(**filled)

    @staticmethod
    def _default_layout() -> tuple[int, int]:
        """Default rank and world size."""
        return 0, 1

    def _check_layout(self) -> None:
        """Raises if the default rank and world size are no longer right."""

    def close(self) -> None:
        """Frees the native object and prefetched draws. Calling it again does nothing."""
        ahead = self._ahead
        self._ahead = DrawsAhead(None, ahead.seed, ahead.next_call())

    @property
    def step(self) -> int:
        """The training step of the next batch, counted from 0.

        Set it to resume a run that saved only its step; the next call is then the first of that step.
        Setting it does not change what was learned from losses. Methods that learn need `state_dict`.
        """
        return self._ahead.next_call() // self.recipe.drawing.accumulation

    @step.setter
    def step(self, step: int) -> None:
        ahead = self._ahead
        self._opened(ahead.native)
        ahead.go_to(self._call_number(step, 0))

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue the draws elsewhere: method, schedule or process, seed and step.

        Holds only plain numbers and strings, and what was learned from losses. Rank and world size are not
        included: the global batch does not depend on them, except for the pairs of the "official" preset.
        Accumulation may change between training steps.
        """
        self._open_handle()
        ahead, call, history = self._place()
        return saved_state.save(self._identity(), ahead.seed, call, self.recipe.drawing.accumulation, history)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state from `state_dict`; on error nothing changes.

        Raises:
            SpeeDiffValueError: If the state belongs to another method, schedule or version, or is
                damaged. The error names the difference.
        """
        count = self._open_handle().history_count
        accumulation = self.recipe.drawing.accumulation
        seed, call, history = saved_state.load(state, self._identity(), accumulation, count)
        self._ahead = DrawsAhead(self._restored(seed, history), seed, call)

    def __getstate__(self) -> dict[str, Any]:
        """The state of a copy. The copy draws what this sampler would draw next and advances independently.

        A copy of a closed sampler is closed.
        """
        ahead, call, history = self._place()
        place = ahead.native is not None, ahead.seed, call, ahead.size, history
        return {**vars(self), "_ahead": place}

    def __setstate__(self, state: dict[str, Any]) -> None:
        is_open, seed, call, size, history = state["_ahead"]
        vars(self).update(state, _origin=copy.copy(state["_origin"]))
        rank, world_size = self._default_layout()
        if self._layout_is_default and world_size > 1:
            recipe: Any = self.recipe
            drawing = replace(recipe.drawing, rank=rank, world_size=world_size)
            self.recipe = replace(recipe, drawing=drawing)
        self._ahead = DrawsAhead(self._restored(seed, history) if is_open else None, seed, call, size)

    def _place(self) -> tuple[DrawsAhead[Native, Piece], int, Table | None]:
        """The position: the draws, the next call, and what was learned before it."""
        while True:
            ahead = self._ahead
            call = ahead.next_call()
            history = None if ahead.native is None else self._history(ahead.native)
            if ahead is self._ahead and call == ahead.next_call():
                return ahead, call, history

    def _restored(self, seed: int, history: Table | None) -> Native:
        native = self._create_native(seed)
        if history is not None:
            native.restore_history(history)
        return native

    @property
    def learns(self) -> bool:
        """Whether the method learns from losses, so that you must call `update`."""
        return self._open_handle().history_count > 0

    def _learn(self, learn: Callable[[Native], None]) -> None:
        """Has `learn` change what was learned, and discards prefetched batches."""
        ahead = self._ahead
        native = self._opened(ahead.native)
        # Forget before as well, so that no prefetched draw survives between learning and forgetting.
        ahead.forget()
        learn(native)
        ahead.forget()

    @staticmethod
    def _history(native: Native) -> Table | None:
        """What was learned; None if the method does not learn."""
        return native.history() if native.history_count else None

    def _identity(self) -> dict[str, Any]:
        """Plain values that identify this sampler's objective."""
        return {"method": self.recipe.describe(), "schedule": self._fingerprint()}

    def _take(self, n: int, key: object) -> Piece:
        """The next call's batch of n; prefetches later calls."""
        if not 0 <= n <= _AHEAD_ENTRIES:
            self._open_handle().check_size(arguments.integer("n", n))
        self._check_layout()
        if self._layout_is_default:
            self._origin.check()
        ahead = self._ahead
        left = LAST_CALL - ahead.next_call()
        if left <= 0:
            raise errors.SpeeDiffValueError(f"step must be below {LAST_CALL} / accumulation, got {self.step}")
        self._check_micro_batch(ahead, n)
        most = self.recipe.drawing.prefetch or max(1, min(_AHEAD_CALLS, _AHEAD_ENTRIES // max(n, 1)))
        calls = min(left, most)

        def draw(call: int, calls: int) -> list[Piece]:
            native = self._opened(ahead.native)
            levels = np.empty((calls, n), native.level_type)
            weights = np.empty((calls, n), np.float32)
            native.draw(call, levels, weights)
            return self._split(levels, weights, key)

        return ahead.take(key, calls, draw)

    def _check_micro_batch(self, ahead: DrawsAhead[Native, Piece], n: int) -> None:
        """Rejects micro-batches of different sizes: they would be parts of different global batches."""
        call, before = ahead.next_call(), ahead.size
        accumulation = self.recipe.drawing.accumulation
        if call % accumulation and before is not None and before != n:
            raise errors.SpeeDiffValueError(
                f"n must stay the same within a training step of {accumulation} calls, or be given with "
                f"step, offset and total; got {n} after {before} in call {call % accumulation} of step "
                f"{call // accumulation}"
            )
        ahead.size = n

    def local_batch(self, global_batch: int) -> int:
        """The batch size to pass to each call of `sample` for a global batch of `global_batch`.

        Raises:
            SpeeDiffValueError: If it is not divisible by ranks times micro-batches.
        """
        self._check_layout()
        total = arguments.integer("global_batch", global_batch, least=0)
        drawing = self.recipe.drawing
        parts = drawing.world_size * drawing.accumulation
        if total % parts:
            raise errors.SpeeDiffValueError(
                f"global_batch must be a multiple of {drawing.world_size} ranks times {drawing.accumulation} "
                f"micro-batches, got {total}; for uneven batches pass offset and total to sample"
            )
        return total // parts

    def _take_apart(
        self,
        n: int,
        step: int | None,
        micro_batch: int,
        offset: int | None,
        total: int | None,
        out: tuple[Any, Weights] | None,
        moves: Moves | None = None,
    ) -> tuple[Any, Weights]:
        """A batch that is not prefetched: another step, a slice, given outputs, moves. See `sample`."""
        n = arguments.integer("n", n)
        self._check_layout()
        if step is None and micro_batch != 0:
            raise errors.SpeeDiffValueError(
                f"micro_batch must be given together with step, got {micro_batch}"
            )
        if (offset is None) != (total is None):
            raise errors.SpeeDiffValueError(
                f"offset must be given together with total, got offset = {offset}, total = {total}"
            )
        ahead = self._ahead
        native = self._opened(ahead.native)
        if out is None:
            native.check_size(n)
            levels, weights = np.empty(n, native.level_type), np.empty(n, np.float32)
        else:
            if not (isinstance(out, tuple) and len(out) == 2):
                raise errors.SpeeDiffTypeError(f"out must be a tuple of two arrays, got {out!r}")
            levels = buffers.check_output("out[0]", out[0], native.level_type, n)
            weights = buffers.check_output("out[1]", out[1], np.float32, n)

        def draw(call: int) -> None:
            if moves is None and offset is None:
                native.draw(call, levels[np.newaxis], weights[np.newaxis])
                return
            step, micro_batch = divmod(call, self.recipe.drawing.accumulation)
            first, size = self.recipe.drawing.slice_of(micro_batch, n)
            if offset is not None:
                first, size = arguments.integer("offset", offset), arguments.integer("total", total)
            if moves is None:
                native.draw_slice(step, first, size, levels, weights)
            else:
                self._draw_moved(native, moves, (step, first, size), levels, weights)

        if step is None:
            if self._layout_is_default and offset is None:
                self._origin.check()
            if moves is not None and offset is None:
                self._check_micro_batch(ahead, n)
            ahead.take_apart(draw)
        else:
            draw(self._call_number(step, micro_batch))
        return levels, weights

    def _call_number(self, step: int, micro_batch: int) -> int:
        step = arguments.integer("step", step, least=0)
        micro_batch = arguments.integer(
            "micro_batch", micro_batch, least=0, end=self.recipe.drawing.accumulation
        )
        call = step * self.recipe.drawing.accumulation + micro_batch
        return arguments.integer("step times accumulation", call, end=LAST_CALL)

    @abstractmethod
    def _validation(
        self, n: int, shape: Sequence[int], seed: int, sampling: str | Sampling | None
    ) -> tuple[Any, Weights]:
        """Levels (n,) and noise (n, *shape) for a validation loss."""

    @abstractmethod
    def _draw_moved(self, native: Native, moves: Moves, place: Place, levels: Any, weights: Weights) -> None:
        """Draws entries of a step's global batch, each moved."""

    @abstractmethod
    def _split(self, levels: Levels, weights: Weights, key: Any) -> list[Piece]:
        """Splits a block's rows into results of `sample`."""
