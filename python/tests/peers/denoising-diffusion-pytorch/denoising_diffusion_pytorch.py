"""Structure of lucidrains/denoising-diffusion-pytorch 2.3.4: a diffusion that is a module, and its trainer."""

import copy

import torch
from toys import ToyModel


class GaussianDiffusion(torch.nn.Module):
    def __init__(self, timesteps=1000, objective="pred_v", min_snr_gamma=None):
        super().__init__()
        self.model = ToyModel(learn_sigma=False)
        self.objective, self.num_timesteps = objective, timesteps
        betas = torch.linspace(1e-4, 0.02, timesteps, dtype=torch.float64)
        alphas_cumprod = torch.cumprod(1 - betas, dim=0)
        snr = alphas_cumprod / (1 - alphas_cumprod)
        clipped = snr.clone() if min_snr_gamma is None else snr.clamp(max=min_snr_gamma)
        divisor = {"pred_noise": snr, "pred_x0": 1, "pred_v": snr + 1}[objective]
        for name, table in (("betas", betas), ("alphas_cumprod", alphas_cumprod), ("loss_weight", clipped / divisor)):
            self.register_buffer(name, table.float())
        self.seen = []

    @property
    def device(self):
        return self.betas.device

    def random_times(self, batch_size):
        return torch.randint(0, self.num_timesteps, (batch_size,), device=self.device)

    def forward(self, img, *, times=None, loss_reduction="mean"):
        times = self.random_times(len(img)) if times is None else times
        noise = torch.randn_like(img)
        signal, sigma = ((table[times]).sqrt().reshape(-1, 1, 1, 1) for table in (self.alphas_cumprod, 1 - self.alphas_cumprod))
        target = {"pred_noise": noise, "pred_x0": img, "pred_v": signal * noise - sigma * img}[self.objective]
        error = (self.model(signal * img + sigma * noise, times) - target).square().mean(dim=(1, 2, 3))
        self.seen.append({"t": times, "error": error.detach()})
        loss = error * self.loss_weight[times]
        return loss if loss_reduction == "none" else loss.mean()


class Trainer:
    def __init__(self, diffusion_model, batches, gradient_accumulate_every=1):
        self.model, self.dl, self.step = diffusion_model, batches, 0
        self.gradient_accumulate_every = gradient_accumulate_every
        self.opt = torch.optim.Adam(diffusion_model.parameters())
        self.ema = copy.deepcopy(diffusion_model)
        self.losses = []

    def save(self):
        return {"step": self.step, "model": copy.deepcopy(self.model.state_dict())}

    def load(self, data):
        self.model.load_state_dict(data["model"])
        self.step = data["step"]

    def train(self):
        batches = iter(self.dl)
        for first in batches:
            for number in range(self.gradient_accumulate_every):
                loss = self.model(next(batches) if number else first)
                self.losses.append(loss.item())
                (loss / self.gradient_accumulate_every).backward()
            self.opt.step()
            self.opt.zero_grad()
            self.step += 1
