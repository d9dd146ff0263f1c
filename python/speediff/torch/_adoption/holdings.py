"""The layers, parameters, buffers and hooks of a module."""

from __future__ import annotations

import itertools
import operator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)

_GRADIENT_HOOKS = operator.attrgetter("_backward_hooks")
_ACCUMULATION_HOOKS = operator.attrgetter("_post_accumulate_grad_hooks")


def has_other_forward(part: torch.nn.Module) -> bool:
    """Whether a module overrides its class's forward. accelerate's `unwrap_model` leaves such an override."""
    own = part.__dict__.get("forward")
    return own is not None and getattr(own, "__func__", None) is not type(part).forward


def has_gradient_hooks(parameter: torch.Tensor) -> bool:
    """Whether a parameter has gradient hooks of either kind."""
    return bool(_GRADIENT_HOOKS(parameter) or _ACCUMULATION_HOOKS(parameter))


class Holdings:
    """The layers, parameters, buffers and hooks inside a module, for quick checks."""

    def __init__(self, module: torch.nn.Module) -> None:
        # These references keep Python from reusing the ids.
        self._layers, self._buffers = [*module.modules()], [*module.buffers()]
        self._parameters = [*module.parameters()]
        self._tables: list[Any] = [
            table for each in self._layers for table in (each._modules, each._parameters, each._buffers)
        ]
        self._hooks = [getattr(layer, hook) for layer in self._layers for hook in HOOKS]

    def identities(self) -> list[int]:
        """The ids of all layers, parameters and buffers."""
        return [*map(id, itertools.chain.from_iterable(map(dict.values, self._tables)))]

    def has_hooks(self) -> bool:
        """Whether the module's forward or backward runs code other than its classes' own."""
        return (
            any(self._hooks)
            or any(map(has_other_forward, self._layers))
            or any(map(_GRADIENT_HOOKS, self._parameters))
            or any(map(_ACCUMULATION_HOOKS, self._parameters))
        )
