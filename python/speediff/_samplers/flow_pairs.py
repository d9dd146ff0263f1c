"""Pairs of times (t, r) of rectified flow, for NumPy and PyTorch; only the array types differ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from .._methods.sampling_base import resolve_sampling
from .._support import arguments
from ..errors import SpeeDiffTypeError, SpeeDiffValueError
from ..sampling import Table
from ..schedules import NoiseSchedule

if TYPE_CHECKING:
    from ..sampling import Sampling
    from ..weighting import Weighting
    from .recipe import Options

Array = TypeVar("Array")

VERSION = 1
_PARTS = "first", "second", "choice"


class FlowPairsBase(ABC, Generic[Array]):
    """Draws pairs t ≥ r of rectified flow, of which a share has r ≠ t (MeanFlow, Geng et al. 2025).

    Made by `SigmaSampler.flow_pairs`. It is three samplers of one global batch: two of times, and one that
    chooses the entries with r ≠ t. Ranks, micro-batches, strata and resuming are as for them.
    """

    _levels: ClassVar[Any]
    """The class of the samplers of times."""
    _timesteps: ClassVar[Any]
    """The class of the sampler that chooses."""

    def __init__(
        self,
        seed: int,
        sampling: str | Sampling,
        second: str | Sampling | None,
        q: float,
        fixed_count: bool,
        weighting: str | Weighting | None,
        options: Options,
    ) -> None:
        share = arguments.real("q", q)
        if not 0 <= share <= 1:
            raise SpeeDiffValueError(f"q must be in [0, 1], got {q!r}")
        if options.get("normalize"):
            raise SpeeDiffValueError("normalize must be False for pairs, whose t is the larger of two draws")
        self.q = share
        """The share of the entries with r ≠ t."""
        self.fixed_count = arguments.flag("fixed_count", fixed_count)
        """Whether each global batch has the same number of them."""
        seed = arguments.integer("seed", seed, least=0, end=1 << 64)
        flow = self._levels.flow
        second = sampling if second is None else resolve_sampling("second", second)
        self._first = flow(seed, sampling=sampling, weighting=weighting, **options)
        self._second = flow(_derived(seed, 1), sampling=second, weighting=weighting, **options)
        layout: Any = {**options, "strata": "low_discrepancy" if self.fixed_count else "none"}
        # Two steps: r ≠ t, and r = t.
        self._choice = self._timesteps(
            NoiseSchedule.from_alphas_cumprod([0.75, 0.25]),
            Table([share, 1 - share]),
            seed=_derived(seed, 2),
            **layout,
        )
        if self._first.learns or self._second.learns:
            raise SpeeDiffValueError("sampling and weighting of pairs must not learn from losses")

    @property
    def _parts(self) -> tuple[Any, Any, Any]:
        return self._first, self._second, self._choice

    @property
    def seed(self) -> int:
        """The seed of every draw."""
        seed: int = self._first.seed
        return seed

    @property
    def step(self) -> int:
        """The training step of the next batch, counted from 0. Set it to resume a run."""
        step: int = self._first.step
        return step

    @step.setter
    def step(self, step: int) -> None:
        for part in self._parts:
            part.step = step

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue the draws elsewhere, as plain values."""
        states = {name: part.state_dict() for name, part in zip(_PARTS, self._parts, strict=True)}
        return {"version": VERSION, **states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state from `state_dict`; on error nothing changes.

        Raises:
            SpeeDiffValueError: If the state belongs to other methods or options, or is damaged.
        """
        if not isinstance(state, dict) or set(state) != {"version", *_PARTS}:
            raise SpeeDiffTypeError("state must be the result of a pair sampler's state_dict")
        if state["version"] != VERSION:
            raise SpeeDiffValueError(f"state must have version {VERSION}, got {state['version']!r}")
        before = self.state_dict()
        try:
            for name, part in zip(_PARTS, self._parts, strict=True):
                part.load_state_dict(state[name])
        except BaseException:
            for name, part in zip(_PARTS, self._parts, strict=True):
                part.load_state_dict(before[name])
            raise

    def close(self) -> None:
        """Frees the native objects. Calling it again does nothing."""
        for part in self._parts:
            part.close()

    def _draw(self, *arguments: Any, **place: Any) -> tuple[Array, Array, Array]:
        """t, r and the weights at t, from the samplers' next batches or those of a step."""
        if place.get("step") is None:
            self._align()
        (a, w_a), (b, w_b), (chosen, _) = (part.sample(*arguments, **place) for part in self._parts)
        return self._paired(a, b, w_a, w_b, chosen)

    def _align(self) -> None:
        """Brings the samplers to the same call, if an interrupted draw has parted them."""
        call = self._first._ahead.next_call()
        for part in (self._second, self._choice):
            if part._ahead.next_call() != call:
                part._ahead.go_to(call)

    @staticmethod
    @abstractmethod
    def _paired(a: Any, b: Any, w_a: Any, w_b: Any, chosen: Any) -> tuple[Array, Array, Array]:
        """t, r and the weights at t; `chosen` is 0 where r ≠ t."""

    def __repr__(self) -> str:
        sampling, second = self._first.recipe.sampling, self._second.recipe.sampling
        return (
            f"{type(self).__name__}({sampling!r}, {second!r}, q={self.q}, fixed_count={self.fixed_count}, "
            f"seed={self.seed}, step={self.step})"
        )


def _derived(seed: int, place: int) -> int:
    """Another seed, so that the samplers' draws are independent."""
    import hashlib  # Here: it loads OpenSSL, which takes longer than the rest of this file.

    return int.from_bytes(hashlib.sha256(f"flow_pairs {seed} {place}".encode()).digest()[:8], "little")
