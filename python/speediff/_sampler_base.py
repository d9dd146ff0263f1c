"""What the samplers for NumPy and for PyTorch share: all but the type of what is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from . import _arguments, _buffers, _state, errors
from ._ahead import DrawsAhead
from ._handles import Closable
from ._native_sampler import LAST_CALL, MAXIMUM_TOTAL, NativeSampler
from ._recipe import Options, Recipe, check_names
from .sampling import Asymmetric, Sampling
from .schedules import NoiseSchedule
from .weighting import ChangeAware, Weighting

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._native_sampler import Table, Timesteps, Weights

Piece = TypeVar("Piece")

PRESETS = ("paper", "official")

OFFICIAL_TAU = 700
"""The τ of SpeeD's released code, which does not follow T."""

# How far to draw ahead: enough to make the crossing of the C boundary cheap, and little enough for the
# memory, twelve bytes an entry, to stay in the processor's second cache.
_AHEAD_CALLS = 64
_AHEAD_ENTRIES = 48 * 1024


class SamplerBase(Closable[NativeSampler], Generic[Piece]):
    """A schedule, a sampling and a weighting, ready to draw."""

    def __init__(
        self,
        schedule: NoiseSchedule,
        sampling: str | Sampling = "uniform",
        weighting: str | Weighting = "uniform",
        prediction: str | None = None,
        *,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        accumulation: int = 1,
        strata: str = "none",
        normalize: bool = False,
    ) -> None:
        """Combines a schedule, a sampling and a weighting.

        Args:
            schedule: The noise schedule, of T steps.
            sampling: Which steps to draw: a name, or an object of `speediff.sampling`.
            weighting: How much each counts: a name, or an object of `speediff.weighting`.
            prediction: What the network predicts, "epsilon", "sample", "v" or "flow". Needed where a
                weighting's form depends on it.
            seed: In [0, 2⁶⁴); the same on every rank.
            rank: This process among `world_size`; None: 0. In `speediff.torch`, None stands for what
                `torch.distributed` says, for either, where it is initialized.
            world_size: The number of processes that share each global batch; None: 1.
            accumulation: The number of calls (micro-batches) per training step.
            strata: How a global batch is spread: "none", "stratified" or "low_discrepancy".
            normalize: Divide the weights by their mean under what is really drawn, so that the
                scale of the loss does not change.

        Raises:
            SpeeDiffValueError: If a value is out of range, or does not fit another one.
            SpeeDiffTypeError: If a value has the wrong type.
        """
        options: Options = {
            "prediction": prediction,
            "rank": rank,
            "world_size": world_size,
            "accumulation": accumulation,
            "strata": strata,
            "normalize": normalize,
        }
        self._prepare(schedule, seed, self._recipe_of(sampling, weighting, options.copy()), options)

    @classmethod
    def _recipe_of(
        cls, sampling: str | Sampling, weighting: str | Weighting, options: Options, *, official: bool = False
    ) -> Recipe:
        """Fills in rank and world size, and checks what users give."""
        check_names(options)
        for name, default in zip(("rank", "world_size"), cls._default_layout(), strict=True):
            if options.get(name) is None:
                options[name] = default  # type: ignore[literal-required]
        return Recipe.of(sampling, weighting, official=official, **options)

    @staticmethod
    def _default_layout() -> tuple[int, int]:
        """Rank and world size where the user gives neither."""
        return 0, 1

    def _check_layout(self) -> None:
        """Raises if rank and world size, as they were filled in, have become wrong."""

    def _prepare(self, schedule: NoiseSchedule, seed: int, recipe: Recipe, options: Options) -> None:
        if not isinstance(schedule, NoiseSchedule):
            raise errors.SpeeDiffTypeError(f"schedule must be a NoiseSchedule, got {schedule!r}")
        self.schedule = schedule
        """The schedule that the time steps index."""
        self.seed = _arguments.integer("seed", seed, least=0, end=1 << 64)
        """The seed of every draw."""
        self.recipe = recipe
        """The sampling, the weighting and the options, as they were given."""
        self._layout_is_default = options.get("rank") is None and options.get("world_size") is None
        self._ahead: DrawsAhead[Piece] = DrawsAhead()
        # The user may close the schedule; this one shares its native object.
        self._process = NoiseSchedule(schedule._open_handle(), schedule._description)
        super().__init__(recipe.create(self._process, self.seed))

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
        **options: Unpack[Options],
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
        _arguments.choice("preset", preset, PRESETS)
        if preset == "official" and tau is None and r is None:
            tau = OFFICIAL_TAU
        sampler = cls.__new__(cls)
        recipe = cls._recipe_of(
            Asymmetric(k, tau, r), ChangeAware(lam), options.copy(), official=preset == "official"
        )
        sampler._prepare(schedule, seed, recipe, options)
        return sampler

    def close(self) -> None:
        """Gives up the native object, and what was drawn ahead. Calling it again does nothing."""
        super().close()
        self._ahead = DrawsAhead(self._ahead.next_call())

    @property
    def probabilities(self) -> Table:
        """P, float64, shape (T,): the distribution of a drawn entry (nominal for "official")."""
        return self._open_handle().probabilities()

    @property
    def weights(self) -> Table:
        """w, float64, shape (T,): the factor of each step's loss.

        With `normalize` its mean under `probabilities` is 1. The "official" preset's draws are
        normalized under `marginal(N)` instead, so that theirs is `weights` times a factor near 1.
        """
        return self._open_handle().weights()

    def marginal(self, n: int) -> Table:
        """The exact distribution of an entry taken at random from a global batch of n, shape (T,).

        It differs from `probabilities` for the "official" preset alone, whose duals shift it.
        """
        return self._open_handle().marginal(_arguments.integer("n", n, least=1, end=MAXIMUM_TOTAL + 1))

    def expected_weight(self, n: int | None = None) -> float:
        """E[w] over a global batch of n, before `normalize`; None: under `probabilities`."""
        return self._open_handle().expected_weight(
            0 if n is None else _arguments.integer("n", n, least=1, end=MAXIMUM_TOTAL + 1)
        )

    @property
    def step(self) -> int:
        """The training step of the next batch, counted from 0."""
        return self._ahead.next_call() // self.recipe.accumulation

    def state_dict(self) -> dict[str, Any]:
        """All that continues the draws in another process: method, schedule, seed and step.

        Plain numbers and strings. Rank and world size are not part of it: the global batch does not
        depend on them. Accumulation may change between training steps.
        """
        accumulation = self.recipe.accumulation
        return _state.save(
            self.recipe.describe(), self._process, self.seed, self._ahead.next_call(), accumulation
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken; on error nothing changes.

        Raises:
            SpeeDiffValueError: If the state is of another method, schedule or version, or is
                damaged; the message names the difference.
        """
        self._open_handle()
        seed, call = _state.load(state, self.recipe.describe(), self._process, self.recipe.accumulation)
        handle = self.recipe.create(self._process, seed)
        self.seed = seed
        self._handle = handle
        self._ahead = DrawsAhead(call)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.schedule!r}, {self.recipe.sampling!r}, {self.recipe.weighting!r}, "
            f"seed={self.seed}, step={self.step})"
        )

    def _take(self, n: int, key: object) -> Piece:
        """The next call's batch of n, drawn with those of the calls after it."""
        if not 0 <= n <= _AHEAD_ENTRIES:
            self._open_handle().check_size(_arguments.integer("n", n))
        self._check_layout()
        left = LAST_CALL - self._ahead.next_call()
        if left <= 0:
            raise errors.SpeeDiffValueError(f"step must be below {LAST_CALL} / accumulation, got {self.step}")
        calls = min(left, max(1, min(_AHEAD_CALLS, _AHEAD_ENTRIES // max(n, 1))))

        def draw(call: int, calls: int) -> list[Piece]:
            timesteps = np.empty((calls, n), np.int64)
            weights = np.empty((calls, n), np.float32)
            self._open_handle().draw(call, timesteps, weights)
            return self._split(timesteps, weights, key)

        return self._ahead.take(key, calls, draw)

    def _take_apart(
        self,
        n: int,
        step: int | None,
        micro_batch: int,
        offset: int | None,
        total: int | None,
        out: tuple[Timesteps, Weights] | None,
    ) -> tuple[Timesteps, Weights]:
        """A batch that is not the next of a row of equal ones; arguments as in `sample`."""
        n = _arguments.integer("n", n)
        self._check_layout()
        if step is None and micro_batch != 0:
            raise errors.SpeeDiffValueError(
                f"micro_batch must be given together with step, got {micro_batch}"
            )
        if (offset is None) != (total is None):
            raise errors.SpeeDiffValueError(
                f"offset must be given together with total, got offset = {offset}, total = {total}"
            )
        native = self._open_handle()
        if out is None:
            native.check_size(n)
            timesteps, weights = np.empty(n, np.int64), np.empty(n, np.float32)
        else:
            if not (isinstance(out, tuple) and len(out) == 2):
                raise errors.SpeeDiffTypeError(f"out must be a tuple of two arrays, got {out!r}")
            timesteps = _buffers.check_output("out[0]", out[0], np.int64, n)
            weights = _buffers.check_output("out[1]", out[1], np.float32, n)

        def draw(call: int) -> None:
            if offset is None or total is None:
                native.draw(call, timesteps[np.newaxis], weights[np.newaxis])
            else:
                first, size = _arguments.integer("offset", offset), _arguments.integer("total", total)
                native.draw_slice(call // self.recipe.accumulation, first, size, timesteps, weights)

        if step is None:
            self._ahead.take_apart(draw)
        else:
            draw(self._call_number(step, micro_batch))
        return timesteps, weights

    def _call_number(self, step: int, micro_batch: int) -> int:
        step = _arguments.integer("step", step, least=0)
        micro_batch = _arguments.integer("micro_batch", micro_batch, least=0, end=self.recipe.accumulation)
        call = step * self.recipe.accumulation + micro_batch
        return _arguments.integer("step times accumulation", call, end=LAST_CALL)

    def _split(self, timesteps: Timesteps, weights: Weights, key: object) -> list[Piece]:
        """The rows of a block, as what `sample` returns."""
        raise NotImplementedError
