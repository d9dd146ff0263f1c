"""Samplers for the scheduler objects of diffusers and of guided-diffusion: their steps, their numbers."""

from __future__ import annotations

import enum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import speediff

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from speediff.torch import TimestepSampler, schedule_from  # noqa: E402

DDPM_LIKE: dict[str, Any] = {
    "ddpm": diffusers.DDPMScheduler(),
    "cosine": diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample"),
    "stable diffusion": diffusers.DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction"
    ),
    "zero terminal SNR": diffusers.DDPMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction"),
    "euler": diffusers.EulerDiscreteScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction"),
    "few steps": diffusers.PNDMScheduler(num_train_timesteps=100),
}
FLOW_LIKE: dict[str, Any] = {
    "flow": diffusers.FlowMatchEulerDiscreteScheduler(),
    "shifted": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    "dynamic": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
}


class ModelMeanType(enum.Enum):
    """The name and members of guided-diffusion's, and MDT's last one."""

    PREVIOUS_X = enum.auto()
    START_X = enum.auto()
    EPSILON = enum.auto()
    VELOCITY = enum.auto()


def gaussian_diffusion(mean_type: ModelMeanType) -> Any:
    betas = np.linspace(1e-4, 0.02, 1000)
    return SimpleNamespace(
        betas=betas, alphas_cumprod=np.cumprod(1 - betas), num_timesteps=1000, model_mean_type=mean_type
    )


@pytest.mark.parametrize("name", DDPM_LIKE)
def test_a_schedule_is_the_schedulers_to_its_rounding(name: str) -> None:
    scheduler = DDPM_LIKE[name]
    schedule = schedule_from(scheduler)
    assert schedule.steps == scheduler.config.num_train_timesteps
    expected = scheduler.alphas_cumprod.double().numpy()
    np.testing.assert_allclose(schedule.alphas_cumprod, expected, rtol=2e-5, atol=1e-7)


def test_rounding_moves_no_area() -> None:
    increments = schedule_from(diffusers.DDPMScheduler()).process_increments()
    assert (increments.acceleration_end, increments.convergence_start(143.5)) == (220, 700)


@pytest.mark.parametrize("name", DDPM_LIKE)
def test_steps_index_the_scheduler_and_weights_are_of_its_target(name: str) -> None:
    scheduler = DDPM_LIKE[name]
    prediction = {"epsilon": "epsilon", "sample": "sample", "v_prediction": "v"}[
        scheduler.config.prediction_type
    ]
    sampler = TimestepSampler.for_scheduler(scheduler, "laplace", "min_snr", seed=3)
    t, w = sampler.sample(64)
    assert t.dtype == torch.int64
    ours = TimestepSampler(schedule_from(scheduler), "laplace", "min_snr", prediction, seed=3)
    assert torch.equal(t, ours.sample(64)[0])
    # diffusers' own scripts: min(S, 5), over S for epsilon and S + 1 for v.
    table = scheduler.alphas_cumprod.double()[t]
    snr = table / (1 - table)
    divisor = {"epsilon": snr, "sample": 1, "v": snr + 1}[prediction]
    np.testing.assert_allclose(w, torch.clamp(snr, max=5) / divisor, rtol=2e-3)


