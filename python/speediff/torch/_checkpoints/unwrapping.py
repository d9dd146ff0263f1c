"""Finds a network's tensors in a checkpoint and removes the prefixes of wrappers."""

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
"""Name parts that DistributedDataParallel, AveragedModel, torch.compile, checkpoint_wrapper and FSDP add."""

_COUNTS = {"n_averaged"}
"""Entries that wrappers save besides a network's tensors."""

_FIRST = ("x_embedder.proj.weight", "pos_embed.proj.weight")
"""A tensor that every network has. Its prefix is the prefix of all tensors."""

_NARROW = (torch.float16, torch.bfloat16)
"""Dtypes whose values are all exact in float32."""


def unwrapped(path: Path, state: object) -> State:
    """A state dict with the network's own names; narrower floats are widened to float32.

    Args:
        path: The file's name in errors.
        state: The object to check.

    Raises:
        SpeeDiffFileError: If it is not a state dict, or two tensors get the same name.
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
    """The network in a state dict, and its average if present.

    A Lightning module has them as "model." and "ema.", beside others that are ignored.

    Raises:
        SpeeDiffFileError: If there are several networks and their names are ambiguous.
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
            "state dict of the one to load"
        )
    inner = {root: _below(root, state, roots) for root in roots}
    if not models:
        return inner[averages[0]], None
    return inner[models[0]], inner[averages[0]] if averages else None


def _roots(first: str, names: Collection[str]) -> list[str]:
    return [name.removesuffix(first) for name in names if name == first or name.endswith(f".{first}")]


def _below(root: str, state: Mapping[str, torch.Tensor], roots: Collection[str]) -> State:
    """The tensors under a root, except those under longer roots."""
    others = [other for other in roots if other != root and other.startswith(root)]
    return {
        name.removeprefix(root): tensor
        for name, tensor in state.items()
        if name.startswith(root) and not any(name.startswith(other) for other in others)
    }
