"""The loop's calls that concern t: a group of micro-batches may end early, with the epoch."""

from __future__ import annotations

import torch


def sample_timesteps(timestep_sampler, bs, device, latents):
    if getattr(timestep_sampler, "requires_token_counts", False):
        counts = [latents.shape[-2] // 2 * (latents.shape[-1] // 2)] * bs
        return timestep_sampler.sample(bs, device, token_counts=counts)
    return timestep_sampler.sample(bs, device)


def run(ctx):
    seen = []
    for latents, is_reg in ctx.dataloader:
        t = sample_timesteps(ctx.timestep_sampler, len(latents), "cpu", latents)
        noise = torch.randn_like(latents)
        t_exp = t.view(-1, 1, 1, 1, 1)
        noisy = (1 - t_exp) * latents + t_exp * noise
        raw_mse = (noisy - (noise - latents)).square().mean(dim=(1, 2, 3, 4))
        if ctx.nan_at == len(seen):
            raw_mse[0] = float("nan")
        main = ~is_reg
        if main.any():
            ctx.timestep_sampler.record(t.detach()[main], raw_mse[main])
        seen.append({"t": t, "raw_mse": raw_mse, "main": main})
        if len(seen) % ctx.grad_accum == 0 or len(seen) == len(ctx.dataloader):
            ctx.global_step += 1
            ctx.timestep_sampler.maybe_refresh(ctx.global_step)
    return seen
