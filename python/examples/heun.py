"""EDM's deterministic sampler (Karras et al. 2022, Algorithm 1): Heun's method, for s(t) = 1 and σ(t) = t.

Any denoiser D(x; σ) can be sampled so, whatever process it was trained for.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def noise_levels(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """The noise levels σ_0 = ``sigma_max`` > ... > σ_{steps-1} = ``sigma_min`` > 0, float64 (steps + 1,).

    Equally spaced in σ^(1/rho), and then 0 (Eq. 5); rho = 7 makes small steps where σ is small.
    """
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1, dtype=torch.float64)])


@torch.no_grad()
def sample(denoise: Callable[[Tensor, Tensor], Tensor], noise: Tensor, sigmas: Tensor) -> Tensor:
    """Follow dx/dσ = (x - D(x; σ))/σ from noise to images.

    Args:
        denoise: D, for noisy images (n, ...) and their noise levels (n,).
        noise: Standard normal (n, ...).
        sigmas: Falling noise levels that end with 0; see :func:`noise_levels`.

    Returns:
        The images, float64: the sum of many steps.
    """
    x = noise.double() * sigmas[0]

    def slope(x: Tensor, sigma: Tensor) -> Tensor:
        level = sigma.to(noise).expand(len(x))
        return (x - denoise(x.to(noise.dtype), level).double()) / sigma

    for sigma, following in pairwise(sigmas):
        first = slope(x, sigma)
        euler = x + (following - sigma) * first
        # The trapezoidal rule, but for the last step: the slope is not defined at 0.
        second = slope(euler, following) if following > 0 else first
        x = x + (following - sigma) * (first + second) / 2
    return x
