"""The form of a sampler's state dict, and its checks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arguments
from .errors import SpeeDiffTypeError, SpeeDiffValueError

if TYPE_CHECKING:
    from .schedules import NoiseSchedule

VERSION = 1
_KEYS = ("version", "method", "schedule", "seed", "step", "micro_batch", "accumulation")


def save(
    method: dict[str, Any], schedule: NoiseSchedule, seed: int, call: int, accumulation: int
) -> dict[str, Any]:
    """The state before a call, as plain values."""
    step, micro_batch = divmod(call, accumulation)
    return {
        "version": VERSION,
        "method": method,
        "schedule": _fingerprint(schedule),
        "seed": seed,
        "step": step,
        "micro_batch": micro_batch,
        "accumulation": accumulation,
    }


def load(
    state: object, method: dict[str, Any], schedule: NoiseSchedule, accumulation: int
) -> tuple[int, int]:
    """Seed and next call of a state that belongs to this method and schedule."""
    if not isinstance(state, dict):
        raise SpeeDiffTypeError(f"state must be a dict, got a {type(state).__name__}")
    if state.get("version") != VERSION:
        raise SpeeDiffValueError(f"state must have version {VERSION}, got {state.get('version')!r}")
    missing = [key for key in _KEYS if key not in state]
    if missing:
        raise SpeeDiffValueError(f"state must have the keys {', '.join(_KEYS)}, got none of {missing}")
    if state["method"] != method:
        raise SpeeDiffValueError(f"state must be of this sampler's method {method}, got {state['method']}")
    _check_schedule(state["schedule"], schedule)
    seed = _arguments.integer("state['seed']", state["seed"], least=0, end=1 << 64)
    step = _arguments.integer("state['step']", state["step"], least=0)
    saved = _arguments.integer("state['accumulation']", state["accumulation"], least=1)
    micro_batch = _arguments.integer("state['micro_batch']", state["micro_batch"], least=0, end=saved)
    if micro_batch > 0 and saved != accumulation:
        raise SpeeDiffValueError(
            f"state['accumulation'] must be this sampler's {accumulation} in the middle of a training step, "
            f"got {saved}"
        )
    call = step * accumulation + micro_batch
    return seed, _arguments.integer("state['step'] times accumulation", call, least=0)


def _fingerprint(schedule: NoiseSchedule) -> dict[str, Any]:
    """T, and three sums that every ᾱ enters: enough to tell schedules apart, and little to store."""
    table = schedule.alphas_cumprod
    place = np.arange(1, schedule.steps + 1) / schedule.steps
    sums = (table, table * place, table**2)
    return {"steps": schedule.steps, "alphas_cumprod_sums": [math.fsum(values) for values in sums]}


def _check_schedule(saved: Any, schedule: NoiseSchedule) -> None:
    """Compares with a tolerance: another machine's cosine may differ in the last bit."""
    own = _fingerprint(schedule)
    try:
        equal = saved["steps"] == own["steps"] and all(
            math.isclose(a, b, rel_tol=1e-9)
            for a, b in zip(saved["alphas_cumprod_sums"], own["alphas_cumprod_sums"], strict=True)
        )
    except (TypeError, KeyError, ValueError):
        equal = False
    if not equal:
        raise SpeeDiffValueError(f"state must be of the schedule {own}, got {saved}")
