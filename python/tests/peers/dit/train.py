"""Structure of facebookresearch/DiT, train.py: `main` with its loop over batches, and its checkpoints."""

import logging
from copy import deepcopy

import torch
from toys import DDP, requires_grad
import os

from models import DiT_models
from diffusion import create_diffusion
from diffusers.models import AutoencoderKL


def main(args):
    device = torch.device("cpu")
    rank = 0
    logger = logging.getLogger(__name__)
    checkpoint_dir = os.fspath(args.results_dir)
    model = DiT_models[args.model]()
    ema = deepcopy(model).to(device)
    requires_grad(ema, False)
    model = DDP(model.to(device), device_ids=[rank])
    diffusion = create_diffusion(timestep_respacing="")  # default: 1000 steps, linear noise schedule
    vae = AutoencoderKL.from_pretrained(f"stabilityai/sd-vae-ft-{args.vae}").to(device)
    logger.info(f"DiT Parameters: {sum(p.numel() for p in model.parameters()):,}")

    opt = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses, train_steps = [], 0
    for _ in range(args.epochs):
        for x, y in args.loader:
            with torch.no_grad():
                # Map input images to latent space + normalize latents:
                x = vae.encode(x).latent_dist.sample().mul_(0.18215)
            t = torch.randint(0, diffusion.num_timesteps, (x.shape[0],), device=device)
            model_kwargs = dict(y=y)
            loss_dict = diffusion.training_losses(model, x, t, model_kwargs)
            loss = loss_dict["loss"].mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
            train_steps += 1
            if train_steps % args.ckpt_every == 0:
                if rank == 0:
                    checkpoint = {
                        "model": model.module.state_dict(),
                        "ema": ema.state_dict(),
                        "opt": opt.state_dict(),
                        "args": args
                    }
                    checkpoint_path = f"{checkpoint_dir}/{train_steps:07d}.pt"
                    torch.save(checkpoint, checkpoint_path)
    return diffusion, losses
