"""Structure of facebookresearch/DiT, train.py: `main` with its loop over batches, and its checkpoints."""

import torch

from models import DiT_models
from diffusion import create_diffusion
from models import AutoencoderKL


def main(args):
    device = torch.device("cpu")
    model = DiT_models[args.model]().to(device)
    diffusion = create_diffusion(timestep_respacing="")  # default: 1000 steps, linear noise schedule
    vae = AutoencoderKL.from_pretrained(f"stabilityai/sd-vae-ft-{args.vae}").to(device)
    opt = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses, checkpoints = [], []
    for _ in range(args.epochs):
        for train_steps, (x, y) in enumerate(args.loader, 1):
            x = vae.encode(x)
            t = torch.randint(0, diffusion.num_timesteps, (x.shape[0],), device=device)
            loss_dict = diffusion.training_losses(model, x, t, {"y": y})
            loss = loss_dict["loss"].mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
            if train_steps % args.ckpt_every == 0:
                if args.results_dir is None:
                    checkpoint = {
                        "model": model.state_dict(),
                        "opt": opt.state_dict(),
                        "args": args
                    }
                    checkpoints.append(checkpoint)
    return diffusion, losses, checkpoints
