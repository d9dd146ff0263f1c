"""The tensors of a trainer, as views of its memory and as copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import errors
from .._native import buffers
from .._native import c_training as c
from .._native.handles import Closable
from .._native.native_trainer import NativeTrainer
from .._support import arguments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._native.native_trainer import Floats, Integers
    from ..networks import Network

POS_EMBED = "pos_embed"
TABLE, INDEX = "relative_position_bias_table", "relative_position_index"
"""Beside each of an MDT's tables of biases, its state dict has the entry of each two tokens."""


class TrainerTensors(Closable[NativeTrainer]):
    """The tensors that a trainer holds for each parameter. Views keep the memory, and outlive `close()`."""

    config: Network
    """The network's shape."""
    input_size: int
    """The side of an image, in pixels or latents."""

    @property
    def parameters(self) -> dict[str, Floats]:
        """The parameters by their names in the official state dict: writable views of the memory itself."""
        return self._open_handle().tensors(c.BUFFER_PARAMETERS)

    @property
    def gradients(self) -> dict[str, Floats]:
        """The gradients of the step so far, in the form of `parameters`."""
        return self._open_handle().tensors(c.BUFFER_GRADIENTS)

    @property
    def ema_parameters(self) -> dict[str, Floats]:
        """The EMA of the parameters, in the form of `parameters`."""
        return self._open_handle().tensors(c.BUFFER_EMA_PARAMETERS)

    @property
    def exp_avg(self) -> dict[str, Floats]:
        """AdamW's first moments, in the form of `parameters`."""
        return self._open_handle().tensors(c.BUFFER_EXP_AVG)

    @property
    def exp_avg_sq(self) -> dict[str, Floats]:
        """AdamW's second moments, in the form of `parameters`."""
        return self._open_handle().tensors(c.BUFFER_EXP_AVG_SQ)

    @property
    def flat_parameters(self) -> Floats:
        """The memory of all parameters as one array; the padding between them is 0."""
        return self._open_handle().buffer(c.BUFFER_PARAMETERS)

    @property
    def flat_gradients(self) -> Floats:
        """The memory of all gradients as one array, with the layout of `flat_parameters`."""
        return self._open_handle().buffer(c.BUFFER_GRADIENTS)

    def state_dict(self, *, ema: bool = False) -> dict[str, NDArray[Any]]:
        """Copies of the parameters and buffers, as in the official network's state dict.

        Args:
            ema: Whether to return the EMA of the parameters instead.
        """
        kind = c.BUFFER_EMA_PARAMETERS if arguments.flag("ema", ema) else c.BUFFER_PARAMETERS
        fixed, state = self._fixed_tensors(), {}
        if POS_EMBED in fixed:
            state[POS_EMBED] = fixed[POS_EMBED].copy()
        for name, value in self._open_handle().tensors(kind).items():
            state[name] = value.copy()
            index = name.replace(TABLE, INDEX)
            if index in fixed:
                state[index] = fixed[index].copy()
        return state

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Copies parameters, and restarts their EMA from them. AdamW's moments do not change.

        Args:
            state: As `state_dict` returns it: float32 arrays by name. Buffers may be left out: a DiT's
                positions, and the indices of an MDT's biases.

        Raises:
            SpeeDiffValueError: If a name is missing or unknown, a shape differs, a value is not finite, or a
                buffer has other values. Nothing has changed.
        """
        native = self._open_handle()
        if not isinstance(state, Mapping):
            raise errors.SpeeDiffTypeError(f"state must be a dict of arrays, got a {type(state).__name__}")
        parameters, average = native.tensors(c.BUFFER_PARAMETERS), native.tensors(c.BUFFER_EMA_PARAMETERS)
        unknown = set(state) - set(parameters) - self._fixed_names()
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
            for name, expected in self._fixed_tensors().items():
                if name in state:
                    _check_fixed(name, state[name], expected)
        for name, target in parameters.items():
            target[...] = state[name]
            average[name][...] = state[name]

    def _fixed_names(self) -> set[str]:
        native = self._open_handle()
        if len(native.buffer(c.BUFFER_POS_EMBED)):
            return {POS_EMBED}
        return {place.name.replace(TABLE, INDEX) for place in native.places if TABLE in place.name}

    def _fixed_tensors(self) -> dict[str, NDArray[Any]]:
        """What the state dict has beside the parameters."""
        native = self._open_handle()
        positions = native.buffer(c.BUFFER_POS_EMBED)
        if len(positions):
            return {POS_EMBED: positions.reshape(1, -1, self.config.values["hidden_size"])}
        names = self._fixed_names()
        if not names:
            return {}
        return dict.fromkeys(names, _relative_positions(self.input_size // self.config.values["patch_size"]))


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
