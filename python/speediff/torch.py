"""The time-step sampler on PyTorch tensors. The only module that imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ._sampler_base import SamplerBase
from .errors import SpeeDiffValueError

if TYPE_CHECKING:
    from ._native_sampler import Timesteps, Weights

_CPU = torch.device("cpu")


class TimestepSampler(SamplerBase["tuple[torch.Tensor, torch.Tensor]"]):
    """Draws the time steps of a training run with their weights, as tensors.

    `sample(batch_size, device)` is guided-diffusion's and MDT's `ScheduleSampler` contract. Rank and
    world size are those of `torch.distributed` where it is initialized and nothing else is said, so
    that the ranks of a `torchrun` share one global batch.
    """

    @staticmethod
    def _default_layout() -> tuple[int, int]:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    def _check_layout(self) -> None:
        """Refuses a group that was initialized too late: every rank would draw the same batch."""
        made_for, now = (self.recipe.rank, self.recipe.world_size), self._default_layout()
        if self._layout_is_default and now[1] > 1 and made_for != now:
            raise SpeeDiffValueError(
                "the sampler must be made after torch.distributed is initialized, or with rank and "
                f"world_size; got one made for rank {made_for[0]} of {made_for[1]} "
                f"in rank {now[0]} of {now[1]}"
            )

    def sample(
        self,
        batch_size: int,
        device: torch.device | str | int | None = None,
        *,
        step: int | None = None,
        micro_batch: int = 0,
        offset: int | None = None,
        total: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draws the next batch of this rank, or that of any step.

        Args:
            batch_size: The local batch, at least 0.
            device: Where the tensors go; None: the CPU.
            step: Draw this training step (the first is 0) and leave the counter alone.
            micro_batch: Which call of `step`, in [0, accumulation).
            offset: For uneven batches, with total: draw the entries [offset, offset + batch_size) of
                a global batch of total.
            total: The size of the global batch.

        Returns:
            The time steps, int64 (batch_size,), 0-based, and their weights, float32 (batch_size,).
            Fresh tensors that the caller may change.
        """
        if step is None and offset is None and total is None and micro_batch == 0 and type(batch_size) is int:
            key = (batch_size, device)
            block = self._ahead.block
            if key == block.key:
                try:
                    return block.pieces.pop()
                except IndexError:
                    pass
            return self._take(batch_size, key)
        timesteps, weights = self._take_apart(batch_size, step, micro_batch, offset, total, None)
        target = _CPU if device is None else torch.device(device)
        return torch.from_numpy(timesteps).to(target), torch.from_numpy(weights).to(target)

    def _split(
        self, timesteps: Timesteps, weights: Weights, key: Any
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        device = _CPU if key[1] is None else torch.device(key[1])
        if device.type == "cpu":
            # Each tensor has a storage and a version counter of its own.
            return list(zip(map(torch.from_numpy, timesteps), map(torch.from_numpy, weights), strict=True))
        # One copy to the device for the whole block. The rows share its storage, and `data` gives
        # each a version counter of its own, so that autograd does not take a change of one for a
        # change of another.
        rows = zip(
            torch.from_numpy(timesteps).to(device).unbind(),
            torch.from_numpy(weights).to(device).unbind(),
            strict=True,
        )
        return [(t.data, w.data) for t, w in rows]
