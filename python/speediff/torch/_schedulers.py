"""Reads the noise schedule of a pipeline's diffusers scheduler or `GaussianDiffusion`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import SpeeDiffTypeError, SpeeDiffValueError
from ..schedules import NoiseSchedule
from . import _scheduler_flags

_TARGETS = {
    # diffusers' config.prediction_type
    "epsilon": "epsilon",
    "sample": "sample",
    "original_sample": "sample",
    "v_prediction": "v",
    # The names of guided-diffusion's and MDT's ModelMeanType
    "EPSILON": "epsilon",
    "START_X": "sample",
    "VELOCITY": "v",
    # denoising-diffusion-pytorch's objective
    "pred_noise": "epsilon",
    "pred_x0": "sample",
    "pred_v": "v",
}


class Reading(NamedTuple):
    """A scheduler's training settings."""

    schedule: NoiseSchedule
    target: object
    """The scheduler's name of the prediction target; None if it has none."""
    timesteps: torch.Tensor | None
    """The scheduler's timestep for each step, float32 (T,), increasing; None: 0 to T-1."""

    @property
    def prediction(self) -> str | None:
        """The target by SpeeDiff's name; None if the scheduler has none.

        Raises:
            SpeeDiffValueError: If SpeeDiff does not know the target.
        """
        if self.timesteps is not None:
            return "flow"
        if self.target in (None, "PREVIOUS_X"):
            return None
        if self.target not in _TARGETS:
            raise SpeeDiffValueError(
                f"the scheduler's target must be one of {', '.join(_TARGETS)}, got {self.target!r}; pass the "
                "network's target as prediction="
            )
        return _TARGETS[str(self.target)]


def schedule_from(scheduler: object) -> NoiseSchedule:
    """The noise schedule that a pipeline trains on, from its scheduler.

    Args:
        scheduler: A scheduler of diffusers, or the `GaussianDiffusion` of guided-diffusion, DiT, MDT or
            denoising-diffusion-pytorch. Of diffusers: any with `alphas_cumprod` (DDPM, DDIM, Euler, …; with
            or without zero terminal SNR), and those of flow matching (`FlowMatchEulerDiscreteScheduler`, …;
            shift included). For flow matching with T steps, step i has σ = scheduler.sigmas[T-1-i] and
            ᾱ = (1-σ)²/((1-σ)²+σ²).

    Returns:
        The schedule, with the scheduler's T.

    Raises:
        SpeeDiffTypeError: If the object is none of these.
        SpeeDiffValueError: If its table is not a training table, if its config has a flag that changes the
            process (`use_flow_sigmas`, a continuous `timestep_type`, `invert_sigmas`, several `stages`),
            or if an unknown flag is not at its default.
    """
    return read(scheduler).schedule


def check_same(schedule: NoiseSchedule, scheduler: object) -> None:
    """Raises unless a pipeline's schedule equals this one within float32 rounding."""
    theirs = read(scheduler).schedule
    if theirs.steps != schedule.steps:
        raise SpeeDiffValueError(
            f"scheduler must have the sampler's T = {schedule.steps}, got {theirs.steps}; for_scheduler "
            "creates a sampler with the scheduler's schedule"
        )
    differs = ~np.isclose(theirs.alphas_cumprod, schedule.alphas_cumprod, rtol=1e-4, atol=1e-7)
    if differs.any():
        i = int(differs.argmax())
        raise SpeeDiffValueError(
            f"scheduler must have the sampler's alphas_cumprod[{i}] = {schedule.alphas_cumprod[i]:.6g}, got "
            f"{theirs.alphas_cumprod[i]:.6g}; for_scheduler creates a sampler with the scheduler's schedule"
        )


