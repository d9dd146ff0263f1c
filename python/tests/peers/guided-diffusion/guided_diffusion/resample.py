"""Structure of openai/guided-diffusion, resample.py: the classes, and what a training loop asks of them."""

from abc import ABC, abstractmethod

import torch as th


class ScheduleSampler(ABC):
    @abstractmethod
    def sample(self, batch_size, device):
        """Time steps and their weights."""


class UniformSampler(ScheduleSampler):
    def __init__(self, diffusion):
        self.diffusion = diffusion

    def sample(self, batch_size, device):
        return th.randint(self.diffusion.num_timesteps, (batch_size,), device=device), th.ones(batch_size)


class LossAwareSampler(ScheduleSampler):
    @abstractmethod
    def update_with_local_losses(self, local_ts, local_losses):
        """What the loop calls for each micro-batch."""
