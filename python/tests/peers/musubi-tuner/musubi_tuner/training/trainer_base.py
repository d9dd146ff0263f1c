"""The trainer's hooks, and the order in which it calls them."""

from __future__ import annotations

from dataclasses import dataclass, field

import accelerate
import torch


@dataclass
class DiTOutput:
    pred: torch.Tensor
    target: torch.Tensor
    extra: dict = field(default_factory=dict)


class NetworkTrainer:
    def get_noisy_model_input_and_timesteps(
        self, args, noise, latents, timesteps, noise_scheduler, device, dtype
    ):
        raise NotImplementedError

    def call_dit(
        self, args, accelerator, transformer_arg, latents, batch, noise, noisy_model_input, timesteps,
        network_dtype, **kwargs,
    ):  # fmt: skip
        raise NotImplementedError

    def process_batch(
        self, args, accelerator, transformer, network, batch, latents, noise, noise_scheduler, dit_dtype,
        network_dtype, vae, global_step,
    ):  # fmt: skip
        noisy_model_input, timesteps = self.get_noisy_model_input_and_timesteps(
            args, noise, latents, batch["timesteps"], noise_scheduler, accelerator.device, dit_dtype
        )
        output = self.call_dit(
            args, accelerator, transformer, latents, batch, noise, noisy_model_input, timesteps, network_dtype
        )
        return self.compute_loss(
            args, output, timesteps, noise_scheduler, dit_dtype, network_dtype, global_step
        )

    def compute_loss(
        self, args, output, timesteps, noise_scheduler, dit_dtype, network_dtype, global_step
    ):
        raise NotImplementedError

    def on_transformer_loaded(self, args, accelerator, transformer):
        pass

    def on_post_optimizer_step(self, args, accelerator, network, transformer, sync_gradients, global_step):
        pass

    def train(self, args):
        self.seen = []
        accelerator = accelerate.Accelerator(
            cpu=True, gradient_accumulation_steps=args.gradient_accumulation_steps
        )
        network = torch.nn.Linear(1, 1)
        self.on_transformer_loaded(args, accelerator, network)
        loader = torch.utils.data.DataLoader(args.latents, batch_size=4)
        network, loader = accelerator.prepare(network, loader)
        if args.resume:
            accelerator.load_state(args.resume)
        global_step = 0
        for latents in loader:
            with accelerator.accumulate(network):
                loss, _ = self.process_batch(
                    args, accelerator, network, network, {"timesteps": None}, latents,
                    torch.randn_like(latents), None, torch.float32, torch.float32, None, global_step,
                )  # fmt: skip
                self.seen[-1]["loss"] = loss.item()
                accelerator.backward(loss)
                self.on_post_optimizer_step(
                    args, accelerator, network, network, accelerator.sync_gradients, global_step
                )
            if accelerator.sync_gradients:
                global_step += 1
                if global_step == args.save_at:
                    accelerator.save_state(args.state)
