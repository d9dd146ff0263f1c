"""Checks that a module computes what the trainer's network computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ...errors import SpeeDiffTypeError, SpeeDiffValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..._native.native_trainer import Floats
    from ...training import Trainer
    from .architectures import Architecture

TOLERANCE = 1e-5
"""Tolerated relative error. Rounding gives up to 1e-6, an exact GELU 2e-5 or more, other heads 1e-2."""

_TIMES = 3, 41
"""Small, so that rounding of the frequencies matters little."""


def check_output(
    module: torch.nn.Module, architecture: Architecture, views: Mapping[str, Floats], trainer: Trainer
) -> None:
    """Runs both networks with the same random parameters, then restores the module's own.

    Initial parameters would prove nothing: with adaLN-Zero the output is 0.

    Args:
        module: The module.
        architecture: The module's architecture.
        views: The place of each parameter in the trainer's memory.
        trainer: A new trainer.

    Raises:
        SpeeDiffTypeError: If the module cannot be called.
        SpeeDiffValueError: If the outputs differ.
    """
    random = np.random.default_rng(0)
    for name, values in trainer.parameters.items():
        _fill(name, values, random)
    size = trainer.input_size
    x = random.standard_normal((len(_TIMES), trainer.in_channels, size, size), np.float32)
    y = None if trainer.num_classes is None else np.array([0, trainer.num_classes - 1])
    expected = trainer.forward(x, np.array(_TIMES), y)
    labels = None if y is None else torch.from_numpy(y)
    found = _run(module, architecture, views, torch.from_numpy(x), labels).numpy()
    if found.shape != expected.shape:
        raise SpeeDiffValueError(f"module must give outputs of shape {expected.shape}, got {found.shape}")
    error = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    if not error <= TOLERANCE:
        raise SpeeDiffValueError(
            f"module must compute what {architecture.origin} {architecture.class_name} does, got outputs "
            f"with a relative error of {error:.1e}"
        )


def _fill(name: str, values: Floats, random: np.random.Generator) -> None:
    inputs = int(np.prod(values.shape[1:])) if values.ndim > 1 else 100
    # A prime period, so that no two rows are equal.
    numbers = random.standard_normal(65537, np.float32) * np.float32(inputs**-0.5)
    values[...] = np.resize(numbers, values.shape)


class _Borrowed:
    """In its `with` block, the module is in eval mode with other parameter values."""

    def __init__(self, module: torch.nn.Module, views: Mapping[str, Floats]) -> None:
        self._module = module
        self._modes = [(each, each.training) for each in module.modules()]
        self._values = [
            (parameter, parameter.data, torch.from_numpy(views[name]))
            for name, parameter in module.named_parameters()
        ]

    def __enter__(self) -> None:
        self._module.eval()
        for parameter, _own, other in self._values:
            parameter.data = other

    def __exit__(self, *_: object) -> None:
        for parameter, own, _other in self._values:
            parameter.data = own
        for each, training in self._modes:
            each.training = training


def _run(
    module: torch.nn.Module,
    architecture: Architecture,
    views: Mapping[str, Floats],
    x: torch.Tensor,
    y: torch.Tensor | None,
) -> torch.Tensor:
    """The module's output with other parameters."""
    try:
        with _Borrowed(module, views), torch.no_grad(), torch.autocast("cpu", enabled=False):
            output: object = architecture.run(module, x, torch.tensor(_TIMES), y)
    except Exception as error:
        raise SpeeDiffTypeError(
            f"module must be called as {architecture.origin} {architecture.class_name} is, got {error!r}"
        ) from error
    if not isinstance(output, torch.Tensor):
        raise SpeeDiffTypeError(f"module must return a tensor, got a {type(output).__name__}")
    return output
