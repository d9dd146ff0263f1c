"""Shifts and offsets for the steps of a flow-matching schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SpeeDiffValueError
from ..weighting import ToEmphasis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._methods.method import Method
    from .._native.native_sampler import NativeSampler, Table, Timesteps
    from ..schedules import NoiseSchedule
    from .moves import Moves
    from .recipe import Recipe

_FARTHEST = 87.0
"""The largest abs(ln shift) and abs(offset), as for continuous noise levels."""


def check(recipe: Recipe, native: NativeSampler, moves: Moves) -> None:
    """Raises unless the sampler's draws may be moved, and all values are in range."""
    methods = [*_parts(recipe.sampling), *_parts(recipe.weighting)]
    obstacles = {
        "a sampler without prediction='flow'": recipe.drawing.prediction != "flow",
        "normalize": recipe.drawing.normalize,
        "the official preset": recipe.official,
        "a method that learns": native.history_count > 0,
        "a weight that depends on P": any(
            method.corrects_for_draw or isinstance(method, ToEmphasis) for method in methods
        ),
    }
    for obstacle, stands in obstacles.items():
        if stands:
            raise SpeeDiffValueError(
                f"{moves.argument} must be given to a sampler on a flow-matching schedule whose weights do "
                f"not depend on what is drawn, got one to {obstacle}"
            )
    if moves.shift is not None:
        _check_range(
            "shift", moves.shift, np.exp(-_FARTHEST), np.exp(_FARTHEST), "above 0, and within e⁻⁸⁷ to e⁸⁷"
        )
    if moves.offset is not None:
        _check_range("offset", moves.offset, -_FARTHEST, _FARTHEST, "in [-87, 87]")


def nearest(schedule: NoiseSchedule, steps: Timesteps, moves: Moves) -> Timesteps:
    """The steps whose σ = 1/(1+√S) are nearest to σ' = aσ/(1+(a-1)σ), with a = shift·e^offset."""
    noise, data = np.sqrt(1 - schedule.alphas_cumprod), np.sqrt(schedule.alphas_cumprod)
    sigmas = noise / (data + noise)
    factor: Any = 1.0
    if moves.shift is not None:
        factor = moves.shift
    if moves.offset is not None:
        factor = factor * np.exp(moves.offset)
    drawn = factor * noise[steps]
    moved = drawn / (data[steps] + drawn)
    nearest: Timesteps = np.searchsorted((sigmas[1:] + sigmas[:-1]) / 2, moved).astype(np.int64)
    return nearest


def _check_range(argument: str, values: Table, low: float, high: float, rule: str) -> None:
    wrong = ~((values >= low) & (values <= high))
    if wrong.any():
        i = int(wrong.argmax())
        raise SpeeDiffValueError(f"{argument}[{i}] must be {rule}, got {values[i]}")


def _parts(method: Method) -> Iterator[Method]:
    """A method and the methods in it."""
    yield method
    for part in method._parts():
        yield from _parts(part)
