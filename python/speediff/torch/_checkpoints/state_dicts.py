"""State dicts of adopted modules whose parameters share one tensor of the trainer."""

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
"""The hooks by module. A module may be adopted again without a release."""


def hook_state_dicts(what: str, module: torch.nn.Module, parts: Mapping[str, Part]) -> list[RemovableHandle]:
    """Separates in state dicts the parameters that share one trainer tensor, as diffusers' embedders do.

    `state_dict` returns no two tensors with the same memory, because safetensors and `save_pretrained`
    reject those. `load_state_dict` accepts only equal values; otherwise the last would win.

    Args:
        what: The module's name in errors.
        module: The module, or its average.
        parts: The place of each parameter in the trainer's memory.

    Returns:
        Handles that remove the hooks.
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
    """Copies all but the first tensor of each memory. Stateless, so copies of the module may keep it."""
    seen: set[int] = set()
    for name, tensor in state.items():
        # keep_vars asks for the parameters themselves.
        if not name.startswith(prefix) or isinstance(tensor, torch.nn.Parameter):
            continue
        if isinstance(tensor, torch.Tensor) and tensor.numel():
            if tensor.data_ptr() in seen:
                state[name] = tensor.clone()
            seen.add(tensor.data_ptr())


class _EqualOnly:
    """Rejects state dicts with different values for one tensor. Copies of the module do not check."""

    def __init__(self, what: str, parts: Mapping[str, Part]) -> None:
        self._what, self._parts = what, parts

    def __call__(self, state: Mapping[str, Any], prefix: str, *_: object) -> None:
        given = {name: state.get(prefix + name) for name in self._parts}
        tensors = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
        check_equal(f"the state dict for {self._what} at ", tensors, self._parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return _EqualOnly, (self._what, {})
