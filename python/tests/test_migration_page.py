"""The numbers of docs/migrate.md and the pages below it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from diffusers import FlowMatchEulerDiscreteScheduler
from peer_stand_ins import PATCHES

import speediff
from speediff import NoiseSchedule, TimestepSampler
from speediff.sampling import Asymmetric
from speediff.torch import schedule_from
from speediff.weighting import ChangeAware, MinSNR

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (PATCHES.parent / "migrate.md").read_text()
MDT, DIFFUSERS = ((PATCHES / f"{name}.md").read_text() for name in ("mdt", "diffusers"))
LINEAR, STABLE = NoiseSchedule.linear(1000), NoiseSchedule.scaled_linear(1000)
FLOW = schedule_from(FlowMatchEulerDiscreteScheduler(shift=3.0))


def mean_weight(sampler: TimestepSampler, n: int | None = None) -> float:
    probabilities = sampler.probabilities if n is None else sampler.marginal(n)
    return float((probabilities * sampler.weights).sum())


def test_the_means_of_the_weights() -> None:
    table = re.search(r"numbers: begin -->\n(.*?)<!-- numbers: end", PAGE, re.DOTALL)
    assert table is not None
    printed = [float(value) for value in re.findall(r"\| ([\d.]+) \|$", table[1], re.MULTILINE)]
    expected = [
        *(mean_weight(TimestepSampler.speed(schedule)) for schedule in (LINEAR, STABLE, FLOW)),
        mean_weight(TimestepSampler.speed(LINEAR, preset="official"), 256),
        mean_weight(TimestepSampler(LINEAR, weighting="min_snr", prediction="epsilon")),
        mean_weight(TimestepSampler(STABLE, weighting="min_snr", prediction="epsilon")),
        mean_weight(TimestepSampler(STABLE, weighting="min_snr", prediction="v")),
    ]
    assert printed == [round(value, 3) for value in expected]


@pytest.mark.parametrize(
    ("schedule", "r", "tau", "share"),
    [(LINEAR, 143.5, 700, 7.9), (STABLE, 143.5, 966, 0.7), (FLOW, 143.5, 800, 4.8), (STABLE, 10, 675, 8.8)],
)
def test_where_the_suppression_begins(schedule: NoiseSchedule, r: float, tau: int, share: float) -> None:
    probabilities = TimestepSampler(schedule, Asymmetric(5, r=r)).probabilities
    assert (np.diff(probabilities) < 0).nonzero()[0] + 1 == [tau]
    assert round(100 * probabilities[tau:].sum(), 1) == share
    assert str(tau) in PAGE


def test_what_mdt_has_built_in() -> None:
    for weighting, mean in (
        (ChangeAware() * MinSNR(), "0.442"),
        (ChangeAware(), "0.496"),
        (MinSNR(), "0.913"),
        (ChangeAware() / MinSNR(), "3.79"),
    ):
        sampling = "uniform" if isinstance(weighting, MinSNR) else "asymmetric"
        value = mean_weight(TimestepSampler(LINEAR, sampling, weighting, "epsilon"))
        assert mean == f"{value:.{len(mean) - 2}f}"
        assert mean in MDT


def test_what_snr_gamma_on_v_has_built_in() -> None:
    snr = STABLE.alphas_cumprod / (1 - STABLE.alphas_cumprod)
    added, right = np.minimum(snr + 1, 5) / (snr + 1), np.minimum(snr, 5) / (snr + 1)
    assert f"{added.mean():.3f}, {right.mean():.3f}, {added.mean() / right.mean():.1f}" == "0.908, 0.294, 3.1"
    for number in ("0.908", "0.294", "3.1"):
        assert number in DIFFUSERS


@pytest.mark.parametrize(
    "page", [PATCHES.parent / "migrate.md", *PATCHES.glob("*.md")], ids=lambda path: path.stem
)
def test_every_name_of_a_page_exists(page: Path) -> None:
    for name in set(re.findall(r"speediff\.(\w+\.\w+)\(", page.read_text())):
        module, attribute = name.split(".")
        assert hasattr(getattr(speediff, module), attribute), name
