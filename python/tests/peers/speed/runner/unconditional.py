"""Structure of NUS-HPC-AI-Lab/SpeeD, runner/unconditional.py: here the step goes into `train_step`."""

import torch

from .base import BaseExperiment


class UnconditionalExperiment(BaseExperiment):
    def train_one_step(self, x, y, train_steps):
        with torch.no_grad():
            # Map input images to latent space + normalize latents:
            x = self.vae.encode(x).latent_dist.sample().mul_(0.18215)
        loss_dict = self.diffusion.train_step(self.model, x, None, device=self.device, train_steps=train_steps)
        loss = loss_dict["loss"].mean()
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        self.losses.append(loss.item())
