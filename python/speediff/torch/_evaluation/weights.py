"""Fills a network with a file's weights; the error names what the file lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ...errors import SpeeDiffFileError
from .._checkpoints import files

if TYPE_CHECKING:
    from collections.abc import Mapping

    State = dict[str, torch.Tensor]

COUNTS = ".num_batches_tracked"
"""What batch normalization counts in training. Older files lack it, and inference needs none of it."""


def read(path: str) -> State:
    """The tensors of a .pth or .safetensors file by name. Nothing in it is run.

    Raises:
        SpeeDiffFileError: If it cannot be read, or holds anything else.
    """
    return files.read(path).model


def fill(network: torch.nn.Module, state: Mapping[str, torch.Tensor], path: str, what: str) -> None:
    """Copies tensors into a network.

    Args:
        network: Gets the values.
        state: Tensors by the network's names.
        path: Their file, for errors.
        what: What the file must be, such as "the weights of DINOv2's ViT-L/14".

    Raises:
        SpeeDiffFileError: If a tensor is missing, is too many, or has another shape; the error names the
            first one.
    """
    own = {name: value for name, value in network.state_dict().items() if not name.endswith(COUNTS)}
    given = {name: value for name, value in state.items() if not name.endswith(COUNTS)}
    for name, value in own.items():
        if name not in given:
            raise SpeeDiffFileError(f"{path} must be {what}, got a file without {name}")
        if given[name].shape != value.shape:
            raise SpeeDiffFileError(
                f"{path} must be {what}, with {name} of shape {tuple(value.shape)}, "
                f"got {tuple(given[name].shape)}"
            )
    for name in given:
        if name not in own:
            raise SpeeDiffFileError(f"{path} must be {what}, got a file with {name}")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(given[name])
