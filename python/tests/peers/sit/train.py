"""Structure of willisma/SiT, train.py: DiT's script, with losses of a transport."""

import torch
from toys import DDP
import logging
import os

from models import SiT_models
from download import find_model
from transport import create_transport, Sampler
from diffusers.models import AutoencoderKL


def main(args):
    device = torch.device("cpu")
    logger = logging.getLogger(os.path.basename(__file__))
    assert callable(find_model)
    model = DDP(SiT_models[args.model](), device_ids=[0])
    transport = create_transport("Linear", "velocity", None, None, None)
    transport_sampler = Sampler(transport)
    vae = AutoencoderKL.from_pretrained(f"stabilityai/sd-vae-ft-{args.vae}").to(device)
    logger.info(f"SiT Parameters: {sum(p.numel() for p in model.parameters()):,}")

    # Setup optimizer (we used default Adam betas=(0.9, 0.999) and a constant learning rate of 1e-4 in our paper):
    opt = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0)
    losses, train_steps = [], args.train_steps
    for x, y in args.loader:
            with torch.no_grad():
                # Map input images to latent space + normalize latents:
                x = vae.encode(x).latent_dist.sample().mul_(0.18215)
            model_kwargs = dict(y=y)
            loss_dict = transport.training_losses(model, x, model_kwargs)
            loss = loss_dict["loss"].mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
            train_steps += 1
    return transport_sampler.transport, losses