@pytest.mark.parametrize("name", DDPM_LIKE)
def test_a_weighted_loss_on_a_scheduler_is_the_formula(name: str) -> None:
    """The loss of a script that noises with `add_noise`, against its closed form."""
    scheduler = DDPM_LIKE[name]
    sampler = TimestepSampler.for_scheduler(scheduler, "laplace", "change_aware", seed=4)
    t, w = sampler.sample(8)
    x, noise = torch.randn(2, 8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    noisy = scheduler.add_noise(x, noise, t)
    loss = (w * ((noisy - noise) ** 2).mean(dim=(1, 2, 3))).mean()
    alphas = scheduler.alphas_cumprod.double().numpy()
    if name == "euler":  # Its x is not scaled: x + σ·noise.
        factors = np.ones(8), np.sqrt((1 - alphas[t]) / alphas[t])
    else:
        factors = np.sqrt(alphas[t]), np.sqrt(1 - alphas[t])
    a, s = (factor[:, None, None, None] for factor in factors)
    by_hand = (a * x.double().numpy() + s * noise.double().numpy() - noise.double().numpy()) ** 2
    expected = (sampler.weights[t.numpy()] * by_hand.mean(axis=(1, 2, 3))).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", FLOW_LIKE)
def test_of_flow_matching_steps_are_the_schedulers_timesteps(name: str) -> None:
    scheduler = FLOW_LIKE[name]
    sampler = TimestepSampler.for_scheduler(scheduler, "logit_normal", "sigma_sqrt", seed=5)
    assert sampler.recipe.drawing.prediction == "flow"
    t, w = sampler.sample(512)
    assert t.dtype == torch.float32
    # What the scripts do with them: each must be found in the table.
    indices = [(scheduler.timesteps == value).nonzero().item() for value in t]
    sigmas = scheduler.sigmas[indices]
    np.testing.assert_allclose(t, 1000 * sigmas, rtol=1e-6)
    np.testing.assert_allclose(w, sigmas.double() ** -2, rtol=1e-4)
    steps = TimestepSampler(sampler.schedule, "logit_normal", seed=5).sample(512)[0]
    assert torch.equal(steps, 999 - torch.tensor(indices))


def test_the_table_of_flow_matching_is_that_of_its_sigmas() -> None:
    scheduler = FLOW_LIKE["shifted"]
    sigmas = scheduler.sigmas.double().flip(0)
    alphas = schedule_from(scheduler).alphas_cumprod
    np.testing.assert_allclose(alphas, (1 - sigmas) ** 2 / ((1 - sigmas) ** 2 + sigmas**2), rtol=1e-12)
    assert alphas[-1] == 0, "the last step is pure noise"


def test_logit_normal_draws_what_diffusers_draws() -> None:
    """For them the table begins with noise: their logit_mean has the other sign."""
    from diffusers.training_utils import compute_density_for_timestep_sampling

    scheduler, n = FLOW_LIKE["shifted"], 200_000
    torch.manual_seed(0)
    u = compute_density_for_timestep_sampling("logit_normal", n, logit_mean=0.5, logit_std=1.0)
    theirs = scheduler.sigmas[(u * 1000).long()].double()
    sampling = speediff.sampling.LogitNormal(-0.5, 1.0)
    t, _ = TimestepSampler.for_scheduler(scheduler, sampling, seed=1).sample(n)
    ours = t.double() / 1000
    for q in (0.01, 0.1, 0.5, 0.9, 0.99):
        assert ours.quantile(q).item() == pytest.approx(theirs.quantile(q).item(), abs=0.005)


def test_a_learner_takes_the_losses_of_a_schedulers_timesteps() -> None:
    scheduler = FLOW_LIKE["shifted"]
    sampler = TimestepSampler.for_scheduler(scheduler, speediff.sampling.Adaptive(bins=4), seed=1)
    by_steps = TimestepSampler(sampler.schedule, speediff.sampling.Adaptive(bins=4), seed=1)
    for _ in range(4):
        t, _ = sampler.sample(64)
        steps, _ = by_steps.sample(64)
        losses = t / 1000 + 0.1
        sampler.update(t, losses)
        by_steps.update(steps, losses)
    assert (sampler.probabilities == by_steps.probabilities).all()
    assert not np.allclose(sampler.probabilities, 1e-3)
    with pytest.raises(ValueError, match=r"must be among the scheduler's timesteps, got 0\.5"):
        sampler.update(torch.tensor([t[0], 0.5]), losses[:2])


@pytest.mark.parametrize(
    ("mean_type", "prediction"),
    [("EPSILON", "epsilon"), ("START_X", "sample"), ("VELOCITY", "v"), ("PREVIOUS_X", None)],
)
def test_a_gaussian_diffusion_tells_schedule_and_target(mean_type: str, prediction: str | None) -> None:
    diffusion = gaussian_diffusion(ModelMeanType[mean_type])
    sampler = TimestepSampler.for_scheduler(diffusion, "asymmetric", "change_aware")
    assert sampler.recipe.drawing.prediction == prediction
    linear = speediff.TimestepSampler.speed(speediff.NoiseSchedule.linear(1000))
    np.testing.assert_allclose(sampler.weights, linear.weights, rtol=1e-12)
    assert torch.equal(sampler.sample(32)[0], torch.from_numpy(linear.sample(32)[0]))


@pytest.mark.parametrize(
    ("objective", "prediction"), [("pred_noise", "epsilon"), ("pred_x0", "sample"), ("pred_v", "v")]
)
def test_denoising_diffusion_pytorch_names_its_target_objective(objective: str, prediction: str) -> None:
    diffusion = gaussian_diffusion(ModelMeanType.EPSILON)
    del diffusion.model_mean_type
    sampler = TimestepSampler.for_scheduler(SimpleNamespace(**vars(diffusion), objective=objective))
    assert sampler.recipe.drawing.prediction == prediction


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_table_in_half_precision_says_what_it_lost(dtype: torch.dtype) -> None:
    """A `GaussianDiffusion` that is a module is cast with its buffers: ᾱ begins with 1."""
    betas = torch.linspace(1e-4, 0.02, 1000)
    table = torch.cumprod(1 - betas, 0)
    with pytest.raises(ValueError, match=r"alphas_cumprod\[0\] must be below 1, got 1"):
        schedule_from(SimpleNamespace(betas=betas.to(dtype), alphas_cumprod=table.to(dtype)))


def test_a_target_that_is_given_wins() -> None:
    sampler = TimestepSampler.for_scheduler(diffusers.DDPMScheduler(), weighting="min_snr", prediction="v")
    assert sampler.recipe.drawing.prediction == "v"


def test_a_schedule_that_is_not_the_pipelines_is_found_before_training(
    linear: speediff.NoiseSchedule,
) -> None:
    sampler = TimestepSampler.speed(linear)
    sampler.check_scheduler(DDPM_LIKE["ddpm"])
    for name, message in {
        "few steps": "scheduler must have the sampler's T = 1000, got 100",
        "cosine": r"scheduler must have the sampler's alphas_cumprod\[\d+\] = .*, got .*; for_scheduler",
        "shifted": r"alphas_cumprod\[1\] = 0.99978, got 0.999964",
    }.items():
        with pytest.raises(ValueError, match=message):
            sampler.check_scheduler({**DDPM_LIKE, **FLOW_LIKE}[name])


def test_what_is_no_scheduler_of_training_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"scheduler must be a GaussianDiffusion, .* got EDMEulerScheduler"):
        schedule_from(diffusers.EDMEulerScheduler())
    with pytest.raises(TypeError, match="got int"):
        TimestepSampler.for_scheduler(1000)
    spent = diffusers.FlowMatchEulerDiscreteScheduler()
    spent.set_timesteps(50)
    with pytest.raises(ValueError, match="must have the 1000 steps of training, got 50"):
        schedule_from(spent)
    with pytest.raises(TypeError, match="must have one dimension"):
        schedule_from(SimpleNamespace(alphas_cumprod=np.ones((2, 2))))
    with pytest.raises(ValueError, match="alphas_cumprod"):
        schedule_from(SimpleNamespace(alphas_cumprod=np.array([0.5, 0.7])))
