"""Structure of facebookresearch/DiT, train.py: `main` with its loop over batches, and its checkpoints."""

import torch

from models import DiT_models
from diffusion import create_diffusion
from models import AutoencoderKL


def main(args):
    device = torch.device("cpu")
    rank = 0
    model = DiT_models[args.model]().to(device)
    diffusion = create_diffusion(timestep_respacing="")  # default: 1000 steps, linear noise schedule
    vae = AutoencoderKL.from_pretrained(f"stabilityai/sd-vae-ft-{args.vae}").to(device)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0)
    losses = []
    checkpoints = []
    train_steps = 0
    for epoch in range(args.epochs):
        for x, y in args.loader:
            x = x.to(device)
            y = y.to(device)
            with torch.no_grad():
                x = vae.encode(x)
            t = torch.randint(0, diffusion.num_timesteps, (x.shape[0],), device=device)
            model_kwargs = dict(y=y)
            loss_dict = diffusion.training_losses(model, x, t, model_kwargs)
            loss = loss_dict["loss"].mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
            train_steps += 1
            if train_steps % args.ckpt_every == 0 and train_steps > 0:
                if rank == 0:
                    checkpoint = {
                        "model": model.state_dict(),
                        "opt": opt.state_dict(),
                        "args": args
                    }
                    checkpoints.append(checkpoint)
    return diffusion, losses, checkpoints
