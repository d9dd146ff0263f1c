"""The script."""

from __future__ import annotations

from pathlib import Path

from training import loop
from training.state import load_training_state, save_training_state
from training.timestep_samplers import build_timestep_sampler

ctx = None
"""Instead of a command line."""


def main():
    ctx.timestep_sampler = build_timestep_sampler(ctx.args, 100)
    ctx.global_step = 0
    if Path(ctx.state).exists():
        ctx.global_step = load_training_state(ctx.state, timestep_sampler=ctx.timestep_sampler)
    ctx.seen = loop.run(ctx)
    save_training_state(ctx.state, ctx.global_step, timestep_sampler=ctx.timestep_sampler)
