"""A timestep sampler for AnimaLoraStudio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ...errors import SpeeDiffTypeError
from ._flow import draw_unweighted, unweighted_flow_sampler
from ._loss import StepLosses
from ._resuming import warn_without_state

if TYPE_CHECKING:
    from collections.abc import Callable

_TRAINER = "AnimaLoraStudio's sampler"


class AnimaTimesteps:
    """A sampler with AnimaLoraStudio's `TimestepSamplerProtocol`, for its `BUILDERS`.

    ```python
    BUILDERS["baseline"] = lambda args, total_steps: AnimaTimesteps(sampler)
    ```
    """

    def __init__(self, sampler: object, shift: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
        """Wraps a sampler.

        Args:
            sampler: A `SigmaSampler.flow` of `speediff.torch` whose weights are 1: the loop weights losses
                by its own `loss_weighting`.
            shift: The shift of each image, (n,), from its number of tokens, float32 (n,). Not with a method
                that learns, whose bins are those of the unshifted t.

        Raises:
            SpeeDiffTypeError: If the sampler is another one, or learns and there is a shift.
            SpeeDiffValueError: If its weights are not 1.
        """
        self.sampler = unweighted_flow_sampler(sampler, _TRAINER)
        """The sampler."""
        if shift is not None and self.sampler.learns:
            raise SpeeDiffTypeError(
                f"shift must be None for a method that learns, which finds its own levels, got {shift!r}; "
                "leave it out"
            )
        self._shift = shift
        self._losses = StepLosses(self.sampler)
        self._fresh = True

    @property
    def requires_token_counts(self) -> bool:
        """Whether the loop must count the tokens of each image."""
        return self._shift is not None

    applies_resolution_shift = requires_token_counts
    """Whether the loop must leave the shift to this sampler."""

    def sample(self, bs: int, device: Any, *, token_counts: Any = None) -> torch.Tensor:
        """The t of the next batch, float32 (bs,), in (0, 1), where 1 is noise."""
        shift = None
        if self._shift is not None:
            counts = torch.as_tensor(token_counts, dtype=torch.float32, device="cpu")
            if counts.shape != (bs,):
                raise SpeeDiffTypeError(
                    f"token_counts must have one entry per image, ({bs},), got shape {tuple(counts.shape)}"
                )
            shift = self._shift(counts)
        return draw_unweighted(self.sampler, bs, _TRAINER, shift).to(device)

    def record(self, t: torch.Tensor, raw_mse: torch.Tensor) -> None:
        """Keeps a micro-batch's unweighted losses, (n,), without those that are not finite."""
        finite = raw_mse.isfinite()
        self._losses.add(t[finite], raw_mse[finite])

    def maybe_refresh(self, global_step: int) -> None:
        """Ends an optimizer step: a method that learns gets its losses. Every rank calls it.

        In a run that resumes from a state without a sampler, the first call warns.
        """
        if self._fresh and global_step > 1:
            warn_without_state("the training state", "the batches so far")
        self._fresh = False
        self._losses.learn()

    def status(self) -> dict[str, Any]:
        """What the monitor shows."""
        return {"kind": "speediff", "learns": self.sampler.learns, **self.sampler.recipe.describe()}

    def state_dict(self) -> dict[str, Any]:
        """The sampler's state, which the loop saves after `maybe_refresh`."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the sampler; on error nothing changes, and the loop warns."""
        self.sampler.load_state_dict(state)
        self._losses = StepLosses(self.sampler)
        self._fresh = False
