"""The time-step sampler: what a training loop calls once per batch, on NumPy arrays."""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from . import _arguments, _buffers, _methods, _state, errors
from . import _c_api as c
from ._handles import Closable, Handle
from .sampling import BY_NAME as SAMPLINGS
from .sampling import Asymmetric, Sampling
from .schedules import NoiseSchedule
from .weighting import BY_NAME as WEIGHTINGS
from .weighting import ChangeAware, Weighting

if TYPE_CHECKING:
    from typing_extensions import Self

    Table = np.ndarray[Any, np.dtype[np.float64]]
    Timesteps = np.ndarray[Any, np.dtype[np.int64]]
    Weights = np.ndarray[Any, np.dtype[np.float32]]

Piece = TypeVar("Piece")

PREDICTIONS = {
    None: c.PREDICTION_UNSPECIFIED,
    "epsilon": c.PREDICTION_EPSILON,
    "sample": c.PREDICTION_SAMPLE,
    "v": c.PREDICTION_V,
    "flow": c.PREDICTION_FLOW,
}
STRATA = {
    "none": c.STRATA_NONE,
    "stratified": c.STRATA_STRATIFIED,
    "low_discrepancy": c.STRATA_LOW_DISCREPANCY,
}
PRESETS = ("paper", "official")

OFFICIAL_TAU = 700
"""The τ of SpeeD's released code, which does not follow T."""

_AHEAD_CALLS = 64
_AHEAD_BYTES = 1 << 16


