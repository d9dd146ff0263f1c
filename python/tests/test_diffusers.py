"""Schedules against the schedulers of diffusers, as published and in double precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from speediff import NoiseSchedule, TimestepSampler

if TYPE_CHECKING:
    from collections.abc import Callable

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

DOUBLE, SINGLE = 1e-12, 1e-6
STABLE = {"beta_start": 0.00085, "beta_end": 0.012}
ALIKE: list[tuple[str, int, dict[str, float], Callable[[int], NoiseSchedule]]] = [
    ("linear", 1000, {}, NoiseSchedule.linear),
    ("linear", 1000, {"beta_start": 1e-3, "beta_end": 3e-2}, lambda steps: NoiseSchedule.linear(
        steps, beta_start=1e-3, beta_end=3e-2)),
    ("scaled_linear", 1000, STABLE, NoiseSchedule.scaled_linear),
    ("scaled_linear", 300, STABLE, NoiseSchedule.scaled_linear),
    ("scaled_linear", 1000, {}, NoiseSchedule.quadratic),
    ("scaled_linear", 50, {}, NoiseSchedule.quadratic),
    ("squaredcos_cap_v2", 1000, {}, NoiseSchedule.cosine),
    ("squaredcos_cap_v2", 64, {}, NoiseSchedule.cosine),
]  # fmt: skip


def scheduler(name: str, steps: int, **options: Any) -> Any:
    return diffusers.DDPMScheduler(num_train_timesteps=steps, beta_schedule=name, **options)


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets diffusers compute its own formulas in float64, which it names float32."""
    monkeypatch.setattr(torch, "float32", torch.float64)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("name", "steps", "options", "make"), ALIKE)
def test_schedules_agree_with_diffusers_in_double_precision(
    name: str, steps: int, options: dict[str, float], make: Callable[[int], NoiseSchedule]
) -> None:
    theirs, ours = scheduler(name, steps, **options), make(steps)
    assert theirs.betas.dtype is torch.float64
    np.testing.assert_allclose(ours.betas, theirs.betas.numpy(), rtol=0, atol=DOUBLE)
    np.testing.assert_allclose(ours.alphas_cumprod, theirs.alphas_cumprod.numpy(), rtol=0, atol=DOUBLE)


@pytest.mark.parametrize(("name", "steps", "options", "make"), ALIKE)
def test_schedules_agree_with_diffusers_in_its_own_precision(
    name: str, steps: int, options: dict[str, float], make: Callable[[int], NoiseSchedule]
) -> None:
    theirs, ours = scheduler(name, steps, **options), make(steps)
    np.testing.assert_allclose(ours.betas, theirs.betas.numpy(), rtol=0, atol=SINGLE)
    np.testing.assert_allclose(ours.alphas_cumprod, theirs.alphas_cumprod.numpy(), rtol=0, atol=SINGLE)


def test_scaled_linear_is_that_of_a_scheduler_that_computes_in_double_precision() -> None:
    theirs = diffusers.CogVideoXDDIMScheduler(
        beta_schedule="scaled_linear", snr_shift_scale=1.0, rescale_betas_zero_snr=False, **STABLE
    )
    assert theirs.alphas_cumprod.dtype is torch.float64
    ours = NoiseSchedule.scaled_linear(1000)
    np.testing.assert_allclose(ours.betas, theirs.betas.numpy(), rtol=0, atol=DOUBLE)
    np.testing.assert_allclose(ours.alphas_cumprod, theirs.alphas_cumprod.numpy(), rtol=0, atol=DOUBLE)


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace"])
def test_any_scheduler_can_be_taken_over_by_its_betas(name: str) -> None:
    theirs = scheduler(name, 1000)
    ours = NoiseSchedule.from_betas(theirs.betas.double().numpy())
    np.testing.assert_allclose(ours.alphas_cumprod, theirs.alphas_cumprod.numpy(), rtol=1e-4, atol=SINGLE)
    assert (ours.betas == theirs.betas.double().numpy()).all()
    assert TimestepSampler(ours, "asymmetric" if ours.process_increments().magnitude[-1] > 144 else "uniform")


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_rescaling_to_zero_terminal_snr_gives_a_schedule(name: str) -> None:
    theirs = scheduler(name, 1000, rescale_betas_zero_snr=True)
    ours = NoiseSchedule.from_betas(theirs.betas.double().numpy())
    assert (ours.alphas_cumprod[-1], ours.snr[-1]) == (0, 0)
    np.testing.assert_allclose(ours.alphas_cumprod, theirs.alphas_cumprod.numpy(), rtol=0, atol=SINGLE)
    t, w = TimestepSampler.speed(ours).sample(2000)
    assert t.max() < 1000
    assert ((w >= 0.4 - 1e-6) & (w <= 0.6 + 1e-6)).all()


def test_noise_is_added_as_in_diffusers(linear: NoiseSchedule) -> None:
    theirs = scheduler("linear", 1000)
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 64, 3, generator=generator)
    t, _ = TimestepSampler(linear).sample(64)
    expected = theirs.add_noise(x, noise, torch.from_numpy(t)).numpy()
    signal, sigma = linear.sqrt_alphas_cumprod[t, None], linear.sqrt_one_minus_alphas_cumprod[t, None]
    np.testing.assert_allclose(signal * x.numpy() + sigma * noise.numpy(), expected, atol=1e-5)


def test_samples_are_valid_indices_of_a_scheduler(linear: NoiseSchedule) -> None:
    theirs = scheduler("linear", 1000)
    t, _ = TimestepSampler.speed(linear).sample(10_000)
    assert set(t.tolist()) <= set(theirs.timesteps.tolist())
