"""A mixin for the trainers of musubi-tuner."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, cast

import torch

from ...errors import SpeeDiffValueError
from ._flow import MAKE_SAMPLER, flow_sampler
from ._loss import StepLosses
from ._mixin import FirstBase

if TYPE_CHECKING:
    from .._samplers import SigmaSampler

_UNSET = {
    "num_timestep_buckets": "strata='stratified'",
    "min_timestep": "Truncated",
    "max_timestep": "Truncated",
}


class MusubiSampler(FirstBase):
    """Draws t and weights losses in a `NetworkTrainer` of musubi-tuner.

    ```python
    class Trainer(MusubiSampler, WanNetworkTrainer):
        def make_sampler(self, args):
            return SigmaSampler.flow(args.seed, sampling="logit_normal", shift=3.0)
    ```

    The state is saved with `--save_state` and restored with `--resume`.
    """

    sampler: SigmaSampler | None = None
    """The sampler, once it has been made."""

    @abstractmethod
    def make_sampler(self, args: Any) -> SigmaSampler:
        """Yours: the sampler, a `SigmaSampler.flow` of `speediff.torch`."""
        raise NotImplementedError(MAKE_SAMPLER)

    def on_transformer_loaded(self, args: Any, accelerator: Any, transformer: Any) -> None:
        """Makes the sampler, after accelerate has connected the processes and before it loads a state.

        Raises:
            SpeeDiffValueError: If an option acts twice or not at all, or the processes have different seeds.
        """
        cast("Any", super()).on_transformer_loaded(args, accelerator, transformer)
        sampler = self._made(args)
        # Without --seed each process has drawn its own. An int64 holds a seed less 2⁶³.
        own = torch.tensor([sampler.seed - (1 << 63)], device=accelerator.device)
        seeds = {seed + (1 << 63) for seed in accelerator.gather(own).tolist()}
        if len(seeds) > 1:
            got = ", ".join(map(str, sorted(seeds)))
            raise SpeeDiffValueError(f"seed must be the same in every process, got {got}; give --seed")
        accelerator.register_for_checkpointing(sampler)

    def get_noisy_model_input_and_timesteps(
        self, args: Any, noise: torch.Tensor, latents: torch.Tensor, timesteps: Any, noise_scheduler: Any,
        device: Any, dtype: torch.dtype,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """(1-t)·latents + t·noise, and 1000·t + 1, which is what the trainer's networks take."""
        t, weights = self._made(args).sample(len(noise), device)
        self._drawn = t, weights
        expanded = t.view(-1, *[1] * (latents.ndim - 1))
        return (1 - expanded) * latents + expanded * noise, 1000 * t + 1

    def compute_loss(
        self, args: Any, output: Any, timesteps: torch.Tensor, noise_scheduler: Any, dit_dtype: torch.dtype,
        network_dtype: torch.dtype, global_step: int,
    ) -> tuple[torch.Tensor, dict[str, float]]:  # fmt: skip
        """The mean of weight times squared error."""
        errors = torch.nn.functional.mse_loss(output.pred.to(network_dtype), output.target, reduction="none")
        losses = errors.flatten(1).mean(1)
        t, weights = self._drawn
        self._losses.add(t, losses)
        return (weights * losses).mean(), {}

    def on_post_optimizer_step(
        self, args: Any, accelerator: Any, network: Any, transformer: Any, sync_gradients: bool,
        global_step: int,
    ) -> None:  # fmt: skip
        """A method that learns gets the losses of the optimizer step."""
        cast("Any", super()).on_post_optimizer_step(
            args, accelerator, network, transformer, sync_gradients, global_step
        )
        if sync_gradients:
            self._losses.learn()

    def _made(self, args: Any) -> SigmaSampler:
        """The sampler. `--show_timesteps` asks for it before training."""
        if self.sampler is None:
            for name, instead in _UNSET.items():
                if getattr(args, name, None) is not None:
                    raise SpeeDiffValueError(
                        f"{name} must be unset, since the sampler draws t, got {getattr(args, name)}; use "
                        f"{instead}"
                    )
            if getattr(self, "high_low_training", False):
                raise SpeeDiffValueError(
                    "the trainer must train one network, not those of high and low noise together; train "
                    "each on its own, with Truncated"
                )
            if args.weighting_scheme in ("sigma_sqrt", "cosmap"):
                raise SpeeDiffValueError(
                    f"weighting_scheme must be none, since the sampler has weights, got "
                    f"{args.weighting_scheme}; use weighting={args.weighting_scheme!r} of the sampler"
                )
            self.sampler = flow_sampler(self.make_sampler(args))
            self._losses = StepLosses(self.sampler)
        return self.sampler
