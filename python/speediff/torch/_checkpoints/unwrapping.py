"""Finds the tensors of a network in what a checkpoint holds, under whatever names wrappers gave them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from ...errors import SpeeDiffFileError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    State = dict[str, torch.Tensor]

_WRAPPERS = {"module", "_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"}
"""What DistributedDataParallel, AveragedModel, torch.compile, checkpoint_wrapper and FSDP put into names."""

_COUNTS = {"n_averaged"}
"""What wrappers save besides a network's tensors."""

_FIRST = ("x_embedder.proj.weight", "pos_embed.proj.weight")
"""A tensor that every network has: what stands before it stands before all."""

_NARROW = (torch.float16, torch.bfloat16)
"""Of which each value is a float32, too."""


def unwrapped(path: Path, state: object) -> State:
    """A state dict with its network's own names, in float32 where it was narrower.

    Args:
        path: How a message calls the file.
        state: What should be a state dict.

    Raises:
        SpeeDiffFileError: If it is none, or two of its tensors have one name.
    """
    if not isinstance(state, dict) or not state:
        raise SpeeDiffFileError(f"{path} must hold a state dict, got a {type(state).__name__}")
    found: State = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise SpeeDiffFileError(
                f"{path} must hold tensors by name, got a {type(tensor).__name__} as {name!r}"
            )
        own = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
        if own in found:
            raise SpeeDiffFileError(f"{path} must hold one tensor of each name, got {own} and {name}")
        if own not in _COUNTS:
            found[own] = tensor.float() if tensor.dtype in _NARROW else tensor
    return found


def networks(path: Path, state: Mapping[str, torch.Tensor]) -> tuple[State, State | None]:
    """The network in a state dict, and its average if one stands beside it.

    A training module of Lightning has them as "model." and "ema.", beside others which are left out.

    Raises:
        SpeeDiffFileError: If there are several, and their names do not tell which is which.
    """
    roots = sorted({root for first in _FIRST for root in _roots(first, state)})
    if not roots:
        return dict(state), None
    averages = [root for root in roots if "ema" in re.split("[._]", root.lower())]
    models = [root for root in roots if root not in averages]
    if len(models) > 1 or len(averages) > 1:
        shown = ", ".join(repr(root) for root in roots)
        raise SpeeDiffFileError(
            f'{path} must hold one network, and at most one with "ema" in its name, got {shown}; save the '
            "state dict of the one that is meant"
        )
    inner = {root: _below(root, state, roots) for root in roots}
    if not models:
        return inner[averages[0]], None
    return inner[models[0]], inner[averages[0]] if averages else None


def _roots(first: str, names: Collection[str]) -> list[str]:
    return [name.removesuffix(first) for name in names if name == first or name.endswith(f".{first}")]


def _below(root: str, state: Mapping[str, torch.Tensor], roots: Collection[str]) -> State:
    """The tensors whose names begin with a root, but for those of longer ones."""
    others = [other for other in roots if other != root and other.startswith(root)]
    return {
        name.removeprefix(root): tensor
        for name, tensor in state.items()
        if name.startswith(root) and not any(name.startswith(other) for other in others)
    }
