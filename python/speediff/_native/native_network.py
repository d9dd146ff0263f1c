"""The native network: a family's name and values."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, NamedTuple

from . import c_training as c
from .handles import Handle

if TYPE_CHECKING:
    from collections.abc import Mapping


class Value(NamedTuple):
    """A value that the networks of a family have."""

    name: str
    kind: type[int] | type[float] | type[bool]
    default: float | None
    """None: it must be given."""


_KINDS: dict[int, type[int] | type[float] | type[bool]] = {
    c.VALUE_INTEGER: int,
    c.VALUE_REAL: float,
    c.VALUE_FLAG: bool,
}


def values_of(family: str) -> list[Value]:
    """The values of a family.

    Raises:
        SpeeDiffValueError: If there is no such family; the message lists them.
    """
    name, count = encoded(family), ctypes.c_int64()
    c.speediff_network_family_value_count(name, count)
    return [_value(name, index) for index in range(count.value)]


def _value(family: bytes, index: int) -> Value:
    name, kind, standard = ctypes.c_char_p(), ctypes.c_int32(), ctypes.c_double()
    c.speediff_network_family_value(family, index, name, kind, standard)
    default = None if standard.value != standard.value else standard.value
    return Value((name.value or b"").decode(), _KINDS[kind.value], default)


class NativeNetwork(Handle):
    """A `speediff_network`."""

    __slots__ = ()

    def __init__(self, create: Any, *arguments: Any) -> None:
        super().__init__(c.network_p, create, c.speediff_network_destroy, *arguments)

    @staticmethod
    def of_family(family: str, values: Mapping[str, float]) -> NativeNetwork:
        """A network of a family; values that are not given have their defaults."""
        return NativeNetwork(c.speediff_network_create, encoded(family), *_arrays(values))

    @staticmethod
    def official(name: str) -> NativeNetwork:
        """An official network."""
        return NativeNetwork(c.speediff_network_create_official, encoded(name), *_arrays({}))

    @property
    def family(self) -> str:
        """The name of its family."""
        out = ctypes.c_char_p()
        c.speediff_network_family(self.pointer, out)
        return (out.value or b"").decode()

    def values(self) -> dict[str, Any]:
        """All its values, each of its kind."""
        found: dict[str, Any] = {}
        for name, kind, _ in values_of(self.family):
            out = ctypes.c_double()
            c.speediff_network_value(self.pointer, name.encode(), out)
            found[name] = kind(out.value)
        return found


def encoded(name: str) -> bytes:
    """A name for C, which would stop at a null character."""
    return name.replace("\0", "\\0").encode(errors="backslashreplace")


def _arrays(values: Mapping[str, float]) -> tuple[Any, Any, int]:
    count = len(values)
    names = (ctypes.c_char_p * count)(*map(encoded, values))
    return names, (ctypes.c_double * count)(*values.values()), count
