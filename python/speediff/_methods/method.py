"""The base class of samplings and weightings."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import FrozenInstanceError, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from .._native import buffers
from .._support import arguments
from ..errors import SpeeDiffValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from typing_extensions import dataclass_transform

    from .._native.handles import Handle
else:

    def dataclass_transform(**_: object) -> Any:
        """Does nothing at run time; only type checkers use it."""
        return lambda cls: cls


_CONVERTERS: dict[str, Callable[[str, object], Any]] = {
    "float": arguments.real,
    "int": arguments.integer,
}
_PAIRS = "speed", "official"
"""The names that a text may have for a sampling with its weighting."""


@dataclass_transform(frozen_default=True)
class Method(ABC):
    """A named method with parameters, for any schedule.

    A subclass is a frozen dataclass. It lists each parameter with its default, in the library's order:

        class Laplace(Sampling, formula="…", source="…"):
            mean: float = 0.0
            scale: float = 0.5

    The library creates it by name: the class's name in snake case, unless the body sets `name`. (`name` is
    not a class keyword, because `ABCMeta` of Python 3.10 has an argument of that name.)
    """

    name: ClassVar[str]
    """The string that users can pass for the method with its default parameters."""
    formula: ClassVar[str]
    """P or w, in one line."""
    source: ClassVar[str]
    """Paper and year."""
    corrects_for_draw: ClassVar[bool] = False
    """Whether w includes the importance weight 1/(T·P), which gives the objective of uniform draws."""

    added_later: ClassVar[tuple[str, ...]] = ()
    """Parameters that earlier versions lacked. With their defaults they are left out of saved states."""
    combines: ClassVar[bool] = False
    """Whether the method is made of others."""

    def __init_subclass__(cls, *, formula: str = "", source: str = "") -> None:
        cls.formula, cls.source = formula, source
        if "name" not in vars(cls):
            cls.name = re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        # The methods below replace those that `dataclass` would compile per class, half of the import time.
        dataclass(repr=False, eq=False)(cls)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self._values().items())
        return f"{type(self).__qualname__}({values})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(tuple(self._values().values()))

    def __setattr__(self, name: str, value: object) -> None:
        # `__init__` sets each field, once.
        if name in vars(self) or name not in self.__dataclass_fields__:  # type: ignore[attr-defined]
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __post_init__(self) -> None:
        """Converts the parameters and lets the library check them."""
        for field in fields(self):  # type: ignore[arg-type]
            kind, _, optional = str(field.type).partition(" | ")
            value = getattr(self, field.name)
            if kind in _CONVERTERS and not (optional and value is None):
                converted = _CONVERTERS[kind](field.name, value)
                if optional and math.isnan(converted):
                    raise SpeeDiffValueError(f"{field.name} must be a number or None, got {value!r}")
                self._set(field.name, converted)
        self._create()

    def describe(self) -> dict[str, Any]:
        """The name and the parameters, as plain values for a state dict."""
        defaults = {field.name: field.default for field in fields(self)}  # type: ignore[arg-type]
        return {
            "name": self.name,
            **{
                key: _plain(value)
                for key, value in self._values().items()
                if not (key in self.added_later and value == defaults[key])
            },
        }

    def _any_part_corrects_for_draw(self) -> bool:
        return self.corrects_for_draw or any(part._any_part_corrects_for_draw() for part in self._parts())

    def _parts(self) -> Iterator[Method]:
        """The methods among the parameters."""
        return _methods_in(tuple(self._values().values()))

    @abstractmethod
    def _create(self) -> Handle:
        """Creates the native object."""

    def _arguments(self) -> tuple[bytes, Any, int]:
        """The name and the parameters for the C call; None becomes NaN."""
        numbers = [math.nan if value is None else float(value) for value in self._values().values()]
        return self.name.encode(), buffers.doubles(numbers), len(numbers)

    def _values(self) -> dict[str, Any]:
        """The parameters, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def _set(self, field: str, value: object) -> None:
        """Replaces a field while the frozen dataclass is being initialized."""
        object.__setattr__(self, field, value)


def _plain(value: object) -> Any:
    """A parameter as plain values, which survive JSON."""
    if isinstance(value, Method):
        return value.describe()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _methods_in(value: object) -> Iterator[Method]:
    if isinstance(value, Method):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _methods_in(item)


Kind = TypeVar("Kind", bound=Method)


def resolve(argument: str, method: str | Kind, by_name: Mapping[str, type[Kind]], kind: type[Kind]) -> Kind:
    """The method itself, or the one with this name and default parameters."""
    if isinstance(method, kind):
        return method
    if isinstance(method, str) and method not in by_name:
        if method in _PAIRS:
            raise SpeeDiffValueError(
                f"{argument} must not be {method!r}, which is a sampling with its weighting; use "
                "sampling='asymmetric' with weighting='change_aware', or TimestepSampler.speed"
            )
        if "(" in method:
            raise SpeeDiffValueError(
                f"{argument} must be a name without parameters, got {method!r}; use the method's class, or "
                "speediff.parse_method, which reads such a text"
            )
    return by_name[arguments.choice(argument, method, by_name)]()


def from_description(kind: type[Kind], description: object) -> Kind:
    """The method from the result of `describe`.

    Raises:
        SpeeDiffValueError: If the name is unknown or the parameters are not exactly the method's.
    """
    if isinstance(description, dict):
        parameters = {key: _revived(kind, value) for key, value in description.items() if key != "name"}
        for method in kind.__subclasses__():
            names = {field.name for field in fields(method)}  # type: ignore[arg-type]
            given = set(parameters) | set(method.added_later)
            if method.name == description.get("name") and names == given:
                return method(**parameters)
    raise SpeeDiffValueError(
        f"a saved {kind.__name__.lower()} must have a known name and all its parameters, got {description!r}"
    )


def _revived(kind: type[Kind], value: object) -> Any:
    """A parameter from its plain values."""
    if isinstance(value, dict) and "name" in value:
        return from_description(kind, value)
    return [_revived(kind, item) for item in value] if isinstance(value, list) else value
