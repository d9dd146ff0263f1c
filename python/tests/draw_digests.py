"""Prints digests of all kinds of draws, as JSON: what every build of the library must agree on.

python tests/draw_digests.py
"""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import Any

import numpy as np

import speediff
from speediff import NoiseSchedule, SigmaSampler, TimestepSampler
from speediff.sampling import (
    Asymmetric,
    Beta,
    Cauchy,
    Laplace,
    LogitNormal,
    LogNormal,
    Mixture,
    Truncated,
)
from speediff.weighting import ChangeAware, MinSNR


class Shifted:
    """A sampler whose entries are shifted by values of their own."""

    def __init__(self, sampler: SigmaSampler) -> None:
        self.sampler = sampler

    def sample(self, n: int, step: int) -> Any:
        """Exact shifts and offsets, so that nothing but the library can differ."""
        place = np.arange(n)
        return self.sampler.sample(n, step=step, shift=1 + place % 5 / 4, offset=place % 3 / 8 - 0.125)


def digest(sampler: Any) -> str:
    """What the sampler draws at some steps, in batches that fill vectors and that do not."""
    result = hashlib.sha256()
    for step, n in itertools.product((0, 1, 10**6), (1, 77, 4096)):
        for array in sampler.sample(n, step=step):
            result.update(array.tobytes())
    return result.hexdigest()


def samplers() -> dict[str, Any]:
    """A sampler of every method on every kind of schedule, with every kind of strata."""
    schedules = {
        "linear": NoiseSchedule.linear(1000),
        "cosine": NoiseSchedule.cosine(300),
        "zero terminal SNR": NoiseSchedule.scaled_linear(1000).zero_terminal_snr(),
    }
    made: dict[str, Any] = {}
    for kind, strata in itertools.product(schedules, ("none", "stratified", "low_discrepancy")):
        for method in speediff.methods():
            if not method.cls:
                continue
            pair = {"sampling": "uniform", "weighting": "uniform", method.kind: method.name}
            try:
                sampler = TimestepSampler(
                    schedules[kind], **pair, prediction="epsilon", strata=strata, seed=7
                )
            except speediff.SpeeDiffValueError:  # The weight is infinite without noise or without signal.
                continue
            made[f"{method.kind} {method.name}, {kind}, {strata}"] = sampler
    for name in ("edm", "vp", "ve", "flow", "fdm"):
        for strata in ("none", "stratified"):
            made[f"{name}, {strata}"] = getattr(SigmaSampler, name)(seed=7, strata=strata)
            made[f"{name}, {strata}, shifted"] = Shifted(made[f"{name}, {strata}"])
    for sampling in (Cauchy(), Laplace(1, 2), Mixture(Laplace(), Cauchy(), 0.3), Asymmetric(5, r=10)):
        made[f"edm, {sampling}"] = SigmaSampler.edm(seed=7, sampling=sampling, weighting=MinSNR())
    for sampling in (Laplace(1, 2), LogNormal(-1, 2), Truncated(low=0.1, high=2.0)):
        made[f"vp, {sampling}, shifted"] = Shifted(SigmaSampler.vp(seed=7, sampling=sampling))
    for sampling in (LogitNormal(), Beta(1.5, 2), "mode", "cosmap"):
        made[f"flow, {sampling}"] = SigmaSampler.flow(seed=7, sampling=sampling, weighting=ChangeAware())
    for preset in ("paper", "official"):
        made[preset] = TimestepSampler.speed(schedules["linear"], preset=preset, seed=7)
    learner = TimestepSampler(schedules["linear"], sampling="loss_second_moment", seed=7)
    for step in range(40):
        t, _ = learner.sample(256, step=step)
        learner.update(t, (np.sin(t) ** 2 + 0.1).astype(np.float32))
    made["learned"] = learner
    return made


if __name__ == "__main__":
    print(json.dumps({name: digest(sampler) for name, sampler in samplers().items()}))
