"""Structure of NUS-HPC-AI-Lab/SpeeD, runner/base.py: class-conditional training, which resumes at a step."""

from types import SimpleNamespace

import torch
from toys import AutoencoderKL, ToyModel

from speed.diffusion.speed import Speed_IDDPM


class BaseExperiment(object):
    def __init__(self, config):
        self.config = config
        self.diffusion = Speed_IDDPM(config.timestep_respacing)
        self.device = torch.device("cpu")
        self.model = ToyModel()
        self.vae = AutoencoderKL()
        self.encoder = SimpleNamespace(encode=lambda y: dict(y=y))
        self.opt = torch.optim.AdamW(self.model.parameters())
        self.losses = []

    def train_one_step(self, x, y, train_steps):
        with torch.no_grad():
            # Map input images to latent space + normalize latents:
            x = self.vae.encode(x).latent_dist.sample().mul_(0.18215)
            model_kwargs = self.encoder.encode(y)
        loss_dict = self.diffusion.train_step(self.model, x, model_kwargs, device=self.device)
        loss = loss_dict["loss"].mean()
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        self.losses.append(loss.item())

    def train(self, loader):
        for train_steps, x in enumerate(loader, self.config.start_step):
            self.train_one_step(x, torch.zeros(len(x)), train_steps)
