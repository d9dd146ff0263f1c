"""What samplings and weightings have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ._arguments import choice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._handles import Handle


class Method(ABC):
    """A named method with parameters, for any schedule. Subclasses are frozen dataclasses."""

    name: ClassVar[str]
    """The string that stands for the method with its default parameters."""

    def __post_init__(self) -> None:
        """Lets the library check the parameters."""
        self._create()

    def describe(self) -> dict[str, Any]:
        """Name and parameters, as plain values for a state dict."""
        parameters: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        return {"name": self.name, **parameters}

    @abstractmethod
    def _create(self) -> Handle:
        """Makes the native object."""

    def _set(self, field: str, value: object) -> None:
        """Replaces a field while the frozen dataclass is being made."""
        object.__setattr__(self, field, value)


Kind = TypeVar("Kind", bound=Method)


def resolve(argument: str, method: str | Kind, by_name: Mapping[str, type[Kind]], kind: type[Kind]) -> Kind:
    """The method itself, or the one that the name stands for, with its defaults."""
    if isinstance(method, kind):
        return method
    return by_name[choice(argument, method, by_name)]()
