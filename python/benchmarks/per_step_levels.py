"""The rows of `per_step.py` for noise levels, strata and shifts, beside the draws of EDM's and SD3's code."""

from __future__ import annotations

import functools
import itertools
import statistics
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import rich.box
import torch
from rich.table import Table

import speediff
import speediff.torch
from speediff._native import buffers, c_api, c_processes

if TYPE_CHECKING:
    from collections.abc import Callable


def peers(n: int) -> dict[str, Callable[[], Any]]:
    """The draws of noise levels in other people's scripts, in their own operations."""

    def edm() -> tuple[torch.Tensor, torch.Tensor]:
        # NVlabs/edm, training/loss.py.
        sigma = (torch.randn([n, 1, 1, 1]) * 1.2 - 1.2).exp()
        return sigma, (sigma**2 + 0.5**2) / (sigma * 0.5) ** 2

    def sd3() -> torch.Tensor:
        # diffusers, compute_density_for_timestep_sampling.
        return torch.sigmoid(torch.normal(mean=0.0, std=1.0, size=(n,)))

    shift = torch.rand(n) + 1

    def sd3_shifted() -> torch.Tensor:
        t = sd3()
        return shift * t / (1 + (shift - 1) * t)

    return {
        "EDM's loss (torch.randn)": edm,
        "SD3's (torch.normal)": sd3,
        "SD3's, shifted per entry": sd3_shifted,
    }


def check() -> None:
    """Stops unless noise levels have their distribution: equal shares of 64 quantiles."""
    normal = statistics.NormalDist()
    inner = np.array([normal.inv_cdf(i / 64) for i in range(1, 64)])
    sigma, _ = speediff.SigmaSampler.edm(seed=1).sample(10**6)
    t, _ = speediff.SigmaSampler.flow(seed=1, sampling="logit_normal").sample(10**6)
    for x in ((np.log(sigma.astype(float)) + 1.2) / 1.2, np.log(t.astype(float) / (1 - t.astype(float)))):
        counts = np.bincount(np.searchsorted(inner, x), minlength=64)
        chi_square = float(((counts - 10**6 / 64) ** 2).sum() / (10**6 / 64))
        if abs(chi_square - 63) > 6 * np.sqrt(2 * 63):
            sys.exit(
                f"noise levels do not follow their density: chi-square {chi_square:.0f} of 63: no timing"
            )


def rivals(n: int, steps: int) -> dict[str, Callable[[], Any]]:
    """Draws of noise levels, by name."""
    sigma, sampling = speediff.SigmaSampler, speediff.sampling
    schedule = speediff.NoiseSchedule.linear(steps)
    samplers: dict[str, Any] = {
        "EDM": sigma.edm(),
        "VP": sigma.vp(),
        "VE": sigma.ve(),
        "flow": sigma.flow(),
        "flow, logit-normal, shift 3": sigma.flow(sampling="logit_normal", shift=3.0),
        "flow, Laplace": sigma.flow(sampling="laplace"),
        "flow, Mode": sigma.flow(sampling="mode"),
        "flow, Beta(1.5, 2)": sigma.flow(sampling=sampling.Beta(1.5, 2)),
        "EDM, Min-SNR": sigma.edm(weighting="min_snr"),
        "EDM, SpeeD (r = 10)": sigma.edm(sampling=sampling.Asymmetric(5, r=10), weighting="change_aware"),
        "EDM, stratified": sigma.edm(strata="stratified"),
        "flow, low discrepancy": sigma.flow(strata="low_discrepancy"),
        "flow, Beta(1.5, 2), stratified": sigma.flow(sampling=sampling.Beta(1.5, 2), strata="stratified"),
        "steps, stratified": speediff.TimestepSampler(schedule, strata="stratified"),
        "steps, low discrepancy": speediff.TimestepSampler(schedule, strata="low_discrepancy"),
    }
    timed: dict[str, Callable[[], Any]] = {
        "empty ctypes call": c_api.speediff_abi_version,
        **{name: functools.partial(sampler.sample, n) for name, sampler in samplers.items()},
        "flow, torch CPU": functools.partial(speediff.torch.SigmaSampler.flow().sample, n),
    }
    timed |= shifted_calls(n)
    return timed | peers(n)


def shifted_calls(n: int) -> dict[str, Callable[[], Any]]:
    """One call of the C function with and without shifts, and what it costs from Python."""
    random = np.random.default_rng(0)
    shifts, offsets = random.uniform(0.5, 3, n), random.normal(0, 0.5, n)
    few = random.choice([1.0, 1.5, 2.0, 3.0], n)
    out = np.empty(n, np.float32), np.empty(n, np.float32)
    written = [buffers.output_pointer(array) for array in out]
    steps = itertools.count()

    def call(sampler: speediff.SigmaSampler, *moves: Any) -> Callable[[], Any]:
        native = sampler._open_handle()
        pointers = [None if values is None else buffers.output_pointer(values) for values in moves]
        draw = c_processes.speediff_sigma_sampler_draw_shifted
        # Another step each time: the processor would learn a repeated one by heart.
        return lambda: draw(native.pointer, next(steps), 0, n, n, *pointers, *written)

    flow, vp = speediff.SigmaSampler.flow(), speediff.SigmaSampler.vp()
    on_numpy = speediff.SigmaSampler.flow()
    return {
        "C call, flow": call(flow, None, None),
        "C call, flow, shifts": call(flow, shifts, None),
        "C call, flow, shifts and offsets": call(flow, shifts, offsets),
        "C call, VP": call(vp, None, None),
        "C call, VP, four shifts": call(vp, few, None),
        "C call, VP, shifts": call(vp, shifts, None),
        "flow, shifts": lambda: on_numpy.sample(n, shift=shifts),
    }


def table(levels: dict[int, dict[str, dict[str, float]]]) -> Table:
    """What noise levels, strata and shifts cost."""
    result = Table(
        title="Noise levels, strata, shifts: µs per batch (minimum / median), and ns an entry of the largest",
        box=rich.box.MARKDOWN,
    )
    result.add_column("per batch of")
    for n in levels:
        result.add_column(str(n), justify="right")
    result.add_column("ns an entry", justify="right")
    first, largest = levels[min(levels)], max(levels)
    for name in first:
        cells = [f"{levels[n][name]['min']:.2f} / {levels[n][name]['median']:.2f}" for n in levels]
        result.add_row(name, *cells, f"{levels[largest][name]['min'] / largest * 1e3:.1f}")
    return result
