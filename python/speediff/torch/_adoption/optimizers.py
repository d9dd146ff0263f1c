"""Checks PyTorch's AdamW and reads its options, moments and step count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ...errors import SpeeDiffTypeError, SpeeDiffValueError
from .module_checks import check_tensor
from .places import some

if TYPE_CHECKING:
    from collections.abc import Mapping

MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's state per parameter, by its name in PyTorch and in the trainer."""

_REFUSED = ("amsgrad", "maximize", "capturable", "differentiable")


class Coefficients(NamedTuple):
    """Options that a trainer cannot change."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0


class AdamW:
    """A checked optimizer that the trainer can continue."""

    def __init__(
        self, optimizer: object, trained: Mapping[str, torch.Tensor], fixed: list[torch.Tensor]
    ) -> None:
        """Checks the optimizer.

        Args:
            optimizer: The user's argument.
            trained: The module's trained parameters, each under one name.
            fixed: Frozen parameters, which the optimizer may contain.

        Raises:
            SpeeDiffTypeError: If it has an unsupported class.
            SpeeDiffValueError: If it uses a feature that the trainer lacks.
        """
        if type(optimizer).__name__ == "AcceleratedOptimizer":
            raise SpeeDiffTypeError(
                "optimizer must be PyTorch's own, got accelerate's AcceleratedOptimizer; pass "
                "optimizer.optimizer"
            )
        if type(optimizer) not in (torch.optim.AdamW, torch.optim.Adam):
            raise SpeeDiffTypeError(
                "optimizer must be torch.optim.AdamW, or Adam without weight decay, "
                f"got a {type(optimizer).__module__}.{type(optimizer).__name__}"
            )
        assert isinstance(optimizer, torch.optim.Optimizer)
        self.optimizer = optimizer
        self.trained = trained
        """The parameters it updates, by name."""
        self._fixed = fixed
        self._check_options()
        self._check_parameters()
        self._given = [*map(id, self.group["params"])]
        self.coefficients = self._read_coefficients()
        self.steps = self._read_steps()
        """The number of updates so far."""

    @property
    def group(self) -> dict[str, Any]:
        """The only parameter group. Loading a state dict replaces it."""
        group: dict[str, Any] = self.optimizer.param_groups[0]
        return group

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update."""
        return float(self.group["lr"])

    def moments(self, name: str) -> dict[str, torch.Tensor]:
        """The moments of a parameter; none before its first update."""
        state = self.optimizer.state.get(self.trained[name], {})
        return {which: state[which] for which in MOMENTS if which in state}

    def check_unchanged(self) -> None:
        """Raises if any option has changed, except the learning rate."""
        self._check_options()
        given = [*map(id, self.group["params"])]
        if given != self._given:
            self._check_parameters()
            self._given = given
        now = self._read_coefficients()
        for name, before, value in zip(now._fields, self.coefficients, now, strict=True):
            if value != before:
                hint = "give a scheduler cycle_momentum=False, or " if name == "betas" else ""
                raise SpeeDiffValueError(
                    f"optimizer must keep {name} = {before} while its module is adopted, got {value}; "
                    f"{hint}release the module and adopt it again"
                )

    def _check_options(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != 1:
            raise SpeeDiffValueError(
                "optimizer must have one parameter group, since the trainer has one learning rate and one "
                f"weight decay, got {len(groups)}"
            )
        group = self.group
        for name in _REFUSED:
            if group.get(name):
                raise SpeeDiffValueError(
                    f"optimizer must have {name} = False, since the trainer does not implement it, "
                    f"got {group[name]}"
                )
        is_decoupled = isinstance(self.optimizer, torch.optim.AdamW) or group.get("decoupled_weight_decay")
        if group["weight_decay"] and not is_decoupled:
            raise SpeeDiffValueError(
                "optimizer must have weight_decay = 0 if it is Adam, whose decay differs from AdamW's, "
                f"got {group['weight_decay']}; use AdamW"
            )
        for name in ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"):
            if getattr(self.optimizer, name, None):
                raise SpeeDiffValueError(
                    "optimizer must have no hooks, which the trainer would not call, got some; remove them "
                    "first"
                )

    def _check_parameters(self) -> None:
        given = {id(parameter) for parameter in self.group["params"]}
        missing = [name for name, parameter in self.trained.items() if id(parameter) not in given]
        if missing:
            raise SpeeDiffValueError(
                f"optimizer must have all trained parameters of the module, got none of {some(missing)}"
            )
        known = {id(parameter) for parameter in (*self.trained.values(), *self._fixed)}
        others = [tuple(each.shape) for each in self.group["params"] if id(each) not in known]
        if others:
            raise SpeeDiffValueError(
                f"optimizer must have only the module's parameters, got {len(others)} others, "
                f"the first of shape {others[0]}"
            )

    def _read_coefficients(self) -> Coefficients:
        group = self.group
        first, second = (float(beta) for beta in group["betas"])
        return Coefficients((first, second), float(group["eps"]), float(group["weight_decay"]))

    def _read_steps(self) -> int:
        steps: dict[int, str] = {}
        for name, parameter in self.trained.items():
            state = self.optimizer.state.get(parameter, {})
            steps.setdefault(int(state.get("step", 0)), name)
            if state and not {"step", *MOMENTS} <= state.keys():
                raise SpeeDiffValueError(
                    f"optimizer must have step, exp_avg and exp_avg_sq for {name}, got {some(state.keys())}"
                )
            for which, moment in self.moments(name).items():
                check_tensor(f"the optimizer's {which} of {name}", moment)
                if moment.shape != parameter.shape:
                    raise SpeeDiffValueError(
                        f"the optimizer's {which} of {name} must have shape {tuple(parameter.shape)}, "
                        f"got {tuple(moment.shape)}"
                    )
        if len(steps) > 1:
            found = " and ".join(f"{count} for {name}" for count, name in sorted(steps.items())[:2])
            raise SpeeDiffValueError(
                f"optimizer must have taken the same number of steps for all parameters, got {found}"
            )
        return next(iter(steps))
