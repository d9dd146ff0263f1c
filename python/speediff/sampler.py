"""The time-step sampler on NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._sampler_base import SamplerBase

if TYPE_CHECKING:
    from ._native_sampler import Timesteps, Weights


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
        if (
            step is None
            and offset is None
            and total is None
            and out is None
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
        return self._take_apart(n, step, micro_batch, offset, total, out)

    def _split(self, timesteps: Timesteps, weights: Weights, key: object) -> list[tuple[Timesteps, Weights]]:
        return list(zip(timesteps, weights, strict=True))
