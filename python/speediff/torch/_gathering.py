"""The losses of a batch as arrays, from one rank or from all ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..errors import SpeeDiffError, SpeeDiffTypeError, SpeeDiffValueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._native.native_sampler import Levels, Weights


def is_distributed() -> bool:
    """Whether torch.distributed is initialized."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def batch_arrays(
    t: object, losses: object, name: str = "t", dtype: torch.dtype = torch.int64
) -> tuple[Levels, Weights]:
    """Converts the tensors of timesteps or noise levels, called `name`, and losses to CPU arrays."""
    for argument, value in ((name, t), ("losses", losses)):
        if not isinstance(value, torch.Tensor):
            raise SpeeDiffTypeError(f"{argument} must be a tensor, got a {type(value).__name__}")
        if value.ndim != 1:
            raise SpeeDiffTypeError(f"{argument} must have one dimension, got shape {tuple(value.shape)}")
    assert isinstance(t, torch.Tensor)
    assert isinstance(losses, torch.Tensor)
    if t.dtype != dtype or not losses.dtype.is_floating_point:
        raise SpeeDiffTypeError(
            f"{name} must have dtype {str(dtype).partition('.')[2]}, and losses a floating point one, "
            f"got {t.dtype}, {losses.dtype}"
        )
    if len(t) != len(losses):
        raise SpeeDiffValueError(f"losses must have {len(t)} entries, got {len(losses)}")
    if t.device != losses.device or t.device.type == "meta":
        raise SpeeDiffValueError(
            f"losses must be on the device of {name} and have values, got {losses.device}, "
            f"{name} on {t.device}"
        )
    arrays = t.detach().cpu().contiguous(), losses.detach().float().cpu().contiguous()
    return arrays[0].numpy(), arrays[1].numpy()


def gathered(
    local: Callable[[], tuple[Levels, Weights]], rank: int, world_size: int, dtype: torch.dtype = torch.int64
) -> tuple[Levels, Weights]:
    """Concatenates all ranks' batches on every rank. `local` returns this rank's batch or raises."""
    actual = torch.distributed.get_world_size()
    error: SpeeDiffError | None = None
    try:
        if (rank, world_size) != (torch.distributed.get_rank(), actual):
            raise SpeeDiffValueError(
                f"rank and world_size must be those of torch.distributed, got {rank} of {world_size}"
            )
        arrays = local()
    except SpeeDiffError as mistake:
        error = mistake
    # NCCL supports only GPU memory.
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    # A rank with invalid arguments still takes part; otherwise the others would wait forever.
    size = torch.tensor([-1 if error else len(arrays[0])], device=device)
    sizes = [torch.empty_like(size) for _ in range(actual)]
    torch.distributed.all_gather(sizes, size)
    counts = [int(count) for count in sizes]
    if error:
        raise error
    if -1 in counts:
        raise SpeeDiffValueError(
            f"update needs valid tensors on every rank, got invalid ones on rank {counts.index(-1)}"
        )
    # One exchange: the bits of the float32 values are sent next to the timesteps or levels.
    packed = torch.zeros(2, max(counts), dtype=torch.int64)
    packed[0, : len(arrays[0])] = _bits(arrays[0])
    packed[1, : len(arrays[1])] = _bits(arrays[1])
    parts = [torch.empty_like(packed, device=device) for _ in counts]
    torch.distributed.all_gather(parts, packed.to(device))
    rows = torch.cat([part[:, :count] for part, count in zip(parts, counts, strict=True)], dim=1).cpu()
    return _values(rows[0], dtype), _values(rows[1], torch.float32)


def _bits(values: Levels) -> torch.Tensor:
    tensor = torch.from_numpy(values)
    return tensor.view(torch.int32) if tensor.dtype == torch.float32 else tensor


def _values(bits: torch.Tensor, dtype: torch.dtype) -> Levels:
    return (bits.to(torch.int32).view(torch.float32) if dtype == torch.float32 else bits).numpy()
