"""Structure of openai/guided-diffusion, resample.py: the classes, and what a training loop asks of them."""

from abc import ABC, abstractmethod

import numpy as np
import torch as th


class ScheduleSampler(ABC):
    @abstractmethod
    def weights(self):
        pass

    def sample(self, batch_size, device):
        p = self.weights() / np.sum(self.weights())
        indices = np.random.choice(len(p), size=(batch_size,), p=p)
        scale = 1 / (len(p) * p[indices])
        return th.from_numpy(indices).long().to(device), th.from_numpy(scale).float().to(device)


class UniformSampler(ScheduleSampler):
    def __init__(self, diffusion):
        self.diffusion = diffusion

    def weights(self):
        return np.ones(self.diffusion.num_timesteps)


class LossAwareSampler(ScheduleSampler):
    @abstractmethod
    def update_with_local_losses(self, local_ts, local_losses):
        pass
