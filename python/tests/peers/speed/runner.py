"""Structure of NUS-HPC-AI-Lab/SpeeD, runner: the number of the step goes into `train_step`, and into checkpoints."""

import torch
from toys import ToyModel

from speed.diffusion.speed import Speed_IDDPM


class Experiment:
    def __init__(self, start_step=0):
        self.diffusion = Speed_IDDPM()
        self.model = ToyModel()
        self.device = torch.device("cpu")
        self.opt = torch.optim.AdamW(self.model.parameters())
        self.start_step = start_step

    def train(self, loader):
        losses = []
        for train_steps, x in enumerate(loader, self.start_step):
            loss_dict = self.diffusion.train_step(self.model, x, None, device=self.device, train_steps=train_steps)
            loss = loss_dict["loss"].mean()
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            losses.append(loss.item())
        return losses
