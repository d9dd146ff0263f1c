"""PyTorch tensors whose values live in the trainer's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from ...errors import SpeeDiffValueError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Shared(NamedTuple):
    """A tensor and its view of the trainer's memory."""

    name: str
    tensor: torch.Tensor
    view: torch.Tensor
    """A view of the trainer's memory."""


class SharedMemory:
    """Tensors that are views of the trainer's memory until they are released."""

    def __init__(self, shared: Iterable[Shared]) -> None:
        """Points the tensors at their values in the trainer's memory. A tensor may be listed twice."""
        self._shared = list({id(each.tensor): each for each in shared}.values())
        for each in self._shared:
            each.tensor.data = each.view
        self._tensors = [each.tensor for each in self._shared]
        # `share_memory` moves the storage together with the view, so remember the original address.
        self._places = self._look()

    def check(self) -> None:
        """Raises if a tensor has moved or changed its strides."""
        places = self._look()
        if places == self._places:
            return
        moved = next(
            each
            for each, now, before in zip(self._shared, places, self._places, strict=True)
            if now != before
        )
        raise SpeeDiffValueError(
            f"{moved.name} must stay in the trainer's memory, got {_found(moved.tensor)}; release the module "
            "first, and adopt it again afterwards"
        )

    def release(self) -> None:
        """Moves each tensor to PyTorch's memory unless it already moved. Calling it again does nothing."""
        for each, now, before in zip(self._shared, self._look(), self._places, strict=True):
            if now == before:
                each.tensor.data = each.tensor.data.clone()
        self._shared, self._tensors, self._places = [], [], []

    def _look(self) -> list[tuple[int, tuple[int, ...]]]:
        places, strides = map(torch.Tensor.data_ptr, self._tensors), map(torch.Tensor.stride, self._tensors)
        return [*zip(places, strides, strict=True)]


def _found(tensor: torch.Tensor) -> str:
    """Where the tensor is instead, and the usual cause."""
    if tensor.device.type != "cpu":
        return f"it on {tensor.device}, as by .to(device)"
    if tensor.dtype != torch.float32:
        return f"{tensor.dtype}, as by .to(dtype) or .half()"
    if tensor.is_shared():  # type: ignore[no-untyped-call]
        return "it in memory of several processes, as by share_memory()"
    return "it in other memory, as by assigning to .data"
