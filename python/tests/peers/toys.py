"""What the stand-ins are made of: a model of a few weights, and a diffusion that writes down what it was asked.

The stand-ins have the structure of other trainers at the places where docs/migrate/*.patch touches them: the same
files, names, signatures and order of calls. What is in between is a toy, and ours.
"""

import enum
from types import SimpleNamespace

import numpy as np
import torch


class ModelMeanType(enum.Enum):
    """What the model predicts, by guided-diffusion's names."""

    PREVIOUS_X = enum.auto()
    START_X = enum.auto()
    EPSILON = enum.auto()
    VELOCITY = enum.auto()


class ToyModel(torch.nn.Module):
    """Twice the channels, the second half for a learned variance."""

    def __init__(self, channels=2, learn_sigma=True):
        super().__init__()
        self.layer = torch.nn.Conv2d(channels, channels * (2 if learn_sigma else 1), 3, padding=1)
        self.masked = []

    def forward(self, x, t, y=None, enable_mask=False):
        self.masked.append(enable_mask)
        return self.layer(x * (0.5 if enable_mask else 1.0)) + 1e-3 * t.reshape(-1, 1, 1, 1)


class ToyDiffusion:
    """guided-diffusion's interface over the linear schedule, with a term in the place of the variational one."""

    built_in = None

    def __init__(self, steps=1000):
        self.betas = np.linspace(1e-4, 0.02, steps) * (1000 / steps)
        self.alphas_cumprod = np.cumprod(1 - self.betas)
        self.num_timesteps = steps
        self.model_mean_type = ModelMeanType.EPSILON
        self.seen = []

    def training_losses(self, model, x_start, t, model_kwargs=None, noise=None, weights=None):
        """A dict of "mse", "vb" and "loss", each (n,); `weights` is a table of T entries, as in SpeeD's code."""
        noise = torch.randn_like(x_start) if noise is None else noise
        alpha_bar = torch.from_numpy(self.alphas_cumprod)[t].float().reshape(-1, 1, 1, 1)
        output = model(alpha_bar.sqrt() * x_start + (1 - alpha_bar).sqrt() * noise, t, **(model_kwargs or {}))
        prediction, variance = output.chunk(2, dim=1)
        error = (prediction - noise).square().mean(dim=(1, 2, 3))
        mse = error if self.built_in is None else error * torch.from_numpy(self.built_in)[t].float()
        if weights is not None:
            mse = mse * torch.from_numpy(weights)[t].float()
        vb = variance.square().mean(dim=(1, 2, 3))
        self.seen.append({"t": t.clone(), "error": error.detach(), "vb": vb.detach()})
        return {"mse": mse, "vb": vb, "loss": mse + vb}


class ToyAccelerator:
    """One process of accelerate: accumulation, which an epoch's end cuts off, and what is saved with a state."""

    def __init__(self, gradient_accumulation_steps):
        self.steps, self.calls, self.custom = gradient_accumulation_steps, 0, []
        self.device = torch.device("cpu")
        self.sync_gradients = True

    def prepare(self, dataloader):
        for index, batch in enumerate(dataloader, 1):
            self.last = index == len(dataloader)
            yield batch

    def accumulate(self, model):
        self.calls += 1
        self.sync_gradients = self.last or self.calls % self.steps == 0
        if self.last:
            self.calls = 0
        return torch.enable_grad()

    def backward(self, loss):
        (loss / self.steps).backward()

    def register_for_checkpointing(self, *objects):
        assert all(hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict") for thing in objects)
        self.custom += objects

    def save_state(self, folder):
        torch.save([thing.state_dict() for thing in self.custom], folder / "custom.pkl")

    def load_state(self, folder):
        states = torch.load(folder / "custom.pkl", weights_only=True)
        assert len(states) == len(self.custom)
        for thing, state in zip(self.custom, states):
            thing.load_state_dict(state)


class DDP(torch.nn.Module):
    """A single process."""

    def __init__(self, module, device_ids):
        super().__init__()
        self.module = module

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)


def requires_grad(model, flag):
    model.requires_grad_(flag)


class AutoencoderKL:
    """Latents are the images."""

    @classmethod
    def from_pretrained(cls, name):
        return cls()

    def to(self, device):
        return self

    def encode(self, x):
        return SimpleNamespace(latent_dist=SimpleNamespace(sample=x.clone))


class MixedPrecisionTrainer:
    """In full precision."""

    def __init__(self, *, model, use_fp16, fp16_scale_growth):
        assert not use_fp16
        self.master_params = list(model.parameters())

    def zero_grad(self):
        for parameter in self.master_params:
            parameter.grad = None

    def backward(self, loss):
        loss.backward()

    def optimize(self, opt):
        opt.step()


class CLIPTokenizer:
    """Knows no words."""

    @classmethod
    def from_pretrained(cls, name, subfolder, revision, variant):
        return cls()
