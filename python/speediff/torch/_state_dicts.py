"""State dicts of modules of which several parameters share the trainer's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


def keep_apart(module: torch.nn.Module) -> RemovableHandle:
    """Makes the module's state dicts hold no two tensors with the same memory, until the handle is removed.

    safetensors, and so `save_pretrained`, refuses such tensors; diffusers' embedders of all blocks are some.
    """
    handle: RemovableHandle = module._register_state_dict_hook(_separate)  # type: ignore[no-untyped-call]
    return handle


def _separate(module: torch.nn.Module, state: dict[str, Any], prefix: str, _: object) -> None:
    """Copies all but the first tensor of each memory. It has no state: copies of a module may keep it."""
    seen: set[int] = set()
    for name, tensor in state.items():
        # With keep_vars the parameters themselves are wanted.
        if not name.startswith(prefix) or isinstance(tensor, torch.nn.Parameter):
            continue
        if isinstance(tensor, torch.Tensor) and tensor.numel():
            if tensor.data_ptr() in seen:
                state[name] = tensor.clone()
            seen.add(tensor.data_ptr())
