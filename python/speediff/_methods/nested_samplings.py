"""Samplings that are made of other samplings."""

from __future__ import annotations

import ctypes
import math
from typing import TYPE_CHECKING, ClassVar

from .._native import c_api as c
from .._support import arguments as checks
from ..errors import SpeeDiffTypeError, SpeeDiffValueError
from .sampling_base import Sampling, native_sampling, resolve_sampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._native.handles import Handle


class Shifted(Sampling, formula="base at λ' = λ-2·ln(shift)", source="SD3, Esser et al. 2024, Section 5.3.2"):
    """A sampling shifted towards more noise: σ' = shift·σ/(1+(shift-1)σ), σ = 1/(1+√S) (Esser et al. 2024).

    A base in λ is shifted exactly. Any other base is treated as constant within each step's bin of λ. Mass
    that leaves the schedule's range is dropped.

    Args:
        base: A sampling or its name.
        shift: Above 0. SD3 uses 3 at 1024²; Flux uses e^μ, μ from 0.5 (256 tokens) to 1.15 (4096).
    """

    base: str | Sampling = "uniform"
    shift: float = 3.0
    combines: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Resolves the name."""
        self._set("base", resolve_sampling("base", self.base))
        super().__post_init__()

    def _create(self) -> Handle:
        base = resolve_sampling("base", self.base)._create()
        return native_sampling(c.speediff_sampling_create_shifted, base.pointer, self.shift)


class Truncated(
    Sampling,
    formula="base within [start, end) or [low, high), renormalized",
    source="diffusers' time-step bias",
):
    """A sampling restricted to a range. Use it in a `Mixture` to favour the range.

    On a schedule the range is the steps [start, end). For a continuous process it is the levels [low, high):
    t of rectified flow, σ of the others. The density keeps its shape within the range.

    Args:
        base: A sampling or its name.
        start: The first step, 0-based, at least 0.
        end: One past the last step, above start. None: T.
        low: The least level, at least 0. None, with high given: 0.
        high: The end of the levels, above low. None, with low given: no bound.
    """

    base: str | Sampling = "uniform"
    start: int = 0
    end: int | None = None
    low: float | None = None
    high: float | None = None
    added_later: ClassVar[tuple[str, ...]] = ("low", "high")
    combines: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Resolves the name, and checks that only one range is given."""
        self._set("base", resolve_sampling("base", self.base))
        levels = self.low is not None or self.high is not None
        if levels and (self.start != 0 or self.end is not None):
            raise SpeeDiffValueError(
                "low and high must not be given together with start and end, got "
                f"[{self.low}, {self.high}) and [{self.start}, {self.end})"
            )
        super().__post_init__()

    def _create(self) -> Handle:
        base = resolve_sampling("base", self.base)._create()
        if self.low is not None or self.high is not None:
            low, high = self.low or 0.0, math.inf if self.high is None else self.high
            return native_sampling(c.speediff_sampling_create_truncated_levels, base.pointer, low, high)
        end = checks.LAST if self.end is None else self.end
        return native_sampling(c.speediff_sampling_create_truncated, base.pointer, self.start, end)


class Mixture(Sampling, formula="share·a + (1-share)·b", source="SpeeDiff"):
    """A mixture of two samplings: share·a + (1-share)·b.

    Args:
        a: A sampling or its name.
        b: Another sampling or its name.
        share: The share of a, in [0, 1].
    """

    a: str | Sampling = "uniform"
    b: str | Sampling = "laplace"
    share: float = 0.5
    combines: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Resolves the names."""
        self._set("a", resolve_sampling("a", self.a))
        self._set("b", resolve_sampling("b", self.b))
        super().__post_init__()

    def _create(self) -> Handle:
        a, b = resolve_sampling("a", self.a)._create(), resolve_sampling("b", self.b)._create()
        return native_sampling(c.speediff_sampling_create_mixture, a.pointer, b.pointer, self.share)


class Blend(Sampling, formula="(1-s)·first + s·second, s from start_step to end_step", source="SpeeDiff"):
    """Interpolates from one sampling to another, linearly in training progress, in thousandths.

    `probabilities` are those of the next batch. Progress is measured by the sampler's count of optimizer
    steps.

    Args:
        first: The sampling up to start_step, or its name.
        second: The sampling from end_step on, or its name.
        start_step: At least 0.
        end_step: Above start_step, at most 2⁵³.
    """

    first: str | Sampling = "laplace"
    second: str | Sampling = "uniform"
    start_step: int = 0
    end_step: int = 50_000
    combines: ClassVar[bool] = True

    @property
    def follows_training(self) -> bool:
        """Yes."""
        return True

    def __post_init__(self) -> None:
        """Resolves the names."""
        self._set("first", resolve_sampling("first", self.first))
        self._set("second", resolve_sampling("second", self.second))
        super().__post_init__()

    def _create(self) -> Handle:
        first, second = (
            resolve_sampling("first", self.first)._create(),
            resolve_sampling("second", self.second)._create(),
        )
        steps = (self.start_step, self.end_step)
        return native_sampling(c.speediff_sampling_create_blend, first.pointer, second.pointer, *steps)


class Stages(
    Sampling, formula="the sampling of the last stage that has begun", source="curricula, Kim et al. 2024"
):
    """One sampling after another, each from its training step on. `Blend` is its smooth form.

    Samplings that learn do so from the beginning, whichever stage is drawn.

    Args:
        stages: (step, sampling) pairs: the training step from which on the sampling, or its name, holds. The
            first step is 0, and they increase, up to 2⁵³.
    """

    stages: Sequence[tuple[int, str | Sampling]] = ((0, "laplace"), (50_000, "uniform"))
    combines: ClassVar[bool] = True

    @property
    def follows_training(self) -> bool:
        """Yes."""
        return True

    def __post_init__(self) -> None:
        """Resolves the names."""
        if not isinstance(self.stages, (list, tuple)):
            raise SpeeDiffTypeError(f"stages must be a list of (step, sampling) pairs, got {self.stages!r}")
        self._set("stages", tuple(_stage(i, stage) for i, stage in enumerate(self.stages)))
        super().__post_init__()

    def _create(self) -> Handle:
        create, count = c.speediff_sampling_create_stages, len(self.stages)
        parts = [resolve_sampling("stages", sampling)._create() for _, sampling in self.stages]
        starts = (ctypes.c_int64 * count)(*(start for start, _ in self.stages))
        return native_sampling(create, starts, (c.sampling_p * count)(*(p.pointer for p in parts)), count)


def _stage(i: int, stage: object) -> tuple[int, Sampling]:
    if not isinstance(stage, (list, tuple)) or len(stage) != 2:
        raise SpeeDiffTypeError(f"stages[{i}] must be a (step, sampling) pair, got {stage!r}")
    start, sampling = stage
    return checks.integer(f"stages[{i}][0]", start), resolve_sampling(f"stages[{i}][1]", sampling)
