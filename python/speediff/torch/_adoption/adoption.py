"""A PyTorch module adopted by the trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ...errors import SpeeDiffTypeError, SpeeDiffValueError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch.utils.hooks import RemovableHandle
    from typing_extensions import Self

    from ..._samplers.sampler_base import SamplerBase
    from ...training import Trainer
    from .decays import Decay
    from .optimizer_state import OptimizerState
    from .shared_memory import SharedMemory
    from .watch import Watch


class Adoption:
    """The result of `adopt`: the module, its average and its AdamW, trained by `speediff.Trainer`.

    Until `release` they live in the trainer's memory. Nothing is copied, and they are up to date after each
    step.
    """

    def __init__(
        self,
        trainer: Trainer,
        sampler: SamplerBase[Any],
        memory: SharedMemory,
        watch: Watch,
        decay: Decay | None,
        optimizer: OptimizerState | None,
        state_dicts: Iterable[RemovableHandle],
    ) -> None:
        """Stores what `adopt` created.

        Args:
            trainer: The trainer.
            sampler: The sampler; its counter is kept up to date.
            memory: The parameters and averages in the trainer's memory.
            watch: Detects changes of the module.
            decay: The average's own decay, if any; its counter is kept up to date.
            optimizer: The optimizer's state, kept up to date.
            state_dicts: State-dict hooks of the modules, removed on release.
        """
        self.trainer = trainer
        """The trainer, for `generate`, `forward` and `save`."""
        self._sampler, self._decay, self._optimizer = sampler, decay, optimizer
        self._memory, self._watch, self._state_dicts = memory, watch, list(state_dicts)
        self._counted = trainer.global_step
        self._averaged = 0 if decay is None else decay.updates

    def step(self, x: torch.Tensor, y: torch.Tensor | None = None) -> float:
        """Runs one training step, like `Trainer.step`: draw, noise, forward, backward, update.

        Args:
            x: Images, float32 (n, c, h, w), on the CPU. With accumulation A, n is a multiple of A.
            y: Classes, int64 (n,); None without labels.

        Returns:
            The mean over the samples of weight·mse, plus the variational term in bits per dimension. For an
            MDT, the sum of both passes.

        Raises:
            SpeeDiffNonFiniteError: If the loss or the gradient is not finite; nothing was applied.
            SpeeDiffValueError: If the module, its average or the optimizer changed in a way that the
                trainer does not follow, or the sampler has several ranks.
        """
        world_size = self._sampler.recipe.drawing.world_size
        if world_size > 1:
            raise SpeeDiffValueError(
                f"step must run in a single process, got a sampler of {world_size} ranks; call backward, sum "
                "adoption.trainer.flat_gradients over the ranks, and call apply"
            )
        self._begin()
        images, labels = _array("x", x, torch.float32), _optional("y", y, torch.int64)
        loss = self.trainer.step(images, labels)
        self._count()
        return loss

    def backward(
        self,
        x: torch.Tensor,
        y: torch.Tensor | None = None,
        *,
        t: torch.Tensor | None = None,
        noise: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
        masked_noise: torch.Tensor | None = None,
        kept: torch.Tensor | None = None,
        offset: int | None = None,
        total: int | None = None,
    ) -> float:
        """The first half of a step, on tensors. Arguments as in `Trainer.backward`."""
        self._begin()
        return self.trainer.backward(
            _array("x", x, torch.float32),
            _optional("y", y, torch.int64),
            t=_optional("t", t, torch.int64),
            noise=_optional("noise", noise, torch.float32),
            weights=_optional("weights", weights, torch.float32),
            masked_noise=_optional("masked_noise", masked_noise, torch.float32),
            kept=_optional("kept", kept, torch.int64),
            offset=offset,
            total=total,
        )

    def apply(self) -> float:
        """The second half of a step, like `Trainer.apply`.

        Returns:
            The gradient's global norm before clipping.
        """
        self._begin()
        norm = self.trainer.apply()
        self._count()
        return norm

    def release(self) -> None:
        """Moves every tensor back to PyTorch's memory and closes the trainer. Can be called twice."""
        self._memory.release()
        if self._optimizer is not None:
            self._optimizer.release()
        for each in self._state_dicts:
            each.remove()
        self._optimizer, self._state_dicts = None, []
        self.trainer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _begin(self) -> None:
        """Applies the pipeline's changes since the last step."""
        trainer, counted = self.trainer, self._counted
        taken = trainer.global_step
        self._memory.check()
        self._watch.check()
        if taken != counted:
            raise SpeeDiffValueError(
                f"trainer must be stepped only through the adoption, got {taken} steps, not "
                f"{counted}; set trainer.global_step = {counted}"
            )
        if self._optimizer is not None:
            steps = self._optimizer.check()
            if self._optimizer.learning_rate != trainer.learning_rate:
                trainer.learning_rate = self._optimizer.learning_rate
            if steps != counted:
                # PyTorch took steps in between.
                trainer.global_step = self._counted = steps
        if self._decay is not None:
            self._begin_average(self._decay, self._counted - counted)

    def _begin_average(self, decay: Decay, steps: int) -> None:
        """Reads the next update's decay from the average, after `steps` steps by PyTorch."""
        updates = decay.updates
        if updates > self._averaged and steps == 0:
            raise SpeeDiffValueError(
                "ema must not be updated after a step of the adoption, which updates it itself, got "
                f"{updates - self._averaged} more updates; remove the pipeline's own update"
            )
        self._averaged = updates
        if (following := decay.next()) != self.trainer.ema_decay:
            self.trainer.ema_decay = following

    def _count(self) -> None:
        """Counts an update in all counters of the pipeline."""
        steps = self._counted = self.trainer.global_step
        if self._sampler.step != steps:
            self._sampler.step = steps
        if self._decay is not None:
            self._decay.count(self.trainer.ema_decay)
            self._averaged = self._decay.updates
        if self._optimizer is not None:
            self._optimizer.count(steps)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.trainer.config!r})"


def _optional(name: str, tensor: object, dtype: torch.dtype) -> Any:
    return None if tensor is None else _array(name, tensor, dtype)


def _array(name: str, tensor: object, dtype: torch.dtype) -> Any:
    """Converts the tensor to a contiguous array."""
    if not isinstance(tensor, torch.Tensor):
        raise SpeeDiffTypeError(f"{name} must be a tensor, got a {type(tensor).__name__}")
    if tensor.device.type != "cpu":
        raise SpeeDiffValueError(f"{name} must be on the CPU, got one on {tensor.device}")
    if tensor.dtype != dtype or tensor.layout != torch.strided:
        raise SpeeDiffTypeError(f"{name} must be a dense {dtype} tensor, got {tensor.dtype}")
    return tensor.detach().contiguous().numpy()
