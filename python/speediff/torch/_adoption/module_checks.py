"""Checks that the trainer can train a module, before changing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.utils import parametrize

from ...errors import SpeeDiffTypeError, SpeeDiffValueError
from .holdings import HOOKS, has_gradient_hooks, has_other_forward

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .places import Part

_WRAPPERS = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "OptimizedModule": "_orig_mod",
}
"""Wrapper classes, and the attribute that holds the module."""


def check_module(what: str, module: object) -> torch.nn.Module:
    """Returns the module if the trainer would run all of it; otherwise raises."""
    name = type(module).__name__
    inside = _WRAPPERS.get(name)
    if inside is not None:
        raise SpeeDiffTypeError(f"{what} must be the network itself, got a {name}; pass {what}.{inside}")
    if not isinstance(module, torch.nn.Module):
        raise SpeeDiffTypeError(f"{what} must be a PyTorch module, got a {name}")
    for path, part in module.named_modules():
        place = f"{what}.{path}" if path else what
        hooks = [hook for hook in HOOKS if getattr(part, hook)]
        if hooks or has_other_forward(part):
            found = (
                f"{hooks[0].strip('_')}; remove them first"
                if hooks
                else "an overridden forward; accelerator.unwrap_model(module, keep_fp32_wrapper=False) "
                "removes accelerate's"
            )
            raise SpeeDiffValueError(
                f"{place} must have no hooks, which the trainer would not call, got {found}"
            )
        if parametrize.is_parametrized(part):
            raise SpeeDiffValueError(f"{place} must have no parametrizations, got some; remove them first")
        if isinstance(part, torch.nn.Dropout) and part.p > 0:
            raise SpeeDiffValueError(f"{place} must have no dropout, got p = {part.p}; set it to 0")
    return module


def check_trained(name: str, parameter: torch.Tensor, is_fixed: bool) -> None:
    """Raises unless the parameter is trained or frozen as in the trainer, without hooks."""
    if has_gradient_hooks(parameter):
        raise SpeeDiffValueError(
            f"module.{name} must have no hooks, which the trainer would not call, got some; remove them first"
        )
    if parameter.requires_grad == is_fixed:
        rule = "be frozen, as in the authors' code" if is_fixed else "be trained"
        raise SpeeDiffValueError(f"module.{name} must {rule}, got requires_grad = {parameter.requires_grad}")


def check_tensor(place: str, tensor: object, *, plain: bool = True) -> torch.Tensor:
    """Returns the tensor if its values can live in the trainer's memory; otherwise raises.

    Args:
        place: The tensor's name in errors.
        tensor: A parameter, an average of one, or a moment.
        plain: Reject subclasses of Parameter.
    """
    if not isinstance(tensor, torch.Tensor) or (
        plain and type(tensor) not in (torch.Tensor, torch.nn.Parameter)
    ):
        raise SpeeDiffTypeError(f"{place} must be an ordinary tensor, got a {type(tensor).__name__}")
    if tensor.device.type != "cpu":
        raise SpeeDiffValueError(f"{place} must be on the CPU, got one on {tensor.device}")
    if tensor.dtype != torch.float32 or tensor.layout != torch.strided:
        raise SpeeDiffTypeError(f"{place} must be a dense torch.float32 tensor, got {tensor.dtype}")
    if not bool(torch.isfinite(tensor.detach()).all()):
        raise SpeeDiffValueError(f"{place} must be finite, got NaN or infinity")
    return tensor


def check_parameters(
    module: torch.nn.Module, parts: Mapping[str, Part], fixed: Callable[[Part], bool]
) -> dict[str, torch.Tensor]:
    """The module's parameters by name; tied ones appear under each name.

    Args:
        module: The module.
        parts: The place of each tensor in the trainer's memory.
        fixed: Whether a tensor is frozen.
    """
    parameters: dict[str, torch.Tensor] = dict(module.named_parameters(remove_duplicate=False))
    for name, parameter in parameters.items():
        check_tensor(f"module.{name}", parameter)
        check_trained(name, parameter, fixed(parts[name]))
    check_apart({f"module.{name}": (parameter, parts[name]) for name, parameter in parameters.items()})
    check_equal("module.", parameters, parts)
    return parameters


def check_equal(what: str, tensors: Mapping[str, torch.Tensor], parts: Mapping[str, Part]) -> None:
    """Raises unless tensors with the same place have equal values."""
    first: dict[Part, str] = {}
    for name, tensor in tensors.items():
        before = first.setdefault(parts[name], name)
        if before != name and not torch.equal(tensors[before], tensor):
            raise SpeeDiffValueError(
                f"{what}{name} must equal {what}{before}, because the trainer shares one across all blocks, "
                "got other values; copy those of the first block to the others"
            )


def check_apart(tensors: Mapping[str, tuple[torch.Tensor, object]]) -> None:
    """Raises if two tensors share memory, unless they have the same place."""

    def start(item: tuple[str, tuple[torch.Tensor, object]]) -> int:
        return item[1][0].data_ptr()

    before: tuple[str, int, object] | None = None
    for name, (tensor, place) in sorted(tensors.items(), key=start):
        if before is not None and tensor.data_ptr() < before[1] and place != before[2]:
            raise SpeeDiffValueError(f"{name} must have its own memory, got that of {before[0]}")
        # A strided tensor spans more bytes than its elements.
        span = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True)) + 1
        before = name, tensor.data_ptr() + span * tensor.element_size(), place