class SamplerBase(Closable, Generic[Piece]):
    """What the samplers for NumPy and for PyTorch share: all but the type of what is drawn.

    Draws are made some calls ahead in one crossing of the C boundary, and handed out piece by piece.
    As a draw is a pure function of its step, results do not depend on it. No two pieces share memory.
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        sampling: str | Sampling = "uniform",
        weighting: str | Weighting = "uniform",
        prediction: str | None = None,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        accumulation: int = 1,
        strata: str = "none",
        normalize: bool = False,
        preset: str | None = None,
    ) -> None:
        """Combines a schedule, a sampling and a weighting.

        Args:
            schedule: The noise schedule, of T steps.
            sampling: Which steps to draw: a name, or an object of `speediff.sampling`.
            weighting: How much each counts: a name, or an object of `speediff.weighting`.
            prediction: What the network predicts, "epsilon", "sample", "v" or "flow". Needed where a
                weighting's form depends on it.
            seed: In [0, 2⁶⁴); the same on every rank.
            rank: This process among `world_size`.
            world_size: The number of processes that share each global batch.
            accumulation: The number of calls (micro-batches) per training step.
            strata: How a global batch is spread: "none", "stratified" or "low_discrepancy".
            normalize: Divide the weights by their mean under what is really drawn, so that the
                scale of the loss does not change.
            preset: Set by `speed`; "official" draws in pairs.

        Raises:
            SpeeDiffValueError: If a value is out of range, or does not fit another one.
            SpeeDiffTypeError: If a value has the wrong type.
        """
        if not isinstance(schedule, NoiseSchedule):
            raise errors.SpeeDiffTypeError(f"schedule must be a NoiseSchedule, got {schedule!r}")
        if prediction not in PREDICTIONS:
            raise errors.unknown_name("prediction", prediction, filter(None, PREDICTIONS))
        if strata not in STRATA:
            raise errors.unknown_name("strata", strata, STRATA)
        self.schedule = schedule
        self.sampling = _methods.resolve("sampling", sampling, SAMPLINGS, Sampling)  # type: ignore[type-abstract]
        self.weighting = _methods.resolve("weighting", weighting, WEIGHTINGS, Weighting)  # type: ignore[type-abstract]
        self.prediction = prediction
        self.strata = strata
        self.preset = preset
        self.normalize = _arguments.flag("normalize", normalize)
        self.seed = _arguments.integer("seed", seed, signed=False)
        self.rank = _arguments.integer("rank", rank)
        self.world_size = _arguments.integer("world_size", world_size)
        self.accumulation = _arguments.integer("accumulation", accumulation)
        super().__init__(self._create_handle(self.seed))
        self._lock = threading.Lock()
        # Pieces drawn ahead, the next one last, for the batch size and device beside them. The call
        # that comes next is the one after the last piece, less the pieces that are left.
        self._ahead: list[Piece] = []
        self._ahead_for: object = None
        self._ahead_end = 0

    @classmethod
    def speed(
        cls,
        schedule: NoiseSchedule,
        k: float = 5.0,
        lam: float = 0.6,
        seed: int = 0,
        *,
        tau: int | None = None,
        r: float | None = None,
        preset: str = "paper",
        **options: Any,
    ) -> Self:
        """SpeeD: asymmetric sampling with change-aware weighting.

        The presets differ because the paper and its released code do:

        - "paper": P is Eq. 2 exactly; weights are in [1-λ, λ] for every step.
        - "official": of N entries of a global batch N÷2+1 come from Eq. 2, and the others are their
          duals abs(m-t); weights are change-aware up to τ and 1 beyond. The batch's distribution is
          `marginal(N)`: nominal k = 5 acts as 5.0, 8.3, 9.8, 10.3 for N = 1-2, 8, 32, 256.

        Args:
            schedule: The noise schedule.
            k: The suppression intensity, finite and at least 1.
            lam: λ in [0.5, 1].
            seed: In [0, 2⁶⁴).
            tau: Where suppression begins, 0 < τ < T. "official" has 700 unless told otherwise.
            r: The same as a magnitude: τ is the first step t with 1/ᾱ_t > r. "paper" has 143.5,
                which gives 700 for the paper's schedule. Not together with tau.
            preset: "paper" or "official".
            **options: `rank`, `world_size`, `accumulation`, `strata`, `normalize`, `prediction`.
        """
        if preset not in PRESETS:
            raise errors.unknown_name("preset", preset, PRESETS)
        if preset == "official" and tau is None and r is None:
            tau = OFFICIAL_TAU
        return cls(
            schedule, Asymmetric(k, tau, r), ChangeAware(lam), seed=seed, preset=preset, **options
        )

    @property
    def probabilities(self) -> Table:
        """P, float64, shape (T,): the distribution of a drawn entry (nominal for "official")."""
        handle = self._open_handle()
        return _buffers.read_table(
            lambda out, n: c.speediff_sampler_probabilities(handle.pointer, out, n),
            self.schedule.steps,
        )

    @property
    def weights(self) -> Table:
        """w, float64, shape (T,): the factor of each step's loss.

        With `normalize` its mean under `probabilities` is 1. The "official" preset's draws are
        normalized under `marginal(N)` instead, so that theirs is `weights` times a factor near 1.
        """
        handle = self._open_handle()
        return _buffers.read_table(
            lambda out, n: c.speediff_sampler_weights(handle.pointer, out, n), self.schedule.steps
        )

    def marginal(self, n: int) -> Table:
        """The exact distribution of an entry taken at random from a global batch of n, shape (T,).

        It differs from `probabilities` for the "official" preset alone, whose duals shift it.
        """
        handle = self._open_handle()
        total = _arguments.integer("n", n)
        return _buffers.read_table(
            lambda out, count: c.speediff_sampler_marginal(handle.pointer, total, out, count),
            self.schedule.steps,
        )

    def expected_weight(self, n: int | None = None) -> float:
        """E[w] over a global batch of n, before `normalize`; None: under `probabilities`."""
        handle = self._open_handle()
        out = ctypes.c_double()
        if n is not None and _arguments.integer("n", n) < 1:
            raise errors.SpeeDiffValueError(f"n must be at least 1, got {n}")
        c.speediff_sampler_expected_weight(handle.pointer, n or 0, out)
        return out.value

    @property
    def step(self) -> int:
        """The training step of the next batch, counted from 0."""
        return self._next_call() // self.accumulation

    def state_dict(self) -> dict[str, Any]:
        """All that continues the draws in another process: method, schedule, seed and step.

        Plain numbers and strings. Rank and world size are not part of it: the global batch does not
        depend on them.
        """
        step, micro_batch = divmod(self._next_call(), self.accumulation)
        return _state.save(self._description(), self.schedule, self.seed, step, micro_batch)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken; on error nothing changes.

        Raises:
            SpeeDiffValueError: If the state is of another method, schedule or version, or is
                damaged; the message names the difference.
        """
        self._open_handle()
        seed, step, micro_batch = _state.load(
            state, self._description(), self.schedule, self.accumulation
        )
        handle = self._create_handle(seed)
        with self._lock:
            self.seed = seed
            self._handle = handle
            self._ahead = []
            self._ahead_for = None
            self._ahead_end = step * self.accumulation + micro_batch

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.schedule!r}, {self.sampling!r}, {self.weighting!r}, "
            f"seed={self.seed}, step={self.step})"
        )

    def _description(self) -> dict[str, Any]:
        return {
            "sampling": self.sampling.describe(),
            "weighting": self.weighting.describe(),
            "preset": self.preset,
            "prediction": self.prediction,
            "strata": self.strata,
            "normalize": self.normalize,
        }

    def _create_handle(self, seed: int) -> Handle:
        options = c.SamplerOptions(
            seed,
            self.rank,
            self.world_size,
            self.accumulation,
            PREDICTIONS[self.prediction],
            STRATA[self.strata],
            self.normalize,
        )
        schedule, sampling = self.schedule._open_handle(), self.sampling._create()
        destroy = c.speediff_sampler_destroy
        if self.preset == "official" and isinstance(self.weighting, ChangeAware):
            create = c.speediff_sampler_create_official_speed
            parameters = (schedule.pointer, sampling.pointer, self.weighting.lam, options)
            return Handle(c.sampler_p, create, destroy, *parameters)
        weighting = self.weighting._create()
        create = c.speediff_sampler_create
        return Handle(
            c.sampler_p,
            create,
            destroy,
            schedule.pointer,
            sampling.pointer,
            weighting.pointer,
            options,
        )

    def _next_call(self) -> int:
        return self._ahead_end - len(self._ahead)

    def _refill(self, n: int, key: object) -> Piece:
        """Draws calls ahead for batches of n, and gives the first."""
        n = _arguments.integer("n", n)
        with self._lock:
            ahead = self._ahead
            if self._ahead_for != key:
                # Pieces are taken without the lock, so what is left is taken out one by one.
                call = self._ahead_end
                while ahead:
                    ahead.pop()
                    call -= 1
            elif ahead:  # Another thread was faster.
                return ahead.pop()
            else:
                call = self._ahead_end
            calls = max(1, min(_AHEAD_CALLS, _AHEAD_BYTES // (12 * max(n, 1))))
            timesteps = np.empty((calls, max(n, 0)), np.int64)
            weights = np.empty((calls, max(n, 0)), np.float32)
            self._draw(call, calls, n, timesteps, weights)
            pieces = self._split(timesteps, weights, key)
            first = pieces[0]
            pieces.reverse()
            pieces.pop()
            self._ahead_end = call + calls
            self._ahead = pieces
            self._ahead_for = key
            return first

    def _draw(self, call: int, calls: int, n: int, timesteps: Timesteps, weights: Weights) -> None:
        handle = self._open_handle()
        c.speediff_sampler_draw(
            handle.pointer, call, calls, n, _buffers.pointer(timesteps), _buffers.pointer(weights)
        )

    def _split(self, timesteps: Timesteps, weights: Weights, key: object) -> list[Piece]:
        """The rows of a block, as what `sample` returns."""
        raise NotImplementedError

    def _draw_one(
        self,
        n: int,
        step: int | None,
        micro_batch: int,
        offset: int | None,
        total: int | None,
        out: tuple[Timesteps, Weights] | None,
    ) -> tuple[Timesteps, Weights]:
        """Draws a batch that is not the next of a row of equal ones."""
        n = _arguments.integer("n", n)
        if out is None:
            timesteps, weights = np.empty(max(n, 0), np.int64), np.empty(max(n, 0), np.float32)
        else:
            timesteps = _buffers.check_output("out[0]", out[0], np.int64, n)
            weights = _buffers.check_output("out[1]", out[1], np.float32, n)
        if (offset is None) != (total is None):
            raise errors.SpeeDiffValueError(
                f"offset must be given together with total, got offset = {offset}, total = {total}"
            )
        if step is None:
            with self._lock:
                self._draw_call(self._next_call(), n, offset, total, timesteps, weights)
                self._skip_one()
        else:
            step = _arguments.integer("step", step)
            micro_batch = _arguments.integer("micro_batch", micro_batch)
            if not 0 <= micro_batch < self.accumulation:
                raise errors.SpeeDiffValueError(
                    f"micro_batch must be in [0, {self.accumulation}), got {micro_batch}"
                )
            call = _arguments.integer("step", step * self.accumulation + micro_batch)
            self._draw_call(call, n, offset, total, timesteps, weights)
        return timesteps, weights

    def _draw_call(
        self,
        call: int,
        n: int,
        offset: int | None,
        total: int | None,
        timesteps: Timesteps,
        weights: Weights,
    ) -> None:
        if offset is None or total is None:
            self._draw(call, 1, n, timesteps, weights)
            return
        handle = self._open_handle()
        c.speediff_sampler_draw_slice(
            handle.pointer,
            call // self.accumulation,
            _arguments.integer("offset", offset),
            n,
            _arguments.integer("total", total),
            _buffers.pointer(timesteps),
            _buffers.pointer(weights),
        )

    def _skip_one(self) -> None:
        """Moves on by one call that was drawn apart."""
        if self._ahead:
            self._ahead.pop()
        else:
            self._ahead_end += 1


class TimestepSampler(SamplerBase["tuple[Timesteps, Weights]"]):
    """Draws the time steps of a training run with their weights, once per batch.

    A draw is a pure function of (seed, step, index in the global batch, size of the global batch):
    a run is resumed with nothing but its step number, and rank r of W draws its slice of the same
    global batch without communication. In a forked worker the sampler works, and repeats what its
    parent draws: draw in the training process.
    """

    def sample(
        self,
        n: int,
        *,
        step: int | None = None,
        micro_batch: int = 0,
        offset: int | None = None,
        total: int | None = None,
        out: tuple[Timesteps, Weights] | None = None,
    ) -> tuple[Timesteps, Weights]:
        """Draws the next batch of this rank, or that of any step.

        Args:
            n: The local batch, at least 0. The global batch has n·world_size·accumulation entries,
                at most 2³¹.
            step: Draw this training step (the first is 0) and leave the counter alone.
            micro_batch: Which call of `step`, in [0, accumulation).
            offset: For uneven batches, with total: draw the entries [offset, offset + n) of a
                global batch of total.
            total: The size of the global batch.
            out: Arrays to write to: contiguous, writable int64 and float32 of shape (n,).

        Returns:
            The time steps, int64 (n,), 0-based, and their weights, float32 (n,). Fresh arrays that
            the caller may change.
        """
        if step is None and offset is None and total is None and out is None and type(n) is int:
            if n == self._ahead_for:
                try:
                    return self._ahead.pop()
                except IndexError:
                    pass
            return self._refill(n, n)
        return self._draw_one(n, step, micro_batch, offset, total, out)

    def _split(
        self, timesteps: Timesteps, weights: Weights, key: object
    ) -> list[tuple[Timesteps, Weights]]:
        return list(zip(timesteps, weights))
