"""What a trained network is judged by: a validation loss that compares methods, and samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from data import random_numbers
from torch import Tensor
from tqdm import tqdm

if TYPE_CHECKING:
    from diffusers import DDPMScheduler

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What the network predicts for x_t (n, ...), t (n,) and the condition (n, ...): labels, for example."""

# The parts that SpeeD divides 1000 steps with linear betas into: acceleration, rapid change,
# convergence. Other schedules get the same three, so that the columns keep their meaning.
BANDS = {"t<220": (0, 220), "220<=t<700": (220, 700), "t>=700": (700, 1000)}


def stratified_steps(n: int, total: int = 1000) -> Tensor:
    """Time steps in [0, total) spread evenly over n images, one stratum each; int64 (n,)."""
    return (torch.arange(n) * total + total // 2) // n


def fixed_noise(shape: Sequence[int]) -> Tensor:
    """Standard normal noise for validation: not of ``--seed``, but the same for every run."""
    draws = random_numbers(0, "validation noise", 0)
    return torch.from_numpy(draws.standard_normal(tuple(shape), dtype=np.float32))


@torch.no_grad()
def validation_loss(
    loss_at: Callable[..., Tensor],
    levels: Tensor,
    tensors: Sequence[Tensor],
    bands: Mapping[str, tuple[float, float]],
    device: torch.device,
) -> dict[str, float]:
    """A loss on fixed questions, which runs of every method and seed answer: it compares them.

    Args:
        loss_at: Gives the unweighted losses (n,) of levels and tensors: ``loss_at(levels, *tensors)``.
        levels: The time steps or noise levels, (n,); see :func:`stratified_steps`.
        tensors: Images, noise, labels, ..., each of n.
        bands: Ranges [low, high) of the levels, by name.
        device: The network's.

    Returns:
        The mean loss ``overall`` and in every band.
    """
    losses = []
    for part in torch.arange(len(levels)).split(250):
        losses.append(loss_at(*(v[part].to(device) for v in (levels, *tensors))).double().cpu())
    loss = torch.cat(losses)
    result = {"overall": loss.mean().item()}
    for name, (low, high) in bands.items():
        result[name] = loss[(levels >= low) & (levels < high)].mean().item()
    return result


def epsilon_validation(
    predict_noise: Predict, x: Tensor, condition: Tensor, scheduler: DDPMScheduler, device: torch.device
) -> dict[str, float]:
    """The unweighted epsilon MSE, ``overall`` and in each of :data:`BANDS`.

    Args:
        predict_noise: The network.
        x: Test images in [-1, 1], or their latents.
        condition: Their labels or embeddings.
        scheduler: The one of the training.
        device: The network's.
    """
    t = stratified_steps(len(x), scheduler.config.num_train_timesteps)

    def loss_at(t: Tensor, x: Tensor, noise: Tensor, condition: Tensor) -> Tensor:
        eps_pred = predict_noise(scheduler.add_noise(x, noise, t), t, condition)
        return ((eps_pred - noise) ** 2).flatten(1).mean(1)

    return validation_loss(loss_at, t, (x, fixed_noise(x.shape), condition), BANDS, device)


def guided(predict: Predict, condition: Tensor, null: Tensor, scale: float) -> Callable[..., Tensor]:
    """Classifier-free guidance: ``predict(x, t)`` for a condition, with the scale s.

    That is ``predict(null) + s (predict(condition) - predict(null))``; s = 1 is no guidance.

    Args:
        predict: The network.
        condition: Labels or embeddings, (n, ...).
        null: What stands for no condition, of the same shape.
        scale: s.
    """
    if scale == 1:
        return lambda x, t: predict(x, t, condition)
    both = torch.cat([condition, null])

    def combined(x: Tensor, t: Tensor) -> Tensor:
        with_condition, without = predict(torch.cat([x, x]), torch.cat([t, t]), both).chunk(2)
        return without + scale * (with_condition - without)

    return combined


def starting_noise(shape: Sequence[int], seed: int) -> tuple[Tensor, torch.Generator]:
    """Noise to begin samples with, and the generator for any further noise.

    Both are of the CPU, so that every device makes the same samples.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tuple(shape), generator=generator), generator


@torch.no_grad()
def generate(
    predict: Callable[[Tensor, Tensor], Tensor],
    shape: Sequence[int],
    scheduler: Any,
    sample_steps: int,
    seed: int,
    device: torch.device,
) -> Tensor:
    """Samples of ``shape``, from noise, by a scheduler of diffusers.

    With DDPM this is ancestral sampling. That rather than DDIM: it forgets its early errors, and
    after a short training these are large, since at a noise level of t = 999 an error in epsilon
    counts 157 times in the image.

    Args:
        predict: The network, for x_t and t alone; see :func:`guided`.
        shape: Number, channels, height, width.
        scheduler: The one of the training, for DDPM or flow matching.
        sample_steps: How many of its steps to take.
        seed: Of all noise.
        device: The network's.
    """
    if "timestep_spacing" in scheduler.config:
        # From t = 999 on, which is nearly pure noise; by default diffusers starts lower.
        scheduler = scheduler.from_config(scheduler.config, timestep_spacing="trailing")
    else:
        scheduler = scheduler.from_config(scheduler.config)  # set_timesteps would change the other one
    scheduler.set_timesteps(sample_steps)
    x, generator = starting_noise(shape, seed)
    x = x.to(device)
    for t in tqdm(scheduler.timesteps, desc="sampling", unit="step"):
        prediction = predict(x, t.to(device).expand(len(x)))
        x = scheduler.step(prediction, t, x, generator=generator).prev_sample
    return x
