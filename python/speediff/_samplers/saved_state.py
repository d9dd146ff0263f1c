"""The format of a sampler's state dict, and its checks."""

from __future__ import annotations

import base64
import binascii
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support import arguments
from ..errors import SpeeDiffTypeError, SpeeDiffValueError

if TYPE_CHECKING:
    from .._native.native_sampler import Table
    from ..schedules import NoiseSchedule

VERSION = 1
_KEYS = ("version", "method", "schedule", "seed", "step", "micro_batch", "accumulation", "history")


def save(
    identity: dict[str, Any], seed: int, call: int, accumulation: int, history: Table | None
) -> dict[str, Any]:
    """The state before a call, as plain values. History is base64 of little-endian doubles."""
    step, micro_batch = divmod(call, accumulation)
    return {
        "version": VERSION,
        **identity,
        "seed": seed,
        "step": step,
        "micro_batch": micro_batch,
        "accumulation": accumulation,
        "history": None if history is None else base64.b64encode(history.astype("<f8").tobytes()).decode(),
    }


def load(
    state: object, identity: dict[str, Any], accumulation: int, history_count: int
) -> tuple[int, int, Table | None]:
    """Checks a state against this method and schedule or process; returns seed, next call and history."""
    if not isinstance(state, dict):
        raise SpeeDiffTypeError(f"state must be a dict, got a {type(state).__name__}")
    if state.get("version") != VERSION:
        raise SpeeDiffValueError(f"state must have version {VERSION}, got {state.get('version')!r}")
    missing = [key for key in _KEYS if key not in state]
    if missing:
        raise SpeeDiffValueError(f"state must have the keys {', '.join(_KEYS)}, got none of {missing}")
    if state["method"] != identity["method"]:
        raise SpeeDiffValueError(
            f"state must belong to this sampler's method {identity['method']}, got {state['method']}; resume "
            "with that method, or start without the state"
        )
    _check_schedule(state["schedule"], identity["schedule"])
    seed = arguments.integer("state['seed']", state["seed"], least=0, end=1 << 64)
    step = arguments.integer("state['step']", state["step"], least=0)
    saved = arguments.integer("state['accumulation']", state["accumulation"], least=1)
    micro_batch = arguments.integer("state['micro_batch']", state["micro_batch"], least=0, end=saved)
    if micro_batch > 0 and saved != accumulation:
        raise SpeeDiffValueError(
            f"state['accumulation'] must be this sampler's {accumulation} in the middle of a training step, "
            f"got {saved}"
        )
    call = arguments.integer("state['step'] times accumulation", step * accumulation + micro_batch, least=0)
    return seed, call, _load_history(state["history"], history_count)


def _load_history(text: object, count: int) -> Table | None:
    if count == 0:
        if text is not None:
            raise SpeeDiffValueError("state['history'] must be None for a method that does not learn")
        return None
    if not isinstance(text, str):
        raise SpeeDiffTypeError(f"state['history'] must be a string, got {text!r}")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != 8 * count:
        raise SpeeDiffValueError(
            f"state['history'] must be base64 of the {count} doubles of this sampler's method and T, "
            f"got {len(data)} bytes"
        )
    return np.frombuffer(data, "<f8").astype(np.float64)


def fingerprint(schedule: NoiseSchedule) -> dict[str, Any]:
    """T and three sums over ᾱ: compact, and enough to tell schedules apart."""
    table = schedule.alphas_cumprod
    place = np.arange(1, schedule.steps + 1) / schedule.steps
    sums = (table, table * place, table**2)
    return {"steps": schedule.steps, "alphas_cumprod_sums": [math.fsum(values) for values in sums]}


def _check_schedule(saved: Any, own: dict[str, Any]) -> None:
    """Compares sums with a tolerance, because another machine's cosine may differ in the last bit."""
    sums = "alphas_cumprod_sums"
    try:
        equal = {**saved, sums: None} == {**own, sums: None} and all(
            math.isclose(a, b, rel_tol=1e-9)
            for a, b in zip(saved.get(sums, ()), own.get(sums, ()), strict=True)
        )
    except (TypeError, AttributeError, ValueError):
        equal = False
    if not equal:
        raise SpeeDiffValueError(f"state must belong to the schedule or process {own}, got {saved}")
