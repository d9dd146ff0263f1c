"""Parses a respacing: the subset of steps to generate with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support import arguments
from ..errors import SpeeDiffTypeError, SpeeDiffValueError
from . import buffers
from . import c_api as c

if TYPE_CHECKING:
    Steps = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Respacing:
    """The counts of the sections, or DDIM's count."""

    counts: tuple[int, ...]
    is_ddim: bool

    def timesteps(self, steps: int) -> Steps:
        """The chosen steps of a schedule of T steps."""
        total = sum(self.counts)
        if not 1 <= total <= steps or min(self.counts) < 1:
            raise SpeeDiffValueError(
                f"spec must have counts of at least 1 that sum to at most {steps}, got {list(self.counts)}"
            )
        result = np.empty(total, np.int64)
        out = buffers.output_pointer(result)
        if self.is_ddim:
            c.speediff_respacing_ddim(steps, out, total)
        else:
            counts = np.array(self.counts, np.int64)
            c.speediff_respacing_sections(steps, buffers.input_pointer(counts), len(counts), out, total)
        return result


def parse(spec: object) -> Respacing:
    """Parses "250", "10,20,30", "ddim50", a number or a list of numbers."""
    if isinstance(spec, str):
        text = spec.removeprefix("ddim")
        parts = text.split(",")
        if not all(part.strip().isdecimal() for part in parts) or (text != spec and len(parts) > 1):
            raise SpeeDiffValueError(f"spec must be like '250', '10,20,30' or 'ddim50', got {spec!r}")
        return Respacing(tuple(int(part) for part in parts), text != spec)
    values = spec if isinstance(spec, (list, tuple)) else [spec]
    if not values:
        raise SpeeDiffValueError("spec must have at least one count, got none")
    try:
        return Respacing(tuple(arguments.integer("spec", value) for value in values), is_ddim=False)
    except SpeeDiffTypeError:
        raise SpeeDiffTypeError(f"spec must be a string, an integer or integers, got {spec!r}") from None
