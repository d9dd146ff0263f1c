"""State dicts of an adopted module of which several parameters are one tensor of the trainer's."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch

from .._adoption.module_checks import check_equal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch.utils.hooks import RemovableHandle

    from .._adoption.places import Part


_hooked: weakref.WeakKeyDictionary[torch.nn.Module, list[RemovableHandle]] = weakref.WeakKeyDictionary()
"""The hooks of modules, which may be adopted again without a release."""


def hook_state_dicts(what: str, module: torch.nn.Module, parts: Mapping[str, Part]) -> list[RemovableHandle]:
    """Keeps apart in state dicts what is one tensor of the trainer: diffusers' embedders of all blocks.

    `state_dict` gives no two tensors with the same memory, which safetensors and `save_pretrained` refuse.
    `load_state_dict` takes only equal values for them; else the last would win.

    Args:
        what: How a message calls the module.
        module: The module, or its average.
        parts: Where each of its parameters lies.

    Returns:
        What removes the hooks.
    """
    for handle in _hooked.pop(module, []):
        handle.remove()
    if len(set(parts.values())) == len(parts):
        return []
    _hooked[module] = [
        module._register_state_dict_hook(_separate),  # type: ignore[no-untyped-call]
        module._register_load_state_dict_pre_hook(_EqualOnly(what, parts)),  # type: ignore[no-untyped-call]
    ]
    return _hooked[module]


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


class _EqualOnly:
    """Refuses state dicts with several values for one tensor. Copies, in those of the module, refuse none."""

    def __init__(self, what: str, parts: Mapping[str, Part]) -> None:
        self._what, self._parts = what, parts

    def __call__(self, state: Mapping[str, Any], prefix: str, *_: object) -> None:
        given = {name: state.get(prefix + name) for name in self._parts}
        tensors = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
        check_equal(f"what {self._what} loads as ", tensors, self._parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return _EqualOnly, (self._what, {})
