"""The trainer's calls that concern t."""

from __future__ import annotations

import torch

from ltx_trainer.timestep_samplers import SAMPLERS


class LtxvTrainer:
    def __init__(self, trainer_config):
        self._config = trainer_config

    def train(self):
        self._init_timestep_sampler()
        return [self._training_step(latents) for latents in self._config.batches]

    def _init_timestep_sampler(self):
        sampler_cls = SAMPLERS[self._config.flow_matching.timestep_sampling_mode]
        self._timestep_sampler = sampler_cls(**self._config.flow_matching.timestep_sampling_params)

    def _training_step(self, latents):
        sigmas = self._timestep_sampler.sample_for(latents)
        noise = torch.randn_like(latents)
        noisy = (1 - sigmas.view(-1, 1, 1)) * latents + sigmas.view(-1, 1, 1) * noise
        loss = (noisy - (noise - latents)).square().mean(dim=(1, 2))
        return {"sigma": sigmas.detach(), "loss": loss}
