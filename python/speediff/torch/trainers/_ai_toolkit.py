"""A mixin for the trainer of ai-toolkit."""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from ...errors import SpeeDiffValueError
from ._flow import MAKE_SAMPLER, flow_sampler
from ._loss import StepLosses
from ._mixin import FirstBase
from ._resuming import warn_without_state

if TYPE_CHECKING:
    from .._samplers import SigmaSampler

_FILE = "speediff_sampler.json"


class AIToolkitSampler(FirstBase):
    """Draws t and weights losses in ai-toolkit's `SDTrainer`, for models of rectified flow.

    ```python
    class Trainer(AIToolkitSampler, SDTrainer):
        def make_sampler(self):
            return SigmaSampler.flow(seed=0, sampling="logit_normal", shift=3.0)
    ```

    Each save writes the sampler beside the weights; a run that resumes reads it.
    """

    sampler: SigmaSampler
    """The sampler, from the start of the loop on."""

    @abstractmethod
    def make_sampler(self) -> SigmaSampler:
        """Yours: the sampler, a `SigmaSampler.flow` of `speediff.torch`."""
        raise NotImplementedError(MAKE_SAMPLER)

    def hook_before_train_loop(self) -> None:
        """Makes the sampler, and restores it where the run resumes.

        Raises:
            SpeeDiffValueError: If the model is not of rectified flow, or trains in stages of noise, or a
                `timestep_type` is weighted.
        """
        trainer = cast("Any", self)
        cast("Any", super()).hook_before_train_loop()
        flow, stages = trainer.sd.is_flow_matching, getattr(trainer.sd, "is_multistage", False)
        if not flow or stages:
            raise SpeeDiffValueError(
                "the model must be of rectified flow, in one stage of noise, got one with is_flow_matching = "
                f"{flow}, is_multistage = {stages}; train it with type sd_trainer"
            )
        config = trainer.train_config
        if config.timestep_type == "weighted" or config.linear_timesteps or config.linear_timesteps2:
            raise SpeeDiffValueError(
                f"timestep_type must have no weights of its own, got {config.timestep_type!r} with "
                f"linear_timesteps = {config.linear_timesteps}, linear_timesteps2 = "
                f"{config.linear_timesteps2}; use 'sigmoid', which the sampler replaces"
            )
        self.sampler = flow_sampler(self.make_sampler())
        self._losses = StepLosses(self.sampler)
        file = Path(trainer.save_root) / _FILE
        if trainer.step_num > 0:
            if file.exists():
                self.sampler.load_state_dict(json.loads(file.read_text()))
            else:
                warn_without_state(f"the folder {file.parent}", "the batches so far")

    def process_general_training_batch(self, batch: Any) -> tuple[Any, ...]:
        """The trainer's own batch, noised again at the sampler's t; 1000·t are its timesteps."""
        trainer = cast("Any", self)
        _, noise, timesteps, prompts, images = cast("Any", super()).process_general_training_batch(batch)
        n = len(batch.latents)
        t, weights = self.sampler.sample(n, noise.device)
        # With long and short captions the batch comes twice.
        copies = len(timesteps) // n
        self._drawn = t.repeat(copies), weights.repeat(copies)
        drawn = 1000 * self._drawn[0]
        latents = batch.latents.repeat(copies, *[1] * (batch.latents.ndim - 1))
        with torch.no_grad():
            noisy = trainer.sd.add_noise(latents, noise, drawn)
            noisy = noisy * trainer.train_config.noisy_latent_multiplier
        return noisy.detach(), noise, drawn, prompts, images

    def calculate_loss(
        self, noise_pred: torch.Tensor, noise: torch.Tensor, noisy_latents: torch.Tensor,
        timesteps: torch.Tensor, batch: Any, mask_multiplier: Any = 1.0, prior_pred: Any = None,
        **kwargs: Any,
    ) -> torch.Tensor:  # fmt: skip
        """The trainer's own loss, with the weight of each sample in the mask."""
        t, weights = self._drawn
        if self.sampler.learns:
            latents = batch.latents.repeat(len(noise) // len(batch.latents), *[1] * (noise.ndim - 1))
            errors = (noise_pred.detach().float() - (noise - latents).float()).square().flatten(1).mean(1)
            finite = errors.isfinite()
            self._losses.add(t[finite], errors[finite])
        shape = [len(weights)] + [1] * (noise_pred.ndim - 1)
        if isinstance(mask_multiplier, torch.Tensor) and mask_multiplier.ndim < noise_pred.ndim:
            mask_multiplier = mask_multiplier.unsqueeze(2)
        loss: torch.Tensor = cast("Any", super()).calculate_loss(
            noise_pred=noise_pred, noise=noise, noisy_latents=noisy_latents, timesteps=timesteps, batch=batch,
            mask_multiplier=mask_multiplier * weights.view(shape), prior_pred=prior_pred, **kwargs,
        )  # fmt: skip
        return loss

    def end_of_training_loop(self) -> None:
        """A method that learns gets the losses of the optimizer step."""
        cast("Any", super()).end_of_training_loop()
        if not cast("Any", self).is_grad_accumulation_step:
            self._losses.learn()

    def post_save_hook(self, save_path: Any) -> None:
        """Writes the sampler's state."""
        cast("Any", super()).post_save_hook(save_path)
        file = Path(cast("Any", self).save_root) / _FILE
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.sampler.state_dict()))
        temporary.replace(file)
