"""The loss object of NVlabs/edm and of the pipelines that descend from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import _fdm, processes
from ..errors import SpeeDiffValueError
from ._samplers import SigmaSampler

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Unpack

    from .._recipe import Options
    from ..processes import Process
    from ..sampling import Sampling
    from ..weighting import Weighting


class DenoisingLoss:
    """w·(D(y+n; σ)-y)², n being σ times normal noise: `EDMLoss`, `VPLoss` and `VELoss` of NVlabs/edm.

    Called as those are, `loss_fn(net=net, images=images, labels=labels, augment_pipe=augment_pipe)`; one call
    is one micro-batch. Goes into snapshots: pickling keeps the place in the run, and drops rank and world
    size, which the process that loads it gives anew.
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
        """Takes what `SigmaSampler.fdm` takes.

        Args:
            process: "edm", "vp", "ve", or one of those of `speediff.processes`.
            seed: Of the noise levels, in [0, 2⁶⁴). The noise itself is PyTorch's.
            warm_up: FDM's: weights are at most 5·100^(step/warm_up) before that optimizer step. None: no
                bound.
            sampling: Another draw than the process's.
            weighting: Another weight than the process's.
            **options: As for `SigmaSampler`; `accumulation` is the number of calls per optimizer step.

        Raises:
            SpeeDiffValueError: If a value is out of range, or the process is rectified flow.
            SpeeDiffTypeError: If a value has the wrong type.
        """
        process = _fdm.process_named(process)
        if isinstance(process, processes.Flow):
            raise SpeeDiffValueError(f"process must be EDM, VP or VE for a denoiser's loss, got {process!r}")
        self._arguments: dict[str, Any] = {
            "process": process,
            "seed": seed,
            "warm_up": warm_up,
            "sampling": sampling,
            "weighting": weighting,
            **{key: value for key, value in options.items() if key not in ("rank", "world_size")},
        }
        self.sampler = SigmaSampler(process, sampling, weighting, seed=seed, warm_up=warm_up, **options)
        """What draws the noise levels and their weights."""

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
            net: D, called as `net(noisy, sigma, labels)` with σ of shape (n, 1, …, 1), and `augment_labels`
                if there is an augmentation.
            images: float (n, …).
            labels: What `net` takes.
            augment_pipe: Gives augmented images and their labels.
            noise: Standard normal, shaped as the images; None: PyTorch's.

        Returns:
            The loss of each value, in the shape of the images.

        Raises:
            SpeeDiffValueError: If the noise has another shape than the images; then no batch is drawn.
        """
        if noise is not None and noise.shape != images.shape:
            raise SpeeDiffValueError(
                f"noise must have the images' shape {tuple(images.shape)}, got {tuple(noise.shape)}"
            )
        sigma, weight = (
            level.reshape(-1, *(1,) * (images.ndim - 1))
            for level in self.sampler.sample(len(images), images.device)
        )
        options: dict[str, torch.Tensor] = {}
        if augment_pipe is not None:
            images, options["augment_labels"] = augment_pipe(images)
        noise = torch.randn_like(images) if noise is None else noise
        return weight * (net(images + sigma * noise, sigma, labels, **options) - images) ** 2

    def state_dict(self) -> dict[str, Any]:
        """The sampler's state: seed and step."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken; errors as for `SigmaSampler`."""
        self.sampler.load_state_dict(state)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._arguments, self.state_dict())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.sampler!r})"


def _restored(arguments: dict[str, Any], state: dict[str, Any]) -> DenoisingLoss:
    loss = DenoisingLoss(**arguments)
    loss.load_state_dict(state)
    return loss
