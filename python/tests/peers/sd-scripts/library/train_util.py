"""Structure of kohya-ss/sd-scripts, train_util.py: the draw, which validation replaces by one step for all."""

import torch


def get_timesteps(min_timestep, max_timestep, b_size, device):
    if min_timestep == max_timestep:
        return torch.full((b_size,), max_timestep, device=device)
    return torch.randint(min_timestep, max_timestep, (b_size,), device=device)


def get_noise_noisy_latents_and_timesteps(args, noise_scheduler, latents):
    noise = torch.randn_like(latents)
    b_size = latents.shape[0]
    min_timestep = 0 if args.min_timestep is None else args.min_timestep
    max_timestep = noise_scheduler.config.num_train_timesteps if args.max_timestep is None else args.max_timestep
    timesteps = get_timesteps(min_timestep, max_timestep, b_size, latents.device)

    # Add noise to the latents according to the noise magnitude at each timestep
    # (this is the forward diffusion process)
    return noise, noise_scheduler.add_noise(latents, noise, timesteps), timesteps
