"""A module of PyTorch in the hands of the trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from .. import _c_training as c
from ..errors import SpeeDiffTypeError, SpeeDiffValueError
from ._optimizers import MOMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Self

    from .._native_trainer import Floats
    from .._sampler_base import SamplerBase
    from ..training import Trainer
    from ._averages import Average
    from ._optimizers import AdamW


class Shared(NamedTuple):
    """A tensor of PyTorch whose values live in the trainer's memory."""

    name: str
    tensor: torch.Tensor
    view: torch.Tensor


class Adoption:
    """What `adopt` gives: the module, its average and its AdamW, trained by `speediff.Trainer`.

    Until `release`, the memory of all of them is the trainer's: nothing is copied, and they are up to date
    after each step.
    """

    def __init__(
        self,
        trainer: Trainer,
        sampler: SamplerBase[Any],
        shared: Sequence[Shared],
        average: Average | None,
        optimizer: AdamW | None,
        moments: Mapping[str, Mapping[str, Floats]],
    ) -> None:
        """Puts the tensors into the trainer's memory, where their values are; `adopt` has checked all.

        Args:
            trainer: The trainer.
            sampler: Whose counter follows.
            shared: Parameters and their averages.
            average: Whose counter follows.
            optimizer: Whose state follows.
            moments: Where its moments lie, by parameter and by kind.
        """
        self.trainer = trainer
        """The trainer, for `generate`, `forward` and `save`."""
        self._sampler, self._average, self._optimizer = sampler, average, optimizer
        self._shared = list(shared)
        for each in self._shared:
            each.tensor.data = each.view
        self._tensors = [each.tensor for each in self._shared]
        self._addresses = [each.view.data_ptr() for each in self._shared]
        self._counted = trainer.global_step
        # One tensor counts for all parameters.
        self._steps = torch.full((max(1, len(moments)),), float(trainer.global_step))
        self._state: Any = None
        if optimizer is not None:
            self._state = optimizer.optimizer.state
            for count, (name, views) in zip(self._steps, moments.items(), strict=True):
                kept = {which: torch.from_numpy(views[which]) for which in MOMENTS}
                self._state[optimizer.trained[name]] = {"step": count, **kept}

    def step(self, x: torch.Tensor, y: torch.Tensor | None = None) -> float:
        """One training step, as `Trainer.step`: draw, noise, forward, backward, update.

        Args:
            x: Images, float32 (n, c, h, w), on the CPU. With accumulation A, n is a multiple of A.
            y: Classes, int64 (n,); None without labels.

        Returns:
            The mean over the samples of weight·mse, plus the variational term in bits per dimension; an
            MDT's is the sum of both passes.

        Raises:
            SpeeDiffNonFiniteError: If the loss or the gradient is not finite; nothing was applied.
            SpeeDiffValueError: If a tensor is no longer where it was, or the sampler is one of several ranks.
        """
        world_size = self._sampler.recipe.drawing.world_size
        if world_size > 1:
            raise SpeeDiffValueError(
                f"step must be that of one process, got a sampler of {world_size}; between backward and "
                "apply, sum trainer.flat_gradients over them"
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
        """The first half of a step: `Trainer.backward`, which describes the arguments, on tensors."""
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
        """The second half of a step, as `Trainer.apply`.

        Returns:
            The gradient's global norm before clipping.
        """
        self._begin()
        norm = self.trainer.apply()
        self._count()
        return norm

    def release(self) -> None:
        """Gives every tensor memory of PyTorch's own, and closes the trainer; again, it does nothing."""
        for each in self._shared:
            each.tensor.data = each.tensor.data.clone()
        self._shared, self._tensors, self._addresses = [], [], []
        if self._optimizer is not None and self._optimizer.optimizer.state is self._state:
            for parameter in self._optimizer.trained.values():
                state = self._state[parameter]
                state.update({which: value.clone() for which, value in state.items()})
        self._optimizer = self._state = None
        self.trainer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _begin(self) -> None:
        """Takes over what the pipeline has changed since the last step."""
        if [*map(torch.Tensor.data_ptr, self._tensors)] != self._addresses:
            name = next(each.name for each in self._shared if each.tensor.data_ptr() != each.view.data_ptr())
            raise SpeeDiffValueError(
                f"{name} must stay in the trainer's memory, got moved, as by `.to` or `assign=True`; "
                "release the module and adopt it again"
            )
        if self.trainer.global_step != self._counted:
            raise SpeeDiffValueError(
                f"trainer must be stepped by the adoption alone, got {self.trainer.global_step} steps where "
                f"{self._counted} were counted; set trainer.global_step = {self._counted}"
            )
        optimizer = self._optimizer
        if optimizer is None:
            return
        if optimizer.optimizer.state is not self._state:
            raise SpeeDiffValueError(
                "optimizer must keep its state while the module is adopted, got another one, as by "
                "load_state_dict; load it first, or release the module and adopt it again"
            )
        optimizer.check_unchanged()
        rate, steps = optimizer.learning_rate, int(self._steps[0])
        if rate != self.trainer.learning_rate:
            self.trainer.learning_rate = rate
        if steps != self.trainer.global_step:
            # PyTorch has taken steps in between.
            self.trainer.global_step = self._counted = steps

    def _count(self) -> None:
        """Counts an update wherever the pipeline does."""
        steps = self._counted = self.trainer.global_step
        if self._sampler.step != steps:
            self._sampler.step = steps
        if self._average is not None and self._average.counter is not None:
            if int(self._average.counter) == 0:
                # The first update of an AveragedModel copies.
                average = self.trainer._open_handle().buffer(c.BUFFER_EMA_PARAMETERS)
                average[...] = self.trainer.flat_parameters
            self._average.counter.add_(1)
        if self._optimizer is not None:
            self._steps.fill_(steps)
            # What a scheduler of learning rates asks before it warns of steps in the wrong order.
            self._optimizer.optimizer._opt_called = True  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.trainer.config!r})"


def _optional(name: str, tensor: object, dtype: torch.dtype) -> Any:
    return None if tensor is None else _array(name, tensor, dtype)


def _array(name: str, tensor: object, dtype: torch.dtype) -> Any:
    """A tensor as an array, in the order that the library reads."""
    if not isinstance(tensor, torch.Tensor):
        raise SpeeDiffTypeError(f"{name} must be a tensor, got a {type(tensor).__name__}")
    if tensor.device.type != "cpu":
        raise SpeeDiffValueError(f"{name} must be on the CPU, got one on {tensor.device}")
    if tensor.dtype != dtype or tensor.layout != torch.strided:
        raise SpeeDiffTypeError(f"{name} must be a dense {dtype} tensor, got {tensor.dtype}")
    return tensor.detach().contiguous().numpy()
