"""The noise schedule of a pipeline's own object: a scheduler of diffusers, or a `GaussianDiffusion`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import SpeeDiffTypeError, SpeeDiffValueError
from ..schedules import NoiseSchedule

_TARGETS = {
    # diffusers' config.prediction_type
    "epsilon": "epsilon",
    "sample": "sample",
    "v_prediction": "v",
    "flow_prediction": "flow",
    # The names of guided-diffusion's and MDT's ModelMeanType
    "EPSILON": "epsilon",
    "START_X": "sample",
    "VELOCITY": "v",
}


class Reading(NamedTuple):
    """What a scheduler says of the training."""

    schedule: NoiseSchedule
    prediction: str | None
    """The target; None where the scheduler does not say."""
    timesteps: torch.Tensor | None
    """What the scheduler calls each step of the schedule, float32 (T,), rising; None: as here, 0 to T-1."""


def schedule_from(scheduler: object) -> NoiseSchedule:
    """The noise schedule that a pipeline trains on, from the pipeline's own object.

    Args:
        scheduler: A scheduler of diffusers that has `alphas_cumprod` (DDPM, DDIM, Euler, …; rescaled to zero
            terminal SNR or not) or is `FlowMatchEulerDiscreteScheduler` (shift included); or a
            `GaussianDiffusion` of guided-diffusion, DiT or MDT. Of flow matching with T steps, step i
            has σ = scheduler.sigmas[T-1-i], and ᾱ = (1-σ)²/((1-σ)²+σ²).

    Returns:
        The schedule, with the T of the scheduler.

    Raises:
        SpeeDiffTypeError: If the object is neither.
        SpeeDiffValueError: If its table is not that of a training.
    """
    return read(scheduler).schedule


def check_same(schedule: NoiseSchedule, scheduler: object) -> None:
    """Raises unless a pipeline's schedule is this one, to the rounding of float32."""
    theirs = read(scheduler).schedule
    if theirs.steps != schedule.steps:
        raise SpeeDiffValueError(
            f"scheduler must have the sampler's T = {schedule.steps}, got {theirs.steps}; for_scheduler "
            "makes a sampler with the scheduler's schedule"
        )
    differs = ~np.isclose(theirs.alphas_cumprod, schedule.alphas_cumprod, rtol=1e-4, atol=1e-7)
    if differs.any():
        i = int(differs.argmax())
        raise SpeeDiffValueError(
            f"scheduler must have the sampler's alphas_cumprod[{i}] = {schedule.alphas_cumprod[i]:.6g}, got "
            f"{theirs.alphas_cumprod[i]:.6g}; for_scheduler makes a sampler with the scheduler's schedule"
        )


def read(scheduler: object) -> Reading:
    """Schedule, target and names of the steps; errors as for `schedule_from`."""
    if getattr(scheduler, "alphas_cumprod", None) is not None:
        return Reading(_diffusion_schedule(scheduler), _target(scheduler), None)
    if hasattr(scheduler, "sigmas") and hasattr(scheduler, "timesteps"):
        sigmas = _array("scheduler.sigmas", scheduler.sigmas)
        if sigmas.size > 1 and 0 < sigmas[0] <= 1:
            return _flow(scheduler, sigmas)
    raise SpeeDiffTypeError(
        "scheduler must be one of diffusers with alphas_cumprod or with the sigmas of flow matching, or a "
        f"GaussianDiffusion, got a {type(scheduler).__name__}; continuous noise levels take a SigmaSampler"
    )


def _array(name: str, values: object) -> np.ndarray[Any, np.dtype[np.float64]]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    array = np.asarray(values, np.float64)
    if array.ndim != 1:
        raise SpeeDiffTypeError(f"{name} must have one dimension, got shape {array.shape}")
    return array


def _diffusion_schedule(scheduler: Any) -> NoiseSchedule:
    table = _array("scheduler.alphas_cumprod", scheduler.alphas_cumprod)
    betas = getattr(scheduler, "betas", None)
    if betas is not None:
        # diffusers rounds both tables to float32. β keeps more of a small step than 1-ᾱ does, whose gradient
        # decides t_ad. Euler puts 2⁻²⁴ in place of a last 0: hence the tolerance.
        betas = _array("scheduler.betas", betas)
        product = np.cumprod(1 - betas)
        if product.shape == table.shape and np.allclose(product, table, rtol=1e-4, atol=1e-7):
            return NoiseSchedule.from_betas(betas)
    return NoiseSchedule.from_alphas_cumprod(table)


def _target(scheduler: Any) -> str | None:
    config = getattr(scheduler, "config", None)
    name = getattr(config, "prediction_type", None)
    if name is None:
        name = getattr(getattr(scheduler, "model_mean_type", None), "name", None)
    return None if name is None else _TARGETS.get(name)


def _flow(scheduler: Any, sigmas: np.ndarray[Any, np.dtype[np.float64]]) -> Reading:
    timesteps = torch.as_tensor(scheduler.timesteps).detach().cpu().to(torch.float32)
    steps = getattr(getattr(scheduler, "config", None), "num_train_timesteps", len(timesteps))
    sigmas = sigmas[: len(timesteps)]  # set_timesteps adds a last 0
    if len(timesteps) != steps:
        raise SpeeDiffValueError(
            f"scheduler must have the {steps} steps of training, got {len(timesteps)}, as set_timesteps "
            "leaves them; take a fresh one, or a copy"
        )
    if not (np.diff(sigmas) < 0).all():
        raise SpeeDiffValueError("scheduler.sigmas must fall, as they do where noise comes first")
    sigmas = sigmas[::-1]
    data = (1 - sigmas) ** 2
    schedule = NoiseSchedule.from_alphas_cumprod(np.ascontiguousarray(data / (data + sigmas**2)))
    return Reading(schedule, "flow", timesteps.flip(0))
