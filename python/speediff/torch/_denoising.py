"""The loss object for NVlabs/edm and derived pipelines."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

from .. import processes
from .._samplers import fdm
from ..errors import SpeeDiffValueError
from ._samplers import SigmaSampler

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self, Unpack

    from .._samplers.recipe import Options
    from ..processes import Process
    from ..sampling import Sampling
    from ..weighting import Weighting


class DenoisingLoss:
    """w·(D(y+n; σ)-y)², where n is σ times standard normal noise: the losses of NVlabs/edm.

    Called like `EDMLoss`, `VPLoss` and `VELoss` there, `loss_fn(net=net, images=images, labels=labels,
    augment_pipe=augment_pipe)`. One call is one micro-batch. A sampling or weighting that learns is told the
    errors of each call; then every rank must call it. A copy draws what the original would have drawn.
    Snapshots can pickle it. The pickle keeps the step; rank and world size come from the process that loads
    it.
    """

    def __init__(
        self,
        process: str | Process = "edm",
        *,
        seed: int = 0,
        warm_up: int | None = None,
        sampling: str | Sampling | None = None,
        weighting: str | Weighting | None = None,
        **options: Unpack[Options],
    ) -> None:
        """Takes the arguments of `SigmaSampler.fdm`.

        Args:
            process: "edm", "vp", "ve", or an EDM, VP or VE of `speediff.processes`.
            seed: The seed of the noise levels, in [0, 2⁶⁴). The noise itself comes from PyTorch's generator.
            warm_up: FDM's warm-up, in optimizer steps: until step `warm_up` the weights are at most
                5·100^(step/warm_up). None: no bound.
            sampling: Replaces the process's sampling.
            weighting: Replaces the process's weighting.
            **options: As for `SigmaSampler`. `accumulation` is the number of calls per optimizer step.

        Raises:
            SpeeDiffValueError: If a value is out of range, or the process is rectified flow.
            SpeeDiffTypeError: If a value has the wrong type.
        """
        process = fdm.process_named(process)
        if isinstance(process, processes.Flow):
            raise SpeeDiffValueError(
                f"process must be EDM, VP or VE for a denoiser's loss, got {process!r}; for flow "
                "matching use SigmaSampler.flow"
            )
        self._arguments: dict[str, Any] = {
            "process": process,
            "seed": seed,
            "warm_up": warm_up,
            "sampling": sampling,
            "weighting": weighting,
            **{key: value for key, value in options.items() if key not in ("rank", "world_size")},
        }
        self.sampler = SigmaSampler(process, sampling, weighting, seed=seed, warm_up=warm_up, **options)
        """Draws the noise levels and their weights."""

    def __call__(
        self,
        net: Callable[..., torch.Tensor],
        images: torch.Tensor,
        labels: torch.Tensor | None = None,
        augment_pipe: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]] | None = None,
        noise: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The weighted squared error of the next batch.

        Args:
            net: D, called as `net(noisy, sigma, labels)` with σ of shape (n, 1, …, 1), and with
                `augment_labels` if there is an `augment_pipe`.
            images: float (n, …).
            labels: Passed to `net`.
            augment_pipe: Returns augmented images and their augmentation labels.
            noise: Standard normal, in the shape of the images. None: drawn by PyTorch.

        Returns:
            The loss of each pixel, in the shape of the images.

        Raises:
            SpeeDiffValueError: If noise and images differ in shape. Then no batch is drawn.
        """
        if noise is not None and noise.shape != images.shape:
            raise SpeeDiffValueError(
                f"noise must have the images' shape {tuple(images.shape)}, got {tuple(noise.shape)}"
            )
        levels, weights = self.sampler.sample(len(images), images.device)
        sigma, weight = (level.reshape(-1, *(1,) * (images.ndim - 1)) for level in (levels, weights))
        options: dict[str, torch.Tensor] = {}
        if augment_pipe is not None:
            images, options["augment_labels"] = augment_pipe(images)
        noise = torch.randn_like(images) if noise is None else noise
        error = (net(images + sigma * noise, sigma, labels, **options) - images) ** 2
        if self.sampler.learns:
            self.sampler.update(levels, error.detach().reshape(len(images), -1).mean(1))
        return weight * error

    def state_dict(self) -> dict[str, Any]:
        """The sampler's state: seed and step."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from where `state_dict` was taken. Raises as `SigmaSampler.load_state_dict` does."""
        self.sampler.load_state_dict(state)

    def __copy__(self) -> Self:
        twin = object.__new__(type(self))
        vars(twin).update(vars(self), sampler=copy.copy(self.sampler))
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        memo[id(self)] = twin = object.__new__(type(self))
        vars(twin).update(copy.deepcopy(vars(self), memo))
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._arguments, self.state_dict())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.sampler!r})"


def _restored(arguments: dict[str, Any], state: dict[str, Any]) -> DenoisingLoss:
    loss = DenoisingLoss(**arguments)
    loss.load_state_dict(state)
    return loss
