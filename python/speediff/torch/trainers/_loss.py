"""The loss of a batch, weighted by the sampler that drew its noise levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..._samplers.drawing import DrawingBase
from ...errors import SpeeDiffTypeError, SpeeDiffValueError
from .._samplers import SigmaSampler, TimestepSampler

if TYPE_CHECKING:
    from typing import TypeAlias

    Sampler: TypeAlias = TimestepSampler | SigmaSampler


class WeightedLoss:
    """Draws a batch's noise levels, then weights and averages its losses.

    ```python
    loss = WeightedLoss(sampler)
    t = loss.draw(len(images), images.device)
    loss.mean((model(noisy, t) - noise).square().flatten(1).mean(1)).backward()
    ```

    A sampler that learns gets the unweighted losses. It has the sampler's `state_dict` and `load_state_dict`,
    so `accelerator.register_for_checkpointing(loss)` saves it.
    """

    def __init__(self, sampler: Sampler) -> None:
        """Wraps a sampler.

        Args:
            sampler: A sampler of `speediff.torch`. With accumulation=A, a method that learns gets the losses
                of A batches at once, so that the micro-batches of a step come from one density.

        Raises:
            SpeeDiffTypeError: If it is none.
        """
        self.sampler = check_sampler(sampler)
        """The sampler."""
        self._drawn: tuple[torch.Tensor, torch.Tensor, bool] | None = None
        self._losses = StepLosses(self.sampler)

    def draw(
        self, n: int, device: torch.device | str | int | None = None, *, training: bool = True
    ) -> torch.Tensor:
        """The timesteps or noise levels of the next batch, (n,), as the sampler's `sample` returns them.

        Args:
            n: The local batch size.
            device: The device of the tensor; None: the CPU.
            training: False for validation: the entries of step 0, every time. They do not advance the
                sampler, and nothing is learned from them.
        """
        levels, weights = self.sampler.sample(n, device, **({} if training else {"step": 0}))
        self._drawn = levels, weights, training
        return levels

    def mean(self, losses: torch.Tensor) -> torch.Tensor:
        """The mean of weight times loss over the batch that was drawn last.

        Args:
            losses: The unweighted loss of each sample, (n,), finite.

        Raises:
            SpeeDiffValueError: If no batch has been drawn since the last call.
            SpeeDiffTypeError: If there is not one loss per sample.
        """
        if self._drawn is None:
            raise SpeeDiffValueError("mean must follow draw, once for each batch; call draw first")
        levels, weights, training = self._drawn
        if not isinstance(losses, torch.Tensor) or losses.shape != weights.shape:
            raise SpeeDiffTypeError(
                f"losses must be a tensor with one entry per sample, {tuple(weights.shape)}, got "
                f"{describe(losses)}; average over all but the first dimension"
            )
        self._drawn = None
        if training:
            self._losses.add(levels, losses)
            if self._losses.batches == self.sampler.recipe.drawing.accumulation:
                self._losses.learn()
        return (weights.to(losses.device) * losses).mean()

    def state_dict(self) -> dict[str, Any]:
        """The sampler's state. Save it between training steps."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the sampler's state; on error nothing changes."""
        self.sampler.load_state_dict(state)
        self._drawn, self._losses = None, StepLosses(self.sampler)


class StepLosses:
    """The losses of a training step's micro-batches, until its end."""

    def __init__(self, sampler: Sampler) -> None:
        """For a sampler, which need not learn."""
        self._sampler = sampler
        self._parts: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.batches = 0
        """How many micro-batches there are."""

    def add(self, levels: torch.Tensor, losses: torch.Tensor) -> None:
        """Keeps a micro-batch's levels and unweighted losses, each (n,)."""
        self.batches += 1
        if self._sampler.learns:
            # float, since half precision rounds a small loss to 0.
            self._parts.append((levels.detach(), losses.detach().float()))

    def learn(self) -> None:
        """Ends the step: a sampler that learns gets all its losses at once, those of other ranks too.

        Every rank must call it, also one without losses.
        """
        parts, self._parts, self.batches = self._parts, [], 0
        if self._sampler.learns:
            empty = torch.empty(0)
            levels = torch.cat([part[0] for part in parts]) if parts else empty
            losses = torch.cat([part[1] for part in parts]) if parts else empty
            self._sampler.update(levels, losses)


def check_sampler(sampler: object) -> Sampler:
    """The sampler, if it is one of `speediff.torch`."""
    if isinstance(sampler, TimestepSampler | SigmaSampler):
        return sampler
    # Its representation looks like the right one's.
    got, hint = repr(sampler), ""
    if isinstance(sampler, DrawingBase):
        got, hint = f"the {type(sampler).__name__} of speediff", "; import it from speediff.torch"
    raise SpeeDiffTypeError(
        f"sampler must be a TimestepSampler or a SigmaSampler of speediff.torch, got {got}{hint}"
    )


def describe(value: object) -> str:
    """A tensor's shape, or the value."""
    return f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
