"""What ``--method`` stands for.

  speed, official      SpeeD as its paper and as its authors' code define it (arXiv 2405.17403)
  a sampling           draws by it, all weights 1:  uniform, laplace, 'laplace(scale=1)', cosmap
  a weighting          draws uniformly, weighs by it:  min_snr, 'p2(k=2)', min_snr*uncertainty
  sampling+weighting   both:  laplace+min_snr, uniform+cosmap

That is what ``speediff train --method`` and ``speediff plan --method`` take, except that ``cosmap``
alone, which is a sampling and a weighting, means the sampling. ``speediff methods`` lists all names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from speediff._methods.method_text import MethodReader

from speediff.sampling import Sampling
from speediff.torch import TimestepSampler
from speediff.weighting import Weighting

if TYPE_CHECKING:
    from speediff import NoiseSchedule


def build_sampler(method: str, schedule: NoiseSchedule, prediction: str, seed: int) -> TimestepSampler:
    """The sampler of ``--method``. It asks torch.distributed for its rank.

    A program with one method needs one line instead of this function:

      TimestepSampler.for_scheduler(scheduler, "asymmetric", "change_aware", seed=0)    # SpeeD
      TimestepSampler.for_scheduler(scheduler, "laplace", "min_snr", seed=0)
      TimestepSampler.speed(schedule, k=2, tau=600, seed=0)

    Args:
        method: As the module's description has it.
        schedule: The noise schedule; `speediff.torch.schedule_from` has that of a scheduler of diffusers.
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
