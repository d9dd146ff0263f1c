"""The schedules with known answers, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speediff import NoiseSchedule

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEDULES: dict[str, Callable[[int], NoiseSchedule]] = {
    "linear": NoiseSchedule.linear,
    "quadratic": NoiseSchedule.quadratic,
    "cosine": NoiseSchedule.cosine,
    "scaled_linear": NoiseSchedule.scaled_linear,
}
