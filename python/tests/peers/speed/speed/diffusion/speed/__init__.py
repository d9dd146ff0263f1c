"""Structure of NUS-HPC-AI-Lab/SpeeD, speed/diffusion/speed: a table of weights, a draw, and a training step of both."""

import numpy as np
import torch

import speed.diffusion.iddpm.gaussian_diffusion as gd
from speed.diffusion.iddpm import IDDPM
from speed.diffusion.mask_iddpm import MASK_IDDPM


class Speed_IDDPM(IDDPM):
    target = gd.ModelMeanType.EPSILON

    def __init__(self, timestep_respacing, weighting="ours", sampling="ours", k=1, lam=5, tau=700):
        super().__init__(timestep_respacing)
        self.lam = lam
        self.k = k
        self.tau = tau

        self.weights = self._weights(weighting)
        self.sampling = sampling.lower()

    def _weights(self, weighting):
        return np.ones(self.num_timesteps)

    def _sample_time(self, n, **kwargs):
        return torch.randint(0, self.num_timesteps, (n,))

    def train_step(self, model, z, y, device, **kwargs):
        n = z.shape[0]
        t = self._sample_time(n, **kwargs).to(device)
        weights = self.weights
        model_kwargs = y
        loss_dict = self.training_losses(model, z, t, model_kwargs, weights=weights)
        return loss_dict


class Speed_Mask_IDDPM(MASK_IDDPM):
    def train_step(self, model, x, y, device):
        n = x.shape[0]
        t = torch.randint(0, self.num_timesteps, (n,), device=device)
        return self.training_losses(model, x, t, y)
