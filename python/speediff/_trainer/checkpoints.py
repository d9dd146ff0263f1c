"""Python's part of a native checkpoint: the description from which its sampler is made."""

from __future__ import annotations

import ctypes
import json
import os
from typing import TYPE_CHECKING, Any

from .. import errors
from .._native import c_api as c
from .._native import c_training as ct
from .._native.handles import Handle
from .._native.native_trainer import NativeTrainer
from .._samplers.recipe import Options, Recipe
from ..sampler import TimestepSampler
from ..schedules import NoiseSchedule
from . import foreign

if TYPE_CHECKING:
    from .._samplers.sampler_base import SamplerBase

VERSION = 1


def save(
    native: NativeTrainer,
    path: str | os.PathLike[str],
    sampler: SamplerBase[Any],
    run: dict[str, Any] | None = None,
) -> None:
    """Writes the file of a trainer with this sampler; `Checkpoint.run` returns `run`."""
    drawing = sampler.recipe.drawing
    note = {
        "version": VERSION,
        "schedule": sampler.schedule._description,
        "sampler": sampler.recipe.describe(),
        "seed": sampler.seed,
        "accumulation": drawing.accumulation,
    }
    if run is not None:
        note["run"] = run
    ct.speediff_trainer_save(native.pointer, _encoded(path), json.dumps(note).encode())


class Checkpoint(Handle):
    """A `speediff_checkpoint`: an open file that was checked."""

    __slots__ = ("path",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        encoded = _encoded(path)
        self.path = os.fsdecode(encoded)
        try:
            super().__init__(
                ct.checkpoint_p, ct.speediff_checkpoint_open, ct.speediff_checkpoint_destroy, encoded
            )
        except errors.SpeeDiffFileError as error:
            found = foreign.kind(self.path)
            if found is None:
                raise
            raise errors.SpeeDiffFileError(
                f"{self.path} must be a checkpoint that Trainer.save wrote, got {found}; to take over its "
                "weights use speediff.torch.trainer_from(path, sampler)"
            ) from error

    def sampler(self, rank: int, world_size: int) -> TimestepSampler:
        """The saved sampler, without its history."""
        note = self._note()
        try:
            description = note["sampler"]
            options: Options = {
                "prediction": description["prediction"],
                "strata": description["strata"],
                "normalize": description["normalize"],
                "accumulation": note["accumulation"],
                "rank": rank,
                "world_size": world_size,
            }
            seed, schedule = note["seed"], self._schedule(str(note["schedule"]))
            sampler = TimestepSampler.__new__(TimestepSampler)
            recipe = Recipe.from_description(description, TimestepSampler._drawing_of(options))
            sampler._set_up(schedule, seed, recipe, options)
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise errors.SpeeDiffFileError(
                f"{self.path} must describe its sampler, got one that cannot be made from it ({error}); "
                "pass the sampler as sampler="
            ) from error
        return sampler

    def trainer(self, sampler: SamplerBase[Any], threads: int) -> NativeTrainer:
        """The saved trainer, with this sampler."""
        pointer = sampler._open_handle().pointer
        return NativeTrainer(ct.speediff_checkpoint_trainer, self.pointer, pointer, threads)

    def check(self, sampler: SamplerBase[Any]) -> None:
        """Raises unless a sampler equals the saved one; its batches may be divided in another way."""
        note = self._note()
        found = {"sampler": sampler.recipe.describe(), "seed": sampler.seed}
        for key, value in found.items():
            # Changes by JSON, such as tuples that become lists, are no difference.
            if json.loads(json.dumps(value)) != note.get(key):
                raise errors.SpeeDiffValueError(
                    f"sampler must match {self.path}, whose {key} is {note.get(key)}, got {value}"
                )

    def run(self) -> Any:
        """What a command noted of its run, as JSON has it; None if it was no command."""
        return self._note().get("run")

    def _schedule(self, description: str) -> NoiseSchedule:
        handle = Handle(
            c.schedule_p, ct.speediff_checkpoint_schedule, c.speediff_schedule_destroy, self.pointer
        )
        return NoiseSchedule(handle, description)

    def _note(self) -> dict[str, Any]:
        text = ctypes.c_char_p()
        ct.speediff_checkpoint_note(self.pointer, text)
        try:
            note = json.loads(text.value or b"")
        except (ValueError, RecursionError):
            note = None
        if not isinstance(note, dict) or note.get("version") != VERSION:
            raise errors.SpeeDiffFileError(
                f"{self.path} must have a note of Python's Trainer.save, version {VERSION}, got another one; "
                "load the files of a C program in C"
            )
        return note


def _encoded(path: str | os.PathLike[str]) -> bytes:
    try:
        text = os.fspath(path)
    except TypeError:
        raise errors.SpeeDiffTypeError(f"path must be a string or a path, got {path!r}") from None
    encoded = text if isinstance(text, bytes) else os.fsencode(text)
    if b"\0" in encoded:
        raise errors.SpeeDiffValueError(f"path must have no null character, got {path!r}")
    try:
        encoded.decode()
    except UnicodeDecodeError:
        raise errors.SpeeDiffValueError(
            f"path must be valid UTF-8, got {encoded!r}; rename the file or the folder"
        ) from None
    return encoded
