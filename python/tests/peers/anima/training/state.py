"""Saved states: a sampler's is left out where it is empty, and its errors become warnings."""

import logging

import torch


def save_training_state(path, global_step, timestep_sampler=None):
    state = {"global_step": global_step}
    if sampler_state := timestep_sampler.state_dict():
        state["timestep_sampler_state"] = sampler_state
    torch.save(state, path)


def load_training_state(path, timestep_sampler=None):
    state = torch.load(path, map_location="cpu", weights_only=False)
    if "timestep_sampler_state" in state:
        try:
            timestep_sampler.load_state_dict(state["timestep_sampler_state"])
        except Exception as error:
            logging.getLogger(__name__).warning("timestep_sampler: %s", error)
    return state["global_step"]
