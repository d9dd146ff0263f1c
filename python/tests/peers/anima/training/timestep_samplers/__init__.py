"""The registry of samplers."""

from training.timestep_samplers import baseline

BUILDERS = {"baseline": baseline.build}


def build_timestep_sampler(args, total_steps):
    return BUILDERS["baseline"](args, total_steps)
