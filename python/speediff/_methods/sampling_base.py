"""The base class of samplings."""

from __future__ import annotations

from typing import Any, ClassVar

from .._native import c_api as c
from .._native.handles import Handle
from .method import Method, resolve


class Sampling(Method):
    """A probability for each timestep of the schedule that it is combined with."""

    by_name: ClassVar[dict[str, type[Sampling]]] = {}
    """Every sampling, by its name."""

    def __init_subclass__(cls, **description: str) -> None:
        super().__init_subclass__(**description)
        cls.by_name[cls.name] = cls

    @property
    def follows_training(self) -> bool:
        """Whether P depends on the training step, as for a blend and whatever contains one."""
        return any(isinstance(part, Sampling) and part.follows_training for part in self._parts())

    def _create(self) -> Handle:
        return native_sampling(c.speediff_sampling_create, *self._arguments())


def native_sampling(create: Any, *arguments: Any) -> Handle:
    """The handle of a native sampling that `create` makes."""
    return Handle(c.sampling_p, create, c.speediff_sampling_destroy, *arguments)


def resolve_sampling(argument: str, sampling: str | Sampling) -> Sampling:
    """The sampling itself, or the one with this name and default parameters."""
    return resolve(argument, sampling, Sampling.by_name, Sampling)
