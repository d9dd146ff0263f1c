"""The further schedules, zero terminal SNR and respacing, against diffusers and written-out definitions."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import reference
from named_schedules import SCHEDULES
from oracle_checks import differs, zero_terminal
from scipy.special import expit

import speediff
from speediff import NoiseSchedule, TimestepSampler

if TYPE_CHECKING:
    from collections.abc import Sequence

NAN, INF = float("nan"), float("inf")

# ---- Sigmoid, warm-up, jsd -----------------------------------------------------------------------


@pytest.mark.parametrize("steps", [2, 3, 50, 1000, 5000])
@pytest.mark.parametrize("ends", [{}, {"beta_start": 1e-7, "beta_end": 2e-3}])
def test_sigmoid_betas_are_a_scaled_logistic_curve(steps: int, ends: dict[str, float]) -> None:
    start, end = ends.get("beta_start", 1e-4), ends.get("beta_end", 0.02)
    expected = expit(np.linspace(-6, 6, steps)) * (end - start) + start
    assert not differs(NoiseSchedule.sigmoid(steps, **ends).betas, expected, rtol=1e-12)


@pytest.mark.parametrize("steps", [50, 1000])
def test_sigmoid_is_that_of_diffusers(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch, diffusers = pytest.importorskip("torch"), pytest.importorskip("diffusers")
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        theirs = diffusers.DDPMScheduler(num_train_timesteps=steps, beta_schedule="sigmoid")
    finally:
        torch.set_default_dtype(default)
    ours = NoiseSchedule.sigmoid(steps)
    assert theirs.betas.dtype is torch.float64
    assert not differs(ours.betas, theirs.betas.numpy(), rtol=1e-12)
    assert not differs(ours.alphas_cumprod, theirs.alphas_cumprod.numpy(), rtol=1e-12)


@pytest.mark.parametrize("steps", [2, 3, 10, 999, 1000])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.25, 0.999, 1.0])
def test_warmup_rises_evenly_and_then_stays(steps: int, fraction: float) -> None:
    rising = int(steps * fraction)
    expected = np.full(steps, 0.02)
    expected[:rising] = [1e-4 + (0.02 - 1e-4) * i / max(rising - 1, 1) for i in range(rising)]
    schedule = NoiseSchedule.warmup(steps, fraction)
    assert not differs(schedule.betas, expected, rtol=1e-13)
    assert not differs(schedule.alphas_cumprod, np.cumprod(1 - expected), rtol=1e-12)


def test_warmup_has_a_tenth_by_default_and_takes_end_points() -> None:
    assert (NoiseSchedule.warmup(100).betas == NoiseSchedule.warmup(100, 0.1).betas).all()
    betas = NoiseSchedule.warmup(100, 0.5, beta_start=1e-3, beta_end=0.3).betas
    assert (betas[0], betas[49], betas[99]) == (pytest.approx(1e-3), pytest.approx(0.3), pytest.approx(0.3))


@pytest.mark.parametrize("steps", [2, 3, 50, 1000, 100_000])
def test_jsd_loses_its_signal_in_equal_steps(steps: int) -> None:
    schedule = NoiseSchedule.jsd(steps)
    assert not differs(schedule.betas, reference.jsd_betas(steps), rtol=1e-14)
    expected = (steps - np.arange(1, steps + 1)) / steps
    assert not differs(schedule.alphas_cumprod, expected, rtol=1e-9)
    assert (schedule.alphas_cumprod[-1], schedule.snr[-1]) == (0, 0)


@pytest.mark.parametrize("name", ["sigmoid", "warmup", "jsd"])
def test_bad_arguments_are_named(name: str) -> None:
    make = getattr(NoiseSchedule, name)
    for steps in (1, 0, -1, 2**24 + 1, 2**70):
        with pytest.raises(speediff.SpeeDiffValueError, match="steps"):
            make(steps)
    for steps in (10.0, "10", None, True):
        with pytest.raises(speediff.SpeeDiffTypeError, match="steps"):
            make(steps)
    if name != "jsd":
        for argument in ("beta_start", "beta_end"):
            for beta in (0, -0.1, 1.5, NAN, INF):
                with pytest.raises(speediff.SpeeDiffValueError, match="beta"):
                    make(10, **{argument: beta})


@pytest.mark.parametrize("fraction", [-0.1, 1.01, NAN, INF])
def test_the_fraction_of_a_warmup_must_be_a_fraction(fraction: float) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match="fraction"):
        NoiseSchedule.warmup(10, fraction)


# ---- Zero terminal SNR ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [50, 1000])
def test_zero_terminal_snr_is_that_of_diffusers(name: str, steps: int) -> None:
    torch = pytest.importorskip("torch")
    ddim = pytest.importorskip("diffusers.schedulers.scheduling_ddim")
    schedule = SCHEDULES[name](steps)
    theirs = ddim.rescale_zero_terminal_snr(torch.from_numpy(reference.BETAS[name](steps)))
    ours = schedule.zero_terminal_snr()
    # Their last β but one comes from a quotient of small differences.
    np.testing.assert_allclose(ours.alphas_cumprod, torch.cumprod(1 - theirs, 0).numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.betas, theirs.numpy(), rtol=1e-9, atol=1e-10)
    assert not differs(ours.alphas_cumprod, zero_terminal(schedule.alphas_cumprod), rtol=1e-9, atol=1e-18)


@pytest.mark.parametrize("name", SCHEDULES)
def test_zero_terminal_snr_keeps_its_start_and_ends_at_nothing(name: str) -> None:
    schedule = SCHEDULES[name](1000)
    before = schedule.alphas_cumprod.copy()
    rescaled = schedule.zero_terminal_snr()
    assert rescaled.alphas_cumprod[0] == pytest.approx(before[0], rel=1e-15)
    assert (rescaled.alphas_cumprod[-1], rescaled.snr[-1], rescaled.betas[-1]) == (0, 0, 1)
    assert (np.diff(rescaled.alphas_cumprod) < 0).all()
    assert (schedule.alphas_cumprod == before).all()
    assert rescaled.steps == 1000


def test_zero_terminal_snr_of_such_a_schedule_is_itself() -> None:
    for schedule in (NoiseSchedule.jsd(100), NoiseSchedule.cosine(100).zero_terminal_snr()):
        again = schedule.zero_terminal_snr()
        assert not differs(again.alphas_cumprod, schedule.alphas_cumprod, rtol=1e-14)


# ---- Respacing -----------------------------------------------------------------------------------


def spaced(steps: int, counts: Sequence[int]) -> list[int]:
    """The steps that guided-diffusion keeps of sections that are as equal as can be.

    A section's steps are the rounded multiples of its stride, which are summed and not multiplied.
    """
    kept, first = [], 0
    for place, count in enumerate(counts):
        size = steps // len(counts) + (place < steps % len(counts))
        stride = (size - 1) / (count - 1) if count > 1 else 1.0
        sums = itertools.accumulate(itertools.repeat(stride, count - 1), initial=0.0)
        kept += [first + round(offset) for offset in sums]
        first += size
    return kept


def strided(steps: int, count: int) -> list[int] | None:
    """DDIM's: the smallest whole stride that gives so many."""
    stride = next((i for i in range(1, steps) if math.ceil(steps / i) == count), None)
    return None if stride is None else list(range(0, steps, stride))


