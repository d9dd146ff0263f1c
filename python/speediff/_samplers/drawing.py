"""What every sampler does: draw batch after batch, save where it is, and go on from there."""

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
    from .._native.native_sampler import Levels, Table, Weights

Piece = TypeVar("Piece")
Native = TypeVar("Native", bound=NativeDrawing)

# How far to draw ahead: enough to make the crossing of the C boundary cheap, and little enough for the
# memory, twelve bytes an entry, to stay in the processor's second cache.
_AHEAD_CALLS = 64
_AHEAD_ENTRIES = 48 * 1024


class DrawingBase(Closable[Native], Generic[Native, Piece]):
    """Counts the calls of a native sampler, and hands out their results."""

    recipe: AnyRecipe

    def _prepare(self, seed: int, options: Options) -> None:
        """Makes the native sampler; the recipe is there."""
        seed = arguments.integer("seed", seed, least=0, end=1 << 64)
        self._layout_is_default = options.get("rank") is None and options.get("world_size") is None
        self._origin = Origin()
        # Replaced as a whole, so that nobody sees the native object of one state with the calls of another.
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
        """Makes the native sampler of the recipe."""

    @abstractmethod
    def _fingerprint(self) -> dict[str, Any]:
        """What tells the schedule or the process from another one, as plain values."""

    @abstractmethod
    def emphasis(self) -> tuple[Table, Table]:
        """What the next batch asks the network to learn, as a density over λ = ln S."""

    @classmethod
    def _drawing_of(cls, options: Options) -> Drawing:
        """Fills in rank and world size, and checks what users give."""
        check_names(options)
        filled = options.copy()
        for name, default in zip(("rank", "world_size"), cls._default_layout(), strict=True):
            if filled.get(name) is None:
                filled[name] = default  # type: ignore[literal-required]
        return Drawing.of(**filled)

    @staticmethod
    def _default_layout() -> tuple[int, int]:
        """Rank and world size where the user gives neither."""
        return 0, 1

    def _check_layout(self) -> None:
        """Raises if rank and world size, as they were filled in, have become wrong."""

    def close(self) -> None:
        """Gives up the native object, and what was drawn ahead. Calling it again does nothing."""
        ahead = self._ahead
        self._ahead = DrawsAhead(None, ahead.seed, ahead.next_call())

    @property
    def step(self) -> int:
        """The training step of the next batch, counted from 0.

        May be set, to continue a run of which only the step was saved: the first call of that step comes
        next. What was learned from losses stays as it is: methods that learn need `state_dict`.
        """
        return self._ahead.next_call() // self.recipe.drawing.accumulation

    @step.setter
    def step(self, step: int) -> None:
        ahead = self._ahead
        self._opened(ahead.native)
        ahead.go_to(self._call_number(step, 0))

    def state_dict(self) -> dict[str, Any]:
        """All that continues the draws in another process: method, schedule or process, seed and step.

        Plain numbers and strings. Rank and world size are not part of it: the global batch does not
        depend on them, except for the pairs of the "official" preset. Accumulation may change between
        training steps. What was learned from losses is part of it.
        """
        self._open_handle()
        ahead, call, history = self._place()
        return saved_state.save(self._identity(), ahead.seed, call, self.recipe.drawing.accumulation, history)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken; on error nothing changes.

        Raises:
            SpeeDiffValueError: If the state is of another method, schedule or version, or is
                damaged; the message names the difference.
        """
        count = self._open_handle().history_count
        accumulation = self.recipe.drawing.accumulation
        seed, call, history = saved_state.load(state, self._identity(), accumulation, count)
        self._ahead = DrawsAhead(self._restored(seed, history), seed, call)

    def __getstate__(self) -> dict[str, Any]:
        """What makes a copy, which draws what this one would have drawn next, and goes on by itself.

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
        """Where the draws are: what draws, the next call, and what was learned before it."""
        while True:
            ahead = self._ahead
            call = ahead.next_call()
            history = None if ahead.native is None else self._history(ahead.native)
            if ahead is self._ahead and call == ahead.next_call():
                return ahead, call, history

    def _restored(self, seed: int, history: Table | None) -> Native:
        native = self._create_native(seed)
        if history is not None:
            self._restore(native, history)
        return native

    def _history(self, native: Native) -> Table | None:
        """What was learned; None where nothing is."""
        return None

    def _restore(self, native: Native, history: Table) -> None:
        """Takes over what was learned."""

    def _identity(self) -> dict[str, Any]:
        """What tells this sampler's objective from another one's, as plain values."""
        return {"method": self.recipe.describe(), "schedule": self._fingerprint()}

    def _take(self, n: int, key: object) -> Piece:
        """The next call's batch of n, drawn with those of the calls after it."""
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
        """Refuses micro-batches of several sizes: they would be parts of different global batches."""
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
        """The entries that each call of `sample` is to ask for, so that a training step has `global_batch`.

        Raises:
            SpeeDiffValueError: If it cannot be divided over ranks and micro-batches.
        """
        self._check_layout()
        total = arguments.integer("global_batch", global_batch, least=0)
        drawing = self.recipe.drawing
        parts = drawing.world_size * drawing.accumulation
        if total % parts:
            raise errors.SpeeDiffValueError(
                f"global_batch must be a multiple of {drawing.world_size} ranks times {drawing.accumulation} "
                f"micro-batches, got {total}; uneven batches take offset and total in sample"
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
    ) -> tuple[Any, Weights]:
        """A batch that is not the next of a row of equal ones; arguments as in `sample`."""
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
            if offset is None or total is None:
                native.draw(call, levels[np.newaxis], weights[np.newaxis])
            else:
                first, size = arguments.integer("offset", offset), arguments.integer("total", total)
                native.draw_slice(call // self.recipe.drawing.accumulation, first, size, levels, weights)

        if step is None:
            if self._layout_is_default and offset is None:
                self._origin.check()
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
    def _split(self, levels: Levels, weights: Weights, key: Any) -> list[Piece]:
        """The rows of a block, as what `sample` returns."""
