"""Callbacks that put a sampler into a trainer's checkpoints.

Each is the first base of a class of the user's, whose second base is the trainer's callback. So nothing of
the trainer is imported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import SpeeDiffTypeError
from ._loss import WeightedLoss, check_sampler
from ._mixin import FirstBase
from ._resuming import warn_without_state

if TYPE_CHECKING:
    from ._loss import Sampler

_KEY = "speediff.sampler"


class SamplerInTrainerState(FirstBase):
    """For Hugging Face's `Trainer`: keeps the sampler in each checkpoint's `trainer_state.json`.

    ```python
    class SaveSampler(SamplerInTrainerState, TrainerCallback): ...

    trainer = DiffusionTrainer(..., callbacks=[SaveSampler(sampler)])
    ```

    `train(resume_from_checkpoint=…)` then restores it on every process.
    """

    def __init__(self, sampler: Sampler | WeightedLoss) -> None:
        """Wraps the sampler, or the `WeightedLoss` that has it."""
        self.sampler = sampler if isinstance(sampler, WeightedLoss) else check_sampler(sampler)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Puts the sampler's state into `Trainer`'s, which a save after this step writes."""
        # Not only if control.should_save: an evaluation after this call may ask for a save, too.
        state.stateful_callbacks[_KEY] = self.sampler.state_dict()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restores the sampler, if the run resumes from a checkpoint.

        Raises:
            SpeeDiffValueError: If the checkpoint's sampler has another method, schedule or version.
        """
        saved = state.stateful_callbacks.get(_KEY)
        if saved is not None:
            self.sampler.load_state_dict(saved)
        elif state.global_step > 0:
            warn_without_state("the checkpoint", f"{state.global_step} times the batches per optimizer step")


class SamplerInCheckpoint(FirstBase):
    """For Lightning: keeps the sampler of a `LightningModule` in each checkpoint.

    ```python
    class SaveSampler(SamplerInCheckpoint, Callback): ...

    trainer = Trainer(callbacks=[SaveSampler("loss")])
    ```
    """

    state_key = _KEY
    """Its key in the checkpoint's "callbacks"."""

    def __init__(self, name: str) -> None:
        """Names the sampler.

        Args:
            name: The module's attribute: a sampler, or the `WeightedLoss` that has it. The module's own
                `setup` may create it, which runs after Lightning has connected the processes.
        """
        self.name = name
        self._module: Any = None
        self._restored = False

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Remembers the module."""
        self._module = pl_module

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Looks for the sampler now, not at the first save, and warns if a resumed run does not have it."""
        found = self._found()
        sampler = found.sampler if isinstance(found, WeightedLoss) else found
        if trainer.global_step > 0 and sampler.step == 0 and not self._restored:
            warn_without_state("the checkpoint", "the batches so far")

    def state_dict(self) -> dict[str, Any]:
        """What Lightning saves."""
        return self._found().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the sampler; on error nothing changes."""
        self._found().load_state_dict(state_dict)
        self._restored = True

    def _found(self) -> Sampler | WeightedLoss:
        """The module's sampler, or the `WeightedLoss` that has it.

        Raises:
            SpeeDiffTypeError: If the attribute is missing, or something else.
        """
        found = getattr(self._module, self.name, None)
        if found is None:
            raise SpeeDiffTypeError(
                f"name must be the attribute of {type(self._module).__name__} that has the sampler, got "
                f"{self.name!r}, which it does not have; create it in setup"
            )
        return found if isinstance(found, WeightedLoss) else check_sampler(found)
