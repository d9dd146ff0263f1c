"""The state of PyTorch's AdamW while its moments live in the trainer's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ...errors import SpeeDiffValueError
from .optimizers import MOMENTS
from .shared_memory import Shared, SharedMemory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..._native.native_trainer import Floats
    from .optimizers import AdamW


_KEPT = ("step", *MOMENTS)


class OptimizerState:
    """Moments that are views of the trainer's memory, and one step count for all parameters."""

    def __init__(self, adam: AdamW, moments: Mapping[str, Mapping[str, Floats]], steps: int) -> None:
        """Installs them in the optimizer.

        Args:
            adam: The optimizer.
            moments: The moments in the trainer's memory, by parameter and kind; already filled.
            steps: The number of updates so far.
        """
        self._adam = adam
        self._state: Any = adam.optimizer.state
        self._steps = torch.full((max(1, len(moments)),), float(steps))
        shared = []
        for count, (name, views) in zip(self._steps, moments.items(), strict=True):
            state = {which: torch.empty(0) for which in MOMENTS}
            shared += [
                Shared(f"the optimizer's {which} of {name}", state[which], torch.from_numpy(views[which]))
                for which in MOMENTS
            ]
            self._state[adam.trained[name]] = {"step": count, **state}
        self._moments = SharedMemory(shared)
        self._states = [self._state[adam.trained[name]] for name in moments]
        self._tensors = [state[which] for state in self._states for which in _KEPT]

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update."""
        return self._adam.learning_rate

    def check(self) -> int:
        """The number of updates so far, including PyTorch's own.

        Raises:
            SpeeDiffValueError: If the optimizer's state was replaced or its options changed.
        """
        if self._adam.optimizer.state is not self._state or not self._is_kept():
            raise SpeeDiffValueError(
                "optimizer must keep its state while the module is adopted, got another one, as by "
                "load_state_dict; load it first, or release the module and adopt it again"
            )
        self._moments.check()
        self._adam.check_unchanged()
        steps = int(self._steps[0])
        if not bool((self._steps == steps).all()):
            found = f"{int(self._steps.min())} for some and {int(self._steps.max())} for others"
            raise SpeeDiffValueError(
                f"optimizer must step all parameters together, got {found}; PyTorch skips those without a "
                "gradient: release the module first"
            )
        return steps

    def count(self, steps: int) -> None:
        """Writes the number of updates so far."""
        self._steps.fill_(steps)
        # Learning-rate schedulers check this before they warn about the order of steps.
        self._adam.optimizer._opt_called = True  # type: ignore[attr-defined]

    def release(self) -> None:
        """Moves the moments to PyTorch's memory and gives each parameter its own count."""
        self._moments.release()
        for state in self._states:
            state["step"] = state["step"].clone()
        self._states, self._tensors = [], []

    def _is_kept(self) -> bool:
        if [*map(id, self._state.values())] != [*map(id, self._states)]:
            # Other parameters may have a state too.
            trained = self._adam.trained.values()
            if not all(
                self._state.get(each) is state for each, state in zip(trained, self._states, strict=True)
            ):
                return False
        found = (state.get(which) for state in self._states for which in _KEPT)
        return [*map(id, found)] == [*map(id, self._tensors)]
