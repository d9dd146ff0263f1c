"""The samplers on NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from ._native import buffers
from ._native.native_sampler import NativeDrawing, NativeSampler, NativeSigmaSampler
from ._samplers.drawing import DrawingBase
from ._samplers.flow_pairs import FlowPairsBase
from ._samplers.moves import is_slice, read
from ._samplers.sampler_base import SamplerBase
from ._samplers.sigma_base import SigmaSamplerBase
from ._support import arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

    from ._native.native_sampler import Levels, Timesteps, Weights
    from ._samplers.moves import Values
    from ._samplers.recipe import Options
    from .sampling import Sampling
    from .weighting import Weighting

Native = TypeVar("Native", bound=NativeDrawing)
First = TypeVar("First")
"""The array of timesteps, or of noise levels."""


class _OnArrays(DrawingBase[Native, "tuple[First, Weights]"], Generic[Native, First]):
    """What the samplers on NumPy arrays share."""

    def sample(
        self,
        n: int,
        *,
        step: int | None = None,
        micro_batch: int = 0,
        offset: int | Values = None,
        total: int | None = None,
        out: tuple[First, Weights] | None = None,
        shift: Values = None,
    ) -> tuple[First, Weights]:
        """Draws this rank's next batch, or its batch of any step.

        Args:
            n: The local batch size, at least 0. The global batch has n·world_size·accumulation entries,
                at most 2³¹.
            step: Draw this training step (the first is 0) and leave the counter alone.
            micro_batch: Which call of `step`, in [0, accumulation).
            offset: An integer, for uneven batches, with total: draw the entries [offset, offset + n) of a
                global batch of total. The "official" preset makes its pairs within them. An array (n,) or a
                float: move each entry's noise level instead, λ' = λ - 2·offset, as shift = e^offset does.
            total: The size of the global batch.
            shift: Each entry's shift a, (n,), or one for all, above 0: λ' = λ - 2·ln a, which is
                t' = a·t/(1+(a-1)·t) for rectified flow. `speediff.shifts` has the usual rules. The uniform
                numbers do not depend on it, strata hold before it, and weights are those of the moved levels.
                VP and VE truncate the moved density to their range. A `TimestepSampler` needs a
                flow-matching schedule (prediction="flow") and returns the step with the nearest σ.
                `normalize`, weights that depend on the density, and methods that learn exclude it.
            out: Arrays to write to: contiguous, writable, with shape (n,) and the dtypes of the result.

        Returns:
            The timesteps, int64 (n,), 0-based, or the noise levels, float32 (n,): σ, or for rectified flow t
            in (0, 1), where 1 is noise. Then their weights, float32 (n,). The arrays are new; the caller may
            change them.
        """
        if (
            step is None
            and offset is None
            and total is None
            and out is None
            and shift is None
            and micro_batch == 0
            and type(n) is int
        ):
            block = self._ahead.block
            if n == block.key:
                try:
                    return block.pieces.pop()
                except IndexError:
                    pass
            return self._take(n, n)
        place, noise = (offset, None) if is_slice(offset, total) else (None, offset)
        moves = None
        if shift is not None or noise is not None:
            moves = read(shift, noise, arguments.integer("n", n))
        levels, weights = self._take_apart(n, step, micro_batch, place, total, out, moves)
        return levels, weights

    def validation(
        self, n: int, shape: Sequence[int], seed: int = 0, *, sampling: str | Sampling | None = None
    ) -> tuple[First, Weights]:
        """A fixed set of noise levels and noise, so that a validation loss has no luck in it.

        It depends on nothing but the arguments and the schedule or process: not on this sampler's density,
        seed, step or rank. The levels are stratified, one in each n-th of the density, in random order.
        Compute the loss without weights, always on the same data, and take the mean.

        Args:
            n: The number of entries, at least 1. Each rank gets all of them.
            shape: That of one entry, such as (4, 32, 32).
            seed: In [0, 2⁶⁴). An entry's noise depends on (seed, index) alone.
            sampling: A name or an object. None: uniform in the step, in t (VP, flow) or in ln σ (VE); for
                EDM, which has no bounded variable, the process's own density.

        Returns:
            The timesteps or noise levels as from `sample`, (n,), and standard normal noise, float32
            (n, *shape).
        """
        return self._validation(n, shape, seed, sampling)

    def _split(self, levels: Levels, weights: Weights, key: Any) -> list[tuple[First, Weights]]:
        return list(zip(levels, weights, strict=True))


class TimestepSampler(_OnArrays[NativeSampler, "Timesteps"], SamplerBase["tuple[Timesteps, Weights]"]):
    """Draws the timesteps of a training run with their weights, once per batch.

    A draw is a pure function of (seed, step, index in the global batch, size of the global batch), and for
    methods that learn also of the losses so far. To resume a run you only need its step number. Rank r of W
    draws its slice of the same global batch without communication. Only the "official" preset makes its pairs
    within each call's batch, so its draws also depend on how the global batch is divided. A copy or a pickle
    draws what the original would have drawn. So does a forked worker, with a warning: draw in the training
    process.
    """

    def update(self, t: Timesteps, losses: Weights) -> None:
        """Updates a method that learns with the losses of a batch; the next draw uses them.

        With several ranks, pass each rank the losses of the whole global batch in rank order, so that all
        learn the same (`speediff.torch` gathers them itself).

        Args:
            t: Timesteps in [0, T), int64 (n,).
            losses: Their unweighted losses, float32 (n,), finite and at least 0.

        Raises:
            SpeeDiffValueError: If a value is out of range, or the method does not learn. Nothing has changed.
            SpeeDiffTypeError: If an array has another dtype or layout.
        """
        timesteps = buffers.check("t", t, np.int64)
        values = buffers.check_count("losses", losses, np.float32, len(timesteps))
        self._learn(lambda native: native.update(self.step, timesteps, values))


class SigmaSampler(_OnArrays[NativeSigmaSampler, "Weights"], SigmaSamplerBase["tuple[Weights, Weights]"]):
    """Draws the noise levels of a continuous process with their weights, once per batch.

    As with `TimestepSampler`, a draw is a pure function of (seed, step, index in the global batch, size of
    the global batch), and for methods that learn also of the losses so far.
    """

    def update(self, levels: Weights, losses: Weights) -> None:
        """Updates a method that learns with the losses of a batch; the next draw uses them.

        With several ranks, pass each rank the losses of the whole global batch in rank order, so that all
        learn the same (`speediff.torch` gathers them itself).

        Args:
            levels: σ, or t for rectified flow, as `sample` returned them, float32 (n,).
            losses: Their unweighted losses, float32 (n,), finite and at least 0.

        Raises:
            SpeeDiffValueError: If a value is out of range, or the method does not learn. Nothing has changed.
            SpeeDiffTypeError: If an array has another dtype or layout.
        """
        drawn = buffers.check("levels", levels, np.float32)
        values = buffers.check_count("losses", losses, np.float32, len(drawn))
        self._learn(lambda native: native.update(self.step, drawn, values))

    @staticmethod
    def flow_pairs(
        seed: int = 0,
        *,
        sampling: str | Sampling = "logit_normal",
        second: str | Sampling | None = None,
        q: float = 0.25,
        fixed_count: bool = True,
        weighting: str | Weighting | None = None,
        **options: Unpack[Options],
    ) -> FlowPairs:
        """Pairs of times t ≥ r of rectified flow, of which a share q has r ≠ t (MeanFlow, Geng et al. 2025).

        Two times are drawn for each entry; t is the larger, and r the smaller in the chosen entries, and t in
        the others. MeanFlow trains ImageNet with `LogitNormal(-0.4, 1)` and q = 0.25, and CIFAR-10 with
        `LogitNormal(-2, 2)` and q = 0.75. Its weight 1/(error + c)^p is yours to apply.

        Args:
            seed: In [0, 2⁶⁴); the same on every rank.
            sampling: The density of the first time; u grows with noise.
            second: The density of the second time. None: `sampling`.
            q: In [0, 1].
            fixed_count: Whether each global batch of N entries has q·N with r ≠ t, as in the ports. If that
                is no whole number, it is rounded up or down at random. False: each entry by itself.
            weighting: The weight at t. None: 1.
            **options: As for `SigmaSampler`, except `normalize`.

        Returns:
            A sampler whose `sample(n)` returns t, r and the weights, as `SigmaSampler.sample` takes it.
        """
        return FlowPairs(seed, sampling, second, q, fixed_count, weighting, options)


class FlowPairs(FlowPairsBase["Weights"]):
    """Pairs of times of rectified flow; see `SigmaSampler.flow_pairs`."""

    _levels, _timesteps = SigmaSampler, TimestepSampler

    def sample(
        self,
        n: int,
        *,
        step: int | None = None,
        micro_batch: int = 0,
        offset: int | None = None,
        total: int | None = None,
    ) -> tuple[Weights, Weights, Weights]:
        """Draws this rank's next batch, or its batch of any step; arguments as for `SigmaSampler.sample`.

        Returns:
            t and r, float32 (n,), r ≤ t in (0, 1), where 1 is noise. Then the weights at t, float32 (n,).
        """
        return self._draw(n, step=step, micro_batch=micro_batch, offset=offset, total=total)

    @staticmethod
    def _paired(
        a: Weights, b: Weights, w_a: Weights, w_b: Weights, chosen: Timesteps
    ) -> tuple[Weights, Weights, Weights]:
        t = np.maximum(a, b)
        return t, np.where(chosen == 0, np.minimum(a, b), t), np.where(a >= b, w_a, w_b)
