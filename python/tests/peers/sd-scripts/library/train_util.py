"""Structure of kohya-ss/sd-scripts, train_util.py: the draw, which validation replaces by one step for all."""

import torch


def get_timesteps(min_timestep, max_timestep, b_size, device):
    if min_timestep == max_timestep:
        return torch.full((b_size,), max_timestep, device=device)
    return torch.randint(min_timestep, max_timestep, (b_size,), device=device)


def get_noise_noisy_latents_and_timesteps(args, noise_scheduler, latents):
    noise = torch.randn_like(latents)
    b_size = len(latents)
    min_timestep, max_timestep = args.min_timestep or 0, args.max_timestep or len(noise_scheduler.betas)
    timesteps = get_timesteps(min_timestep, max_timestep, b_size, latents.device)

    return noise, noise_scheduler.add_noise(latents, noise, timesteps), timesteps
