"""What ``--method`` stands for.

  speed, official      SpeeD as its paper and as its authors' code define it (arXiv 2405.17403)
  a sampling           draws by it, all weights 1:  uniform, laplace, 'laplace(scale=1)', cosmap
  a weighting          draws uniformly, weighs by it:  min_snr, 'p2(k=2)', min_snr*uncertainty
  sampling+weighting   both:  laplace+min_snr, uniform+cosmap

That is what ``speediff train --method`` and ``speediff plan --method`` take, except that ``cosmap``
alone, which is a sampling and a weighting, means the sampling. ``speediff methods`` lists all names.
"""

from __future__ import annotations

from typing import Any

from speediff import NoiseSchedule
from speediff._method_text import MethodReader
from speediff.sampling import Sampling
from speediff.torch import TimestepSampler
from speediff.weighting import Weighting


def schedule_of(scheduler: Any) -> NoiseSchedule:
    """The noise schedule of a scheduler of diffusers, for DDPM or for flow matching."""
    if hasattr(scheduler, "alphas_cumprod"):
        return NoiseSchedule.from_alphas_cumprod(scheduler.alphas_cumprod.double().numpy())
    # Flow matching: x_t = (1-σ) x_0 + σ ε, so that √S = (1-σ)/σ. From little noise to pure noise.
    sigmas = scheduler.timesteps.double().flip(0).numpy() / scheduler.config.num_train_timesteps
    return NoiseSchedule.from_alphas_cumprod((1 - sigmas) ** 2 / ((1 - sigmas) ** 2 + sigmas**2))


def build_sampler(method: str, schedule: NoiseSchedule, prediction: str, seed: int) -> TimestepSampler:
    """The sampler of ``--method``. It asks torch.distributed for its rank.

    A program with one method needs one line instead of this function:

      TimestepSampler.speed(schedule, seed=0)
      TimestepSampler(schedule, "laplace", "min_snr", "epsilon", seed=0)

    Args:
        method: As the module's description has it.
        schedule: The noise schedule.
        prediction: What the network predicts: epsilon, sample, v or flow.
        seed: Of the draws.

    Raises:
        speediff.SpeeDiffError: If there is no such method, or it does not fit the schedule.
    """
    if method in Sampling.by_name and method in Weighting.by_name:
        method += "+uniform"
    recipe = MethodReader(schedule, prediction=prediction).sampler(method).recipe
    if recipe.official:  # the one method whose draws come in pairs, which no sampling describes
        speed, lam = recipe.sampling, recipe.weighting.lam
        options = {"tau": speed.tau, "r": speed.r, "preset": "official", "prediction": prediction}
        return TimestepSampler.speed(schedule, speed.k, lam, seed, **options)
    return TimestepSampler(schedule, recipe.sampling, recipe.weighting, prediction, seed=seed)