@pytest.mark.parametrize("steps", [20, 37, 64, 100, 999, 1000])
def test_every_number_of_steps_is_spread_as_in_guided_diffusion(steps: int) -> None:
    schedule = NoiseSchedule.cosine(steps)
    for count in range(1, steps + 1):
        kept = schedule.respacing(str(count))
        assert kept.dtype == np.int64
        assert kept.tolist() == schedule.respacing([count]).tolist() == spaced(steps, [count]), count
    for count in (steps + 1, 10 * steps):
        with pytest.raises(speediff.SpeeDiffValueError, match=str(count)):
            schedule.respacing(str(count))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 19, 20, 50, 99, 250, 500, 998, 999, 1000, 3999, 4000])
def test_a_number_of_many_steps_is_spread_as_in_guided_diffusion(count: int) -> None:
    assert NoiseSchedule.cosine(4000).respacing(str(count)).tolist() == spaced(4000, [count])


@pytest.mark.parametrize(
    "counts",
    [[10, 20, 30], [10, 10, 10, 10, 10], [90, 60, 60, 20, 20], [1, 1], [333, 333], [5, 1, 7], [142] * 7],
)
def test_sections_are_spread_one_by_one(counts: list[int]) -> None:
    for steps in (1000, 1003, 4000):
        schedule = NoiseSchedule.cosine(steps)
        kept = schedule.respacing(counts)
        assert kept.tolist() == spaced(steps, counts)
        assert schedule.respacing(",".join(map(str, counts))).tolist() == kept.tolist()
        assert (np.diff(kept) > 0).all()


