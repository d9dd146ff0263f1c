"""What a trainer's group must have in common, and what all of it does together but for steps."""

from __future__ import annotations

import functools
import zlib
from typing import TYPE_CHECKING, Any, TypeVar

from .. import distributed, errors
from .._native.library import library_path
from .._support.version import __version__

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ..training import Trainer

Build = TypeVar("Build", bound="Callable[..., Any]")

CHUNK = 1 << 24
"""Bytes of a file that are read at a time."""


def agreed(build: Build) -> Build:
    """Wraps what makes a trainer: its group agrees on it, and an error on one rank is one on all."""

    @functools.wraps(build)
    def build_together(*arguments: Any, **options: Any) -> Any:
        group = options.get("group")
        if group is not None and not isinstance(group, distributed.Group):
            raise errors.SpeeDiffTypeError(f"group must be a speediff.distributed.Group, got {group!r}")
        if group is None or group.world_size == 1:
            return build(*arguments, **options)
        share = group.threads()
        if options.get("threads") is None:
            options["threads"] = share
        result = group.together("a trainer", lambda: build(*arguments, **options))
        # A constructor gives nothing back: it makes its first argument.
        group._agree("a trainer", lambda: facts(arguments[0] if result is None else result))
        return result

    return build_together  # type: ignore[return-value]


def facts(trainer: Trainer) -> dict[str, Any]:
    """All that must be the same on every rank for their steps to be the same."""
    native, sampler = trainer._open_handle(), trainer.sampler
    options = _fields(native.options())
    del options["threads"]
    return {
        "speediff": __version__,
        # Another build rounds differently, and the ranks' parameters would drift apart.
        "library's checksum": _file_checksum(library_path()),
        "network": {"family": trainer.config.family, **native.network().values()},
        **options,
        "precision": trainer.precision,
        "sampler": {
            **sampler.recipe.describe(),
            "seed": sampler.seed,
            "accumulation": sampler.recipe.drawing.accumulation,
            "schedule": sampler._fingerprint(),
        },
        **state(trainer),
    }


def state(trainer: Trainer) -> dict[str, Any]:
    """What steps change: the same on every rank after each of them."""
    native = trainer._open_handle()
    sampler = trainer._native_sampler
    return {
        "global_step": native.global_step(),
        "parameters": _checksum(trainer.flat_parameters),
        "history": _checksum(sampler.history()) if sampler.history_count else None,
    }


def save(trainer: Trainer, write: Callable[[], None]) -> None:
    """Has rank 0 write, and the others wait for it, after a look at whether they are still the same."""
    group = trainer.group
    if group.world_size > 1:
        group._agree("saving", lambda: state(trainer))
    group.together("saving", write if group.rank == 0 else lambda: None)


def _fields(structure: ctypes.Structure) -> dict[str, Any]:
    return {name: getattr(structure, name) for name, *_ in structure._fields_}


def _checksum(array: NDArray[Any]) -> str:
    return f"{zlib.crc32(array.data):08x}"


def _file_checksum(path: str) -> str:
    result = 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            result = zlib.crc32(chunk, result)
    return f"{result:08x}"
