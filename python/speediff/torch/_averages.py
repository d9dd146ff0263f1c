"""The moving average of a pipeline's parameters, in the forms that pipelines keep it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.optim.swa_utils import AveragedModel

from ..errors import SpeeDiffTypeError, SpeeDiffValueError
from ._module_checks import check_apart, check_equal, check_tensor
from ._places import some

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._places import Part


class Average:
    """An average that has been found to be one of the module's parameters."""

    def __init__(
        self,
        ema: object,
        module: torch.nn.Module,
        parameters: Mapping[str, torch.Tensor],
        parts: Mapping[str, Part],
    ) -> None:
        """Checks it.

        Args:
            ema: What the user gave: a copy of the module, an `AveragedModel`, or a list of tensors in the
                order of `module.parameters()`.
            module: The module.
            parameters: Its parameters.
            parts: Where each of them lies.

        Raises:
            SpeeDiffTypeError: If it is something else.
            SpeeDiffValueError: If a tensor is missing, has another shape, or is the module's own.
        """
        self.counter: torch.Tensor | None = None
        """What counts the updates, if anything does; before the first the average is not one."""
        if isinstance(ema, AveragedModel):
            self.counter = ema.n_averaged
            ema = ema.module
        if isinstance(ema, torch.nn.Module):
            tensors: dict[str, torch.Tensor] = dict(ema.named_parameters(remove_duplicate=False))
            if type(ema) is not type(module):
                raise SpeeDiffTypeError(
                    f"ema must be a copy of the module, a {type(module).__name__}, got a {type(ema).__name__}"
                )
            others = tensors.keys() ^ parameters.keys()
            if others:
                raise SpeeDiffValueError(
                    f"ema must be a copy of the module, got one that differs in having {some(others)}"
                )
        elif isinstance(ema, (list, tuple)):
            order = list(module.parameters())
            if len(ema) != len(order):
                raise SpeeDiffValueError(
                    f"ema must have a tensor for each of the module's {len(order)} parameters, got {len(ema)}"
                )
            by_identity = {id(parameter): tensor for parameter, tensor in zip(order, ema, strict=True)}
            tensors = {name: by_identity[id(parameter)] for name, parameter in parameters.items()}
        else:
            raise SpeeDiffTypeError(
                "ema must be a copy of the module, an AveragedModel, or a list of tensors, "
                f"got a {type(ema).__name__}"
            )
        for name, tensor in tensors.items():
            check_tensor(f"ema.{name}", tensor)
            if tensor.shape != parameters[name].shape:
                raise SpeeDiffValueError(
                    f"ema.{name} must have shape {tuple(parameters[name].shape)}, got {tuple(tensor.shape)}"
                )
        own = {f"module.{name}": (tensor, (0, parts[name])) for name, tensor in parameters.items()}
        check_apart({**own, **{f"ema.{name}": (each, (1, parts[name])) for name, each in tensors.items()}})
        check_equal("ema.", tensors, parts)
        self.tensors = tensors
        """The averages by the names of the module's parameters."""
