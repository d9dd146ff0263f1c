"""A pipeline's moving average of the parameters, in the usual forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.optim.swa_utils import AveragedModel

from ...errors import SpeeDiffTypeError, SpeeDiffValueError
from .decays import Decay, OfAveragedModel, OfEMAModel
from .holdings import Holdings
from .module_checks import check_apart, check_equal, check_tensor
from .places import some

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .places import Part


class Average:
    """A checked average of the module's parameters."""

    def __init__(
        self,
        ema: object,
        module: torch.nn.Module,
        parameters: Mapping[str, torch.Tensor],
        parts: Mapping[str, Part],
    ) -> None:
        """Checks the average.

        Args:
            ema: The user's argument: a copy of the module, an `AveragedModel`, an `EMAModel` of diffusers, or
                a list of tensors in the order of `module.parameters()`.
            module: The module.
            parameters: The module's parameters.
            parts: The place of each in the trainer's memory.

        Raises:
            SpeeDiffTypeError: If `ema` is anything else.
            SpeeDiffValueError: If a tensor is missing, has a different shape, or belongs to the module.
        """
        self._ema = ema
        self.decay: Decay | None = None
        """The average's own decay; None: the trainer's."""
        if isinstance(ema, AveragedModel):
            self.decay = OfAveragedModel(ema)
        elif _is_ema_model(ema):
            self.decay = OfEMAModel(ema)
        held = self._held()
        if isinstance(held, torch.nn.Module):
            tensors = _of_module(held, module, parameters)
        elif isinstance(held, (list, tuple)):
            tensors = _of_list(held, module, parameters)
        else:
            raise SpeeDiffTypeError(
                "ema must be a copy of the module, an AveragedModel, an EMAModel of diffusers, or a list of "
                f"tensors, got a {type(ema).__name__}"
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
        self.module = held if isinstance(held, torch.nn.Module) else None
        """The module that holds them, if any."""
        self._holdings = None if self.module is None else Holdings(self.module)
        self._identities = self._look()

    def is_kept(self) -> bool:
        """Whether it still holds the same tensors."""
        return self._look() == self._identities

    def _held(self) -> object:
        """The module or list that holds the tensors."""
        if isinstance(self._ema, AveragedModel):
            return self._ema.module
        return getattr(self._ema, "shadow_params", self._ema) if _is_ema_model(self._ema) else self._ema

    def _look(self) -> list[int]:
        held = self._held()
        if isinstance(held, (list, tuple)):
            return [*map(id, held)]
        return [id(held), *(self._holdings.identities() if self._holdings else ())]


def _is_ema_model(ema: object) -> bool:
    """Whether this is diffusers' `EMAModel`. Checked by name, because diffusers may not be installed."""
    return any(each.__name__ == "EMAModel" for each in type(ema).__mro__) and hasattr(ema, "get_decay")


def _of_module(
    ema: torch.nn.Module, module: torch.nn.Module, parameters: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = dict(ema.named_parameters(remove_duplicate=False))
    if type(ema) is not type(module):
        raise SpeeDiffTypeError(
            f"ema must be a copy of the module, a {type(module).__name__}, got a {type(ema).__name__}; if it "
            "holds one, pass that"
        )
    others = tensors.keys() ^ parameters.keys()
    if others:
        raise SpeeDiffValueError(f"ema must be a copy of the module, got one that differs in {some(others)}")
    return tensors


def _of_list(
    ema: list[torch.Tensor] | tuple[torch.Tensor, ...],
    module: torch.nn.Module,
    parameters: Mapping[str, torch.Tensor],
) -> dict[str, torch.Tensor]:
    order = list(module.parameters())
    if len(ema) != len(order):
        raise SpeeDiffValueError(
            f"ema must have a tensor for each of the module's {len(order)} parameters, got {len(ema)}"
        )
    by_identity = {id(parameter): tensor for parameter, tensor in zip(order, ema, strict=True)}
    return {name: by_identity[id(parameter)] for name, parameter in parameters.items()}
