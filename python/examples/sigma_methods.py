"""What ``--method`` stands for where noise levels are continuous: for EDM, VP and VE.

  process              the draw and the weight of the process's own authors
  speed, 'speed(k=2)'  SpeeDiff's extension of SpeeD: the process's own draw, with its convergence area
                       suppressed, and its own weight times the change-aware one
  a sampling           draws by it, with the process's own weight:  laplace, 'log_normal(p_mean=-0.8)'
  a weighting          the process's own draw, and this weight instead of its own:  min_snr, edm*p2
  sampling+weighting   both:  laplace+min_snr

Weights are of the loss of D, that is of "sample" prediction. VP and VE take samplings on [0, 1] too
(cosmap, logit_normal, ...), EDM has none. What follows the loss or the training step (adaptive,
loss_second_moment, uncertainty, clts) and what is about steps (official, truncated) needs time steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from speediff._methods.method_text import MethodReader

from speediff import NoiseSchedule, SpeeDiffValueError, processes, weighting

if TYPE_CHECKING:
    from speediff.sampling import Sampling
    from speediff.weighting import Weighting


def read(method: str, process: processes.Process) -> tuple[Sampling | None, Weighting | None]:
    """The sampling and the weighting of ``--method``, as SigmaSampler and DenoisingLoss take them.

    Args:
        method: As the module's description has it.
        process: What it is for.

    Returns:
        The two; None is the process's own.

    Raises:
        speediff.SpeeDiffError: If there is no such method, or it needs time steps. Whether it fits the
            process is for the sampler to say.
    """
    if method == "process":
        return None, None
    # The schedule is of no account: methods are read for it, and used without.
    recipe = MethodReader(NoiseSchedule.linear(1000), prediction="sample").sampler(method).recipe
    if method.partition("(")[0] == "speed":
        edm = isinstance(process, processes.EDM)
        own = weighting.EDM(process.sigma_data) if edm else weighting.SNR()
        return recipe.sampling, own * recipe.weighting
    if recipe.official:
        raise SpeeDiffValueError(f"--method {method}: needs time steps, and this process has noise levels")
    if "+" in method:
        return recipe.sampling, recipe.weighting
    if method == "uniform" or recipe.sampling.name != "uniform":
        return recipe.sampling, None
    return None, recipe.weighting