def read(scheduler: object) -> Reading:
    """Reads the schedule, the target and the timesteps; errors as for `schedule_from`."""
    if getattr(scheduler, "alphas_cumprod", None) is not None:
        _scheduler_flags.check(scheduler)
        return Reading(_diffusion_schedule(scheduler), _target(scheduler), None)
    if _is_flow(scheduler):
        _scheduler_flags.check(scheduler)
        return _flow(scheduler)
    raise SpeeDiffTypeError(
        "scheduler must be a GaussianDiffusion, or a scheduler of diffusers with alphas_cumprod or with the "
        f"sigmas of flow matching, got {type(scheduler).__name__}; for continuous noise levels use a "
        "SigmaSampler"
    )


def _array(name: str, values: object) -> np.ndarray[Any, np.dtype[np.float64]]:
    if isinstance(values, torch.Tensor):
        values = values.detach().double().cpu().numpy()  # NumPy has no bfloat16
    array = np.asarray(values, np.float64)
    if array.ndim != 1:
        raise SpeeDiffTypeError(f"{name} must have one dimension, got shape {array.shape}")
    return array


def _diffusion_schedule(scheduler: Any) -> NoiseSchedule:
    table = _array("scheduler.alphas_cumprod", scheduler.alphas_cumprod)
    betas = getattr(scheduler, "betas", None)
    if betas is not None:
        # diffusers rounds both tables to float32. β resolves small steps better than 1-ᾱ, whose gradient
        # determines t_ad. Euler replaces a last 0 by 2⁻²⁴: hence the tolerance.
        betas = _array("scheduler.betas", betas)
        product = np.cumprod(1 - betas)
        if product.shape == table.shape and np.allclose(product, table, rtol=1e-4, atol=1e-7):
            return NoiseSchedule.from_betas(betas)
    return NoiseSchedule.from_alphas_cumprod(table)


def _target(scheduler: Any) -> object:
    """The target's name in diffusers, guided-diffusion or denoising-diffusion-pytorch."""
    name = getattr(getattr(scheduler, "config", None), "prediction_type", None)
    if name == "flow_prediction":
        raise SpeeDiffValueError(
            "prediction_type must not be 'flow_prediction' for a scheduler with alphas_cumprod; pass the "
            "flow-matching scheduler that the training uses"
        )
    if name is None:
        name = getattr(getattr(scheduler, "model_mean_type", None), "name", None)
    return getattr(scheduler, "objective", None) if name is None else name


def _is_flow(scheduler: Any) -> bool:
    """Whether the levels are σ in (0, 1] with proportional timesteps, as in flow matching."""
    if not hasattr(scheduler, "sigmas") or not hasattr(scheduler, "timesteps"):
        return False
    sigmas, timesteps = scheduler.sigmas, scheduler.timesteps
    if not all(isinstance(table, torch.Tensor) and table.ndim == 1 for table in (sigmas, timesteps)):
        return False
    count = min(len(sigmas), len(timesteps))
    sigmas, timesteps = sigmas[:count].double().cpu(), timesteps[:count].double().cpu()
    return bool(
        count > 1 and 0 < sigmas[0] <= 1 and torch.allclose(timesteps, sigmas * (timesteps[0] / sigmas[0]))
    )


def _flow(scheduler: Any) -> Reading:
    sigmas = _array("scheduler.sigmas", scheduler.sigmas)
    timesteps = torch.as_tensor(scheduler.timesteps).detach().cpu().to(torch.float32)
    steps = getattr(getattr(scheduler, "config", None), "num_train_timesteps", len(timesteps))
    sigmas = sigmas[: len(timesteps)]  # set_timesteps adds a last 0
    if len(timesteps) != steps:
        raise SpeeDiffValueError(
            f"scheduler must have the {steps} steps of training, got {len(timesteps)}, as after "
            "set_timesteps; pass a new scheduler, or a copy from before that call"
        )
    if not (np.diff(sigmas) < 0).all():
        raise SpeeDiffValueError("scheduler.sigmas must decrease, noise first")
    sigmas = sigmas[::-1]
    data = (1 - sigmas) ** 2
    schedule = NoiseSchedule.from_alphas_cumprod(np.ascontiguousarray(data / (data + sigmas**2)))
    return Reading(schedule, None, timesteps.flip(0))
