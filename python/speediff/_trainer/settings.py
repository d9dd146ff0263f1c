"""A trainer's settings as they are now, some of which can be set between steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._native import c_training as c
from .._support import arguments
from .network import TrainerNetwork

if TYPE_CHECKING:
    from .._samplers.sampler_base import SamplerBase
    from ..schedules import NoiseSchedule

PRECISIONS = {
    "float32": c.PRECISION_FLOAT32,
    "bfloat16": c.PRECISION_BFLOAT16,
    "auto": c.PRECISION_AUTO,
}


def precision_code(precision: object) -> int:
    """The library's number of a precision."""
    return PRECISIONS[arguments.choice("precision", precision, PRECISIONS)]


class TrainerSettings(TrainerNetwork):
    """The part of a trainer that tells and sets its options."""

    sampler: SamplerBase[Any]
    """The sampler of timesteps and weights."""

    @property
    def schedule(self) -> NoiseSchedule:
        """The sampler's schedule."""
        return self.sampler.schedule

    @property
    def global_step(self) -> int:
        """The updates so far: the step of the next draw and of AdamW's bias correction.

        It can be set between steps, for example to continue a run of another trainer. A run ends at 2³².
        """
        return self._open_handle().global_step()

    @global_step.setter
    def global_step(self, value: int) -> None:
        step = arguments.integer("global_step", value, least=0)
        self._open_handle().set_global_step(step)

    @property
    def learning_rate(self) -> float:
        """The learning rate after the warm-up. Setting it affects the updates that follow."""
        value: float = self._open_handle().options().learning_rate
        return value

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        c.speediff_trainer_set_learning_rate(
            self._open_handle().pointer, arguments.real("learning_rate", value)
        )

    @property
    def ema_decay(self) -> float:
        """The decay of the moving average, in [0, 1]; setting it changes the updates to come."""
        value: float = self._open_handle().options().ema_decay
        return value

    @ema_decay.setter
    def ema_decay(self, value: float) -> None:
        c.speediff_trainer_set_ema_decay(self._open_handle().pointer, arguments.real("ema_decay", value))

    @property
    def precision(self) -> str:
        """The precision of the factors of matrix products, "float32" or "bfloat16": what "auto" took."""
        code = self._open_handle().options().precision
        return next(name for name, value in PRECISIONS.items() if value == code)