@pytest.mark.parametrize("steps", [20, 100, 999, 1000, 4000])
def test_ddim_takes_a_whole_stride_or_tells_that_there_is_none(steps: int) -> None:
    schedule, found = NoiseSchedule.cosine(steps), 0
    for count in {*range(2, 101), 250, 499, 500, 501, 999, 1000, 2000}:
        expected = strided(steps, count)
        if expected is None:
            with pytest.raises(speediff.SpeeDiffValueError, match=str(count)):
                schedule.respacing(f"ddim{count}")
        else:
            found += 1
            assert schedule.respacing(f"ddim{count}").tolist() == expected, count
    assert found >= 5


def test_known_respacings_hold() -> None:
    schedule = NoiseSchedule.linear(1000)
    assert schedule.respacing("4").tolist() == [0, 333, 666, 999]
    # Halves round to the even number: 0, 2.5, 5 of six steps.
    assert NoiseSchedule.cosine(6).respacing("3").tolist() == [0, 2, 5]
    assert schedule.respacing("ddim50").tolist() == list(range(0, 1000, 20))
    assert schedule.respacing("ddim250").tolist() == list(range(0, 1000, 4))
    assert NoiseSchedule.cosine(10).respacing("2,3").tolist() == [0, 4, 5, 7, 9]


@pytest.mark.parametrize("spec", ["250", "ddim50", "10,20,30", [100, 50], [1000]])
def test_a_respaced_schedule_has_the_signal_of_the_steps_that_were_kept(spec: str | list[int]) -> None:
    schedule = NoiseSchedule.linear(1000)
    kept, respaced = schedule.respacing(spec), schedule.respaced(spec)
    assert (respaced.alphas_cumprod == schedule.alphas_cumprod[kept]).all()
    assert respaced.steps == len(kept)
    earlier = np.concatenate([[1.0], respaced.alphas_cumprod[:-1]])
    assert not differs(respaced.betas, 1 - respaced.alphas_cumprod / earlier, rtol=1e-9)
    assert TimestepSampler(respaced).sample(100)[0].max() < len(kept)


def test_a_respaced_schedule_keeps_its_end_without_signal() -> None:
    respaced = NoiseSchedule.linear(1000).zero_terminal_snr().respaced("10")
    assert (respaced.alphas_cumprod[-1], respaced.betas[-1]) == (0, 1)


@pytest.mark.parametrize(
    "spec",
    ["", " ", "ddim", "ddim0", "ddim-5", "ddim1001", "ddim7.5", "ddim5,5", "DDIM50", "abc", "1.5", "-3",
     "0", "10,", ",10", "10;20", "1001", "600,300", "5,-5", "10, 20 x", "9" * 30, [], [0], [-1], [1001],
     [600, 300], [1] * 1001, [2**70]],
)  # fmt: skip
def test_what_is_no_respacing_is_refused(linear: NoiseSchedule, spec: Any) -> None:
    for method in (linear.respacing, linear.respaced):
        with pytest.raises(speediff.SpeeDiffValueError):
            method(spec)


@pytest.mark.parametrize("spec", [None, 2.5, [2.5], ["10"], [True], b"250", {"a": 1}, [None]])
def test_a_respacing_of_the_wrong_type_is_refused(linear: NoiseSchedule, spec: Any) -> None:
    for method in (linear.respacing, linear.respaced):
        with pytest.raises(speediff.SpeeDiffTypeError):
            method(spec)
