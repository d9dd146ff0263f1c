"""Detects changes of an adopted module that the trainer would not follow."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

from ...errors import SpeeDiffError, SpeeDiffValueError
from .holdings import Holdings
from .module_checks import check_module, check_trained
from .places import some

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._networks.architectures import Architecture
    from .averages import Average

_UNDO = "undo this, or release the module first"


class Watch:
    """Checks that an adopted module still has the same parts.

    A check compares object ids and costs about a microsecond per layer. Values may change at any time.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        architecture: Architecture,
        parameters: Mapping[str, torch.Tensor],
        average: Average | None,
    ) -> None:
        """Records the module.

        Args:
            module: The module.
            architecture: Its architecture.
            parameters: Its parameters by name; tied ones appear under each name.
            average: Its average.
        """
        self._module, self._architecture, self._average = module, architecture, average
        self._parameters = dict(parameters)
        self._holdings = Holdings(module)
        self._dropouts = [each for each in module.modules() if isinstance(each, torch.nn.Dropout)]
        self._identities, self._trained = self._holdings.identities(), self._read_trained()
        self._settings = self._read_settings()

    def check(self) -> None:
        """Raises if the module or its average no longer consists of the adopted objects."""
        if (
            self._holdings.identities() != self._identities
            or self._holdings.has_hooks()
            or self._read_trained() != self._trained
        ):
            self._explain()
            raise SpeeDiffValueError(
                f"module must stay as it was when it was adopted, got other layers or buffers; {_UNDO}"
            )
        settings = self._read_settings()
        if settings != self._settings:
            name = next(name for name, value in self._settings.items() if settings.get(name) != value)
            raise SpeeDiffValueError(
                f"module must keep {name} = {self._settings[name]} while it is adopted, "
                f"got {settings.get(name)}; {_UNDO}"
            )
        if self._average is not None and not self._average.is_kept():
            raise SpeeDiffValueError(
                "ema must keep the tensors that were adopted, got others, as by load_state_dict; load first "
                "and adopt afterwards, or release the module and adopt it again"
            )

    def _read_trained(self) -> list[bool]:
        return [each.requires_grad for each in self._parameters.values()]

    def _read_settings(self) -> dict[str, object]:
        """Settings from the module's attributes; empty if the attributes are gone."""
        settings: dict[str, object] = {"dropout": [each.p for each in self._dropouts]}
        with contextlib.suppress(Exception):
            settings |= self._architecture.hints(self._module)._asdict()
        return settings

    def _explain(self) -> None:
        """Raises an error that names the change, if it is a common one."""
        now: dict[str, torch.Tensor] = dict(self._module.named_parameters(remove_duplicate=False))
        for name, parameter in self._parameters.items():
            if name in now and now[name] is not parameter:
                raise SpeeDiffValueError(
                    f"module.{name} must stay the parameter that was adopted, got another one, as by "
                    "load_state_dict(assign=True) or a new layer; load without assign, or release the "
                    "module, create a new optimizer for its parameters, and adopt it again"
                )
        try:
            check_module("module", self._module)
            for (name, parameter), was_trained in zip(self._parameters.items(), self._trained, strict=True):
                check_trained(name, parameter, not was_trained)
        except SpeeDiffError as error:
            raise type(error)(f"{error}; {_UNDO}") from None
        others = self._parameters.keys() ^ now.keys()
        if others:
            raise SpeeDiffValueError(
                f"module must keep the parameters that were adopted, got a difference in {some(others)}; "
                f"{_UNDO}"
            )
