"""The tensors of a trainer, as views of its memory and as copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from . import _arguments, _buffers, errors
from . import _c_training as c
from ._handles import Closable
from ._native_trainer import NativeTrainer

if TYPE_CHECKING:
    from ._native_trainer import Floats
    from .networks import DiT

POS_EMBED = "pos_embed"


class TrainerTensors(Closable[NativeTrainer]):
    """What a trainer holds for each parameter. Views stay valid after `close()`, and keep the memory."""

    config: DiT
    """The network's shape."""

    @property
    def parameters(self) -> dict[str, Floats]:
        """The parameters by their names in the official state dict: writable views of the memory itself."""
        return self._open_handle().tensors(c.BUFFER_PARAMETERS)

    @property
    def gradients(self) -> dict[str, Floats]:
        """The gradients of the step so far, as `parameters`."""
        return self._open_handle().tensors(c.BUFFER_GRADIENTS)

    @property
    def ema_parameters(self) -> dict[str, Floats]:
        """The moving average of the parameters, as `parameters`."""
        return self._open_handle().tensors(c.BUFFER_EMA_PARAMETERS)

    @property
    def exp_avg(self) -> dict[str, Floats]:
        """AdamW's mean gradients, as `parameters`."""
        return self._open_handle().tensors(c.BUFFER_EXP_AVG)

    @property
    def exp_avg_sq(self) -> dict[str, Floats]:
        """AdamW's mean squared gradients, as `parameters`."""
        return self._open_handle().tensors(c.BUFFER_EXP_AVG_SQ)

    @property
    def flat_parameters(self) -> Floats:
        """The memory of all parameters as one array; what lies between two of them is 0."""
        return self._open_handle().buffer(c.BUFFER_PARAMETERS)

    @property
    def flat_gradients(self) -> Floats:
        """The memory of all gradients as one array, laid out as `flat_parameters`."""
        return self._open_handle().buffer(c.BUFFER_GRADIENTS)

    def state_dict(self, *, ema: bool = False) -> dict[str, Floats]:
        """Copies of the parameters, as the official DiT's state dict has them.

        Args:
            ema: The moving average instead.
        """
        native = self._open_handle()
        kind = c.BUFFER_EMA_PARAMETERS if _arguments.flag("ema", ema) else c.BUFFER_PARAMETERS
        tensors = {name: value.copy() for name, value in native.tensors(kind).items()}
        return {POS_EMBED: self._positions().copy(), **tensors}

    def _positions(self) -> Floats:
        """The fixed positions, shape (1, tokens, hidden): a view of the memory itself."""
        return self._open_handle().buffer(c.BUFFER_POS_EMBED).reshape(1, -1, self.config.hidden_size)

    def load_state_dict(self, state: Mapping[str, Floats]) -> None:
        """Takes over parameters, also as the beginning of their average; AdamW's moments stay.

        Args:
            state: As `state_dict` gives it: float32 arrays by name. Fixed positions may be left out.

        Raises:
            SpeeDiffValueError: If a name is missing or unknown, a shape is another, or a value is not
                finite; then nothing has changed.
        """
        native = self._open_handle()
        if not isinstance(state, Mapping):
            raise errors.SpeeDiffTypeError(f"state must be a dict of arrays, got a {type(state).__name__}")
        parameters, average = native.tensors(c.BUFFER_PARAMETERS), native.tensors(c.BUFFER_EMA_PARAMETERS)
        unknown, missing = set(state) - set(parameters) - {POS_EMBED}, set(parameters) - set(state)
        if unknown or missing:
            raise errors.SpeeDiffValueError(
                f"state must have the parameters of this network, got unknown {sorted(map(str, unknown))}, "
                f"missing {sorted(missing)}"
            )
        for name, target in parameters.items():
            value = _buffers.check_shape(f"state[{name!r}]", state[name], np.float32, target.shape)
            if not np.isfinite(value).all():
                raise errors.SpeeDiffValueError(f"state[{name!r}] must be finite, got one that is not")
        if POS_EMBED in state:
            positions = self._positions()
            value = _buffers.check_shape(
                f"state[{POS_EMBED!r}]", state[POS_EMBED], np.float32, positions.shape
            )
            if not np.allclose(value, positions, atol=1e-5):
                raise errors.SpeeDiffValueError(
                    f"state[{POS_EMBED!r}] must be the fixed sine-cosine positions, got others"
                )
        for name, target in parameters.items():
            target[...] = state[name]
            average[name][...] = state[name]
