"""Copies of a trainer's tensors, in the form of the official state dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import errors
from .._native import buffers
from .._native import c_training as c
from .._support import arguments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._native.native_trainer import Integers
    from ..training import Trainer

POS_EMBED = "pos_embed"
TABLE, INDEX = "relative_position_bias_table", "relative_position_index"
"""Beside each of an MDT's tables of biases, its state dict has the entry of each two tokens."""


def state_dict(trainer: Trainer, *, ema: bool = False) -> dict[str, NDArray[Any]]:
    """Copies of the parameters and buffers, as in the official network's state dict.

    Args:
        trainer: The trainer.
        ema: Whether to return the EMA of the parameters instead.
    """
    kind = c.BUFFER_EMA_PARAMETERS if arguments.flag("ema", ema) else c.BUFFER_PARAMETERS
    fixed, state = fixed_tensors(trainer), {}
    if POS_EMBED in fixed:
        state[POS_EMBED] = fixed[POS_EMBED].copy()
    for name, value in trainer._open_handle().tensors(kind).items():
        state[name] = value.copy()
        index = name.replace(TABLE, INDEX)
        if index in fixed:
            state[index] = fixed[index].copy()
    return state


def load_state_dict(trainer: Trainer, state: Mapping[str, NDArray[Any]]) -> None:
    """Copies parameters, and restarts their EMA from them. AdamW's moments do not change.

    Args:
        trainer: The trainer.
        state: As `state_dict` returns it: float32 arrays by name. Buffers may be left out: a DiT's
            positions, and the indices of an MDT's biases.

    Raises:
        SpeeDiffValueError: If a name is missing or unknown, a shape differs, a value is not finite, or a
            buffer has other values. Nothing has changed.
    """
    native = trainer._open_handle()
    if not isinstance(state, Mapping):
        raise errors.SpeeDiffTypeError(f"state must be a dict of arrays, got a {type(state).__name__}")
    parameters, average = native.tensors(c.BUFFER_PARAMETERS), native.tensors(c.BUFFER_EMA_PARAMETERS)
    unknown = set(state) - set(parameters) - _fixed_names(trainer)
    missing = set(parameters) - set(state)
    if unknown or missing:
        raise errors.SpeeDiffValueError(
            f"state must have the parameters of this network, got unknown {sorted(map(str, unknown))}, "
            f"missing {sorted(missing)}"
        )
    for name, target in parameters.items():
        value = buffers.check_shape(f"state[{name!r}]", state[name], np.float32, target.shape)
        if not np.isfinite(value).all():
            raise errors.SpeeDiffValueError(f"state[{name!r}] must be finite, got one that is not")
    if not set(state) <= set(parameters):
        for name, expected in fixed_tensors(trainer).items():
            if name in state:
                _check_fixed(name, state[name], expected)
    for name, target in parameters.items():
        target[...] = state[name]
        average[name][...] = state[name]


def _fixed_names(trainer: Trainer) -> set[str]:
    native = trainer._open_handle()
    if len(native.buffer(c.BUFFER_POS_EMBED)):
        return {POS_EMBED}
    return {place.name.replace(TABLE, INDEX) for place in native.places if TABLE in place.name}


def fixed_tensors(trainer: Trainer) -> dict[str, NDArray[Any]]:
    """What the state dict has beside the parameters."""
    native = trainer._open_handle()
    positions = native.buffer(c.BUFFER_POS_EMBED)
    if len(positions):
        return {POS_EMBED: positions.reshape(1, -1, trainer.config.values["hidden_size"])}
    names = _fixed_names(trainer)
    if not names:
        return {}
    return dict.fromkeys(
        names, _relative_positions(trainer.input_size // trainer.config.values["patch_size"])
    )


def _check_fixed(name: str, value: object, expected: NDArray[Any]) -> None:
    what = "the fixed sine-cosine positions" if name == POS_EMBED else "the grid's relative positions"
    array = buffers.check_shape(f"state[{name!r}]", value, expected.dtype.type, expected.shape)
    if not np.allclose(array, expected, atol=1e-5):
        raise errors.SpeeDiffValueError(f"state[{name!r}] must be {what}, got others")


def _relative_positions(side: int) -> Integers:
    """The entry of the table of biases for each two tokens, int64 (side², side²)."""
    try:
        rows, columns = np.divmod(np.arange(side * side, dtype=np.int64), side)
        down, right = (place[:, None] - place + side - 1 for place in (rows, columns))
        index: Integers = down * (2 * side - 1) + right
    except MemoryError as error:
        raise errors.SpeeDiffMemoryError(
            f"relative positions must fit into memory, got those of {side * side} tokens"
        ) from error
    return index
