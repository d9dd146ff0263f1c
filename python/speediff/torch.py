"""The samplers on PyTorch tensors. The only module that imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch

from ._drawing import DrawingBase
from ._native_sampler import NativeDrawing, NativeSampler, NativeSigmaSampler
from ._sampler_base import SamplerBase
from ._sigma_base import SigmaSamplerBase
from .errors import SpeeDiffError, SpeeDiffTypeError, SpeeDiffValueError

if TYPE_CHECKING:
    from ._native_sampler import Levels, Timesteps, Weights

Native = TypeVar("Native", bound=NativeDrawing)

_CPU = torch.device("cpu")


class _OnTensors(DrawingBase[Native, "tuple[torch.Tensor, torch.Tensor]"], Generic[Native]):
    """What a sampler on tensors does in its own way."""

    @staticmethod
    def _default_layout() -> tuple[int, int]:
        if _is_distributed():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    def _check_layout(self) -> None:
        """Refuses a group that was initialized too late: every rank would draw the same batch."""
        made_for, now = (self.recipe.drawing.rank, self.recipe.drawing.world_size), self._default_layout()
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
            The time steps, int64 (batch_size,), 0-based, or the noise levels, float32 (batch_size,): σ, or t
            in [0, 1] for rectified flow; and their weights, float32 (batch_size,). Fresh tensors that the
            caller may change.
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
        levels, weights = self._take_apart(batch_size, step, micro_batch, offset, total, None)
        target = _CPU if device is None else torch.device(device)
        return torch.from_numpy(levels).to(target), torch.from_numpy(weights).to(target)

    def _split(self, levels: Levels, weights: Weights, key: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
        device = _CPU if key[1] is None else torch.device(key[1])
        if device.type == "cpu":
            # Each tensor has a storage and a version counter of its own.
            return list(zip(map(torch.from_numpy, levels), map(torch.from_numpy, weights), strict=True))
        # One copy to the device for the whole block. The rows share its storage, and `data` gives
        # each a version counter of its own, so that autograd does not take a change of one for a
        # change of another.
        rows = zip(
            torch.from_numpy(levels).to(device).unbind(),
            torch.from_numpy(weights).to(device).unbind(),
            strict=True,
        )
        return [(t.data, w.data) for t, w in rows]


class TimestepSampler(_OnTensors[NativeSampler], SamplerBase["tuple[torch.Tensor, torch.Tensor]"]):
    """Draws the time steps of a training run with their weights, as tensors.

    `sample(batch_size, device)` is guided-diffusion's and MDT's `ScheduleSampler` contract. Rank and
    world size are those of `torch.distributed` where it is initialized and nothing else is said, so
    that the ranks of a `torchrun` share one global batch.
    """

    def update(self, t: torch.Tensor, losses: torch.Tensor) -> None:
        """Tells a method that learns the losses of this rank's batch; the next draw follows.

        Where the sampler's ranks are those of `torch.distributed`, every rank calls it, and the losses of all
        are gathered in the order of the ranks: all learn the same. An error on one rank is one on all.

        Args:
            t: Time steps in [0, T), int64 (n,), on any device. n may differ from rank to rank.
            losses: Their losses before any weight, (n,), finite and at least 0; rounded to float32.

        Raises:
            SpeeDiffValueError: If a value is out of range, on any rank, or nothing here learns; then nothing
                has changed on any rank.
            SpeeDiffTypeError: If something is no tensor, or has another dtype or shape.
        """
        self._check_layout()
        if self.recipe.drawing.world_size > 1 and _is_distributed():
            self._learn(*_gathered(t, losses, self.recipe.drawing.rank, self.recipe.drawing.world_size))
        else:
            self._learn(*_batch_arrays(t, losses))


class SigmaSampler(_OnTensors[NativeSigmaSampler], SigmaSamplerBase["tuple[torch.Tensor, torch.Tensor]"]):
    """Draws the noise levels of a continuous process with their weights, as tensors."""


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _batch_arrays(t: object, losses: object) -> tuple[Timesteps, Weights]:
    """The tensors as arrays on the CPU."""
    for name, value in (("t", t), ("losses", losses)):
        if not isinstance(value, torch.Tensor):
            raise SpeeDiffTypeError(f"{name} must be a tensor, got a {type(value).__name__}")
        if value.ndim != 1:
            raise SpeeDiffTypeError(f"{name} must have one dimension, got shape {tuple(value.shape)}")
    assert isinstance(t, torch.Tensor)
    assert isinstance(losses, torch.Tensor)
    if t.dtype != torch.int64 or not losses.dtype.is_floating_point:
        raise SpeeDiffTypeError(
            f"t must have dtype int64, and losses a floating point one, got {t.dtype}, {losses.dtype}"
        )
    if len(t) != len(losses):
        raise SpeeDiffValueError(f"losses must have {len(t)} entries, got {len(losses)}")
    arrays = t.detach().cpu().contiguous(), losses.detach().float().cpu().contiguous()
    return arrays[0].numpy(), arrays[1].numpy()


def _gathered(t: object, losses: object, rank: int, world_size: int) -> tuple[Timesteps, Weights]:
    """The batches of all ranks, one after the other, on every rank."""
    actual = torch.distributed.get_world_size()
    error: SpeeDiffError | None = None
    try:
        if (rank, world_size) != (torch.distributed.get_rank(), actual):
            raise SpeeDiffValueError(
                f"rank and world_size must be those of torch.distributed, got {rank} of {world_size}"
            )
        arrays = _batch_arrays(t, losses)
    except SpeeDiffError as mistake:
        error = mistake
    # NCCL moves memory of the GPU alone.
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    # A rank whose arguments are wrong still takes part, or the others would wait for it for ever.
    size = torch.tensor([-1 if error else len(arrays[0])], device=device)
    sizes = [torch.empty_like(size) for _ in range(actual)]
    torch.distributed.all_gather(sizes, size)
    counts = [int(count) for count in sizes]
    if error:
        raise error
    if -1 in counts:
        raise SpeeDiffValueError(
            f"update must get valid tensors on every rank, got others on rank {counts.index(-1)}"
        )
    # One exchange: float32 values travel by their bits, next to the time steps.
    packed = torch.zeros(2, max(counts), dtype=torch.int64)
    packed[0, : len(arrays[0])] = torch.from_numpy(arrays[0])
    packed[1, : len(arrays[1])] = torch.from_numpy(arrays[1]).view(torch.int32)
    parts = [torch.empty_like(packed, device=device) for _ in counts]
    torch.distributed.all_gather(parts, packed.to(device))
    rows = torch.cat([part[:, :count] for part, count in zip(parts, counts, strict=True)], dim=1).cpu()
    return rows[0].numpy(), rows[1].to(torch.int32).view(torch.float32).numpy()
