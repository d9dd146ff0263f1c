"""The trainer's hooks, and the order in which it calls them."""

from __future__ import annotations

from types import SimpleNamespace

import torch


class Model:
    is_flow_matching = True
    is_multistage = False

    def add_noise(self, original_samples, noise, timesteps):
        t_01 = (timesteps / 1000).view(-1, *[1] * (original_samples.ndim - 1))
        return (1.0 - t_01) * original_samples + t_01 * noise


class SDTrainer:
    def __init__(self, save_root, batches, step_num=0, **config):
        self.sd, self.save_root, self.batches, self.step_num = Model(), save_root, batches, step_num
        self.is_grad_accumulation_step = False
        self.seen = []
        defaults = {
            "timestep_type": "sigmoid", "linear_timesteps": False, "linear_timesteps2": False,
            "noisy_latent_multiplier": 1.0, "accumulating": (), "short_and_long_captions": False,
        }  # fmt: skip
        self.train_config = SimpleNamespace(**{**defaults, **config})

    def hook_before_train_loop(self):
        pass

    def process_general_training_batch(self, batch):
        latents = batch.latents
        timesteps = torch.randint(1, 1000, (len(latents),))
        noise = torch.randn_like(latents)
        noisy = self.sd.add_noise(latents, noise, timesteps)
        if self.train_config.short_and_long_captions:
            noisy, noise, timesteps = (torch.cat([part, part]) for part in (noisy, noise, timesteps))
        return noisy * self.train_config.noisy_latent_multiplier, noise, timesteps, ["prompt"], None

    def calculate_loss(
        self, noise_pred, noise, noisy_latents, timesteps, batch, mask_multiplier=1.0, prior_pred=None, **kwargs
    ):
        copies = len(noise) // len(batch.latents)
        target = noise - torch.cat([batch.latents] * copies)
        loss = torch.nn.functional.mse_loss(noise_pred.float(), target.float(), reduction="none")
        try:
            loss = loss * mask_multiplier
        except RuntimeError:
            pass
        return loss.mean()

    def end_of_training_loop(self):
        pass

    def hook_train_loop(self, batches):
        for batch in batches:
            noisy, noise, timesteps, _, _ = self.process_general_training_batch(batch)
            mask = torch.ones((len(noisy), 1, 1, 1))
            pred = 0.5 * noisy
            loss = self.calculate_loss(
                noise_pred=pred, noise=noise, noisy_latents=noisy, timesteps=timesteps, batch=batch,
                mask_multiplier=mask, prior_pred=None,
            )  # fmt: skip
            self.seen.append(
                {"timesteps": timesteps, "noisy": noisy, "noise": noise, "latents": batch.latents,
                 "pred": pred, "loss": loss.item()}
            )  # fmt: skip
        self.end_of_training_loop()

    def post_save_hook(self, save_path):
        pass

    def run(self):
        self.hook_before_train_loop()
        for number, batches in enumerate(self.batches):
            self.is_grad_accumulation_step = number in self.train_config.accumulating
            self.hook_train_loop(batches)
            self.step_num += 1
        self.post_save_hook(f"{self.save_root}/weights.safetensors")
        return self.seen
