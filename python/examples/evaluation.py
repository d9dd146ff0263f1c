"""What a trained network is judged by: a validation loss that compares methods, and samples.

Both take the network as ``predict_noise(x_t, t, labels)``, so that every example can use them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from data import NULL_LABEL, Images, random_numbers, to_model_range
from torch import Tensor
from tqdm import tqdm

if TYPE_CHECKING:
    from diffusers import DDPMScheduler

PredictNoise = Callable[[Tensor, Tensor, Tensor], Tensor]

# The parts that SpeeD divides 1000 steps with linear betas into: acceleration, rapid change,
# convergence. Other schedules get the same three, so that the columns keep their meaning.
BANDS = {"t<220": (0, 220), "220<=t<700": (220, 700), "t>=700": (700, 1000)}


@torch.no_grad()
def validation_loss(
    predict_noise: PredictNoise, images: Images, scheduler: DDPMScheduler, device: torch.device
) -> dict[str, float]:
    """The unweighted epsilon MSE, ``overall`` and in each of :data:`BANDS`.

    Time steps are spread evenly over the images, one stratum each, and the noise is fixed: runs
    of every method and seed answer exactly the same questions.
    """
    total, n = scheduler.config.num_train_timesteps, len(images)
    t = (torch.arange(n) * total + total // 2) // n
    x = to_model_range(images.pixels)
    draws = random_numbers(0, "validation noise", 0)  # not --seed: the same for every run
    noise = torch.from_numpy(draws.standard_normal(tuple(x.shape), dtype=np.float32))
    errors = []
    for part in torch.arange(n).split(250):
        x_0, eps, steps, labels = (v[part].to(device) for v in (x, noise, t, images.labels))
        eps_pred = predict_noise(scheduler.add_noise(x_0, eps, steps), steps, labels)
        errors.append(((eps_pred - eps) ** 2).mean(dim=(1, 2, 3)).double().cpu())
    mse = torch.cat(errors)
    result = {"overall": mse.mean().item()}
    for name, (low, high) in BANDS.items():
        result[name] = mse[(t >= low) & (t < high)].mean().item()
    return result


@torch.no_grad()
def generate(
    predict_noise: PredictNoise,
    labels: Tensor,
    cfg_scale: float,
    scheduler: DDPMScheduler,
    sample_steps: int,
    seed: int,
) -> Tensor:
    """One sample per label, in [-1, 1]: ancestral sampling with classifier-free guidance.

    Ancestral rather than DDIM: it forgets its early errors, and after a short training these are
    large, since at a noise level of t = 999 an error in epsilon counts 157 times in the image.

    Args:
        predict_noise: The network.
        labels: Shape (n,), on the network's device.
        cfg_scale: s in ``eps(null) + s (eps(label) - eps(null))``; 1 is no guidance.
        scheduler: The one of the training.
        sample_steps: How many of its steps to take.
        seed: Of all noise.
    """
    # From t = 999 on, which is nearly pure noise; by default diffusers starts lower.
    scheduler = scheduler.from_config(scheduler.config, timestep_spacing="trailing")
    scheduler.set_timesteps(sample_steps)
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same for every device
    x = torch.randn((len(labels), 1, 28, 28), generator=generator).to(labels.device)
    labels_and_null = torch.cat([labels, torch.full_like(labels, NULL_LABEL)])
    for t in tqdm(scheduler.timesteps, desc="sampling", unit="step"):
        steps = t.to(labels.device).expand(2 * len(labels))
        with_label, without = predict_noise(torch.cat([x, x]), steps, labels_and_null).chunk(2)
        eps_pred = without + cfg_scale * (with_label - without)
        x = scheduler.step(eps_pred, t, x, generator=generator).prev_sample
    return x
