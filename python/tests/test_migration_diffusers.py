"""Patched stand-ins for diffusers' scripts and sd-scripts run, as those of test_migration.py do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from peer_stand_ins import batches, close, patched

import speediff
from speediff.torch import TimestepSampler

if TYPE_CHECKING:
    from pathlib import Path


def script_arguments(folder: Path, **options: Any) -> SimpleNamespace:
    arguments = {
        "pretrained_model_name_or_path": str(folder / "model"),
        "output_dir": folder,
        "resume_from_checkpoint": None,
        "train_dataloader": [*batches(3, 4), *batches(1, 3)],
        "gradient_accumulation_steps": 2,
        "seed": 5,
        "snr_gamma": None,
        "weighting_scheme": "none",
    }
    return SimpleNamespace(**{**arguments, **options})


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_text_to_image_weighs_each_sample_and_saves_the_sampler(tmp_path: Path, prediction: str) -> None:
    table = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    DDPMScheduler(prediction_type=prediction, **table).save_pretrained(tmp_path / "model" / "scheduler")
    with patched("diffusers-text-to-image", tmp_path, "examples/text_to_image") as load:
        script = load("train_text_to_image")
        seen = script.main(script_arguments(tmp_path))
        more = script.main(
            script_arguments(tmp_path, resume_from_checkpoint=tmp_path, train_dataloader=batches(1, 4))
        )
    sampler = TimestepSampler.speed(speediff.NoiseSchedule.scaled_linear(1000), seed=5)
    for call in seen + more:
        t, w = sampler.sample(len(call["t"]))
        assert torch.equal(call["t"], t)
        close(call["loss"], (w * (call["pred"] - call["target"]).square().mean(dim=(1, 2, 3))).mean())


@pytest.mark.parametrize("precondition", [0, 1])
def test_flow_matching_gets_time_steps_that_its_scheduler_knows(tmp_path: Path, precondition: int) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.save_pretrained(tmp_path / "model" / "scheduler")
    options = {"precondition_outputs": precondition}
    with patched("diffusers-sd3", tmp_path, "examples/dreambooth") as load:
        script = load("train_dreambooth_lora_sd3")
        seen = script.main(script_arguments(tmp_path, **options))
        options |= {"resume_from_checkpoint": tmp_path, "train_dataloader": batches(1, 4)}
        more = script.main(script_arguments(tmp_path, **options))
    sigmas = scheduler.sigmas.double().numpy()[::-1].copy()
    schedule = speediff.NoiseSchedule.from_alphas_cumprod((1 - sigmas) ** 2 / ((1 - sigmas) ** 2 + sigmas**2))
    sampler = TimestepSampler.speed(schedule, seed=5)
    for call in seen + more:
        step, w = sampler.sample(len(call["t"]))
        assert torch.equal(call["t"], scheduler.timesteps.flip(0)[step])
        close(call["loss"], (w * (call["pred"] - call["target"]).square().mean(dim=(1, 2, 3))).mean())


@pytest.mark.parametrize(
    ("precondition", "prediction", "forms"),
    [(0, "flow", lambda sigma: sigma**-2), (1, "sample", lambda sigma: sigma**-4)],
)
def test_preconditioned_outputs_take_the_weights_of_x0(
    tmp_path: Path, precondition: int, prediction: str, forms: Any
) -> None:
    """The loss on x₀ is σ² times the flow loss: `sigma_sqrt` of the flow loss, σ⁻², becomes σ⁻⁴."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.save_pretrained(tmp_path / "model" / "scheduler")

    def change(text: str) -> str:
        return text.replace('"asymmetric", "change_aware"', '"uniform", "sigma_sqrt"')

    with patched("diffusers-sd3", tmp_path, "examples/dreambooth", change) as load:
        arguments = script_arguments(tmp_path, precondition_outputs=precondition)
        (call, *_) = load("train_dreambooth_lora_sd3").main(arguments)
    w = forms(call["t"] / 1000)
    assert call["loss"] == pytest.approx(
        (w * (call["pred"] - call["target"]).square().mean(dim=(1, 2, 3))).mean().item(), rel=1e-4
    ), prediction


@pytest.mark.parametrize("name", ["diffusers-text-to-image", "diffusers-sd3"])
def test_accumulation_may_be_added_where_batches_are_equal(tmp_path: Path, name: str) -> None:
    folder, script = {
        "diffusers-text-to-image": ("examples/text_to_image", "train_text_to_image"),
        "diffusers-sd3": ("examples/dreambooth", "train_dreambooth_lora_sd3"),
    }[name]
    scheduler = DDPMScheduler() if script == "train_text_to_image" else FlowMatchEulerDiscreteScheduler()
    scheduler.save_pretrained(tmp_path / "model" / "scheduler")

    def change(text: str) -> str:
        return text.replace(
            "seed=args.seed or 0", "seed=args.seed or 0, accumulation=args.gradient_accumulation_steps"
        )

    with patched(name, tmp_path, folder, change) as load:
        arguments = script_arguments(tmp_path, precondition_outputs=0, train_dataloader=batches(4, 4))
        seen = load(script).main(arguments)
    sampler = TimestepSampler.for_scheduler(scheduler, "asymmetric", "change_aware", seed=5)
    for step in range(2):
        whole, _ = sampler.sample(8, step=step)
        assert torch.equal(torch.cat([call["t"] for call in seen[2 * step : 2 * step + 2]]), whole)


def test_accelerate_saves_and_loads_a_sampler(tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    sampler = TimestepSampler.speed(speediff.NoiseSchedule.linear(1000), seed=1)
    accelerator.register_for_checkpointing(sampler)
    sampler.sample(4)
    accelerator.save_state(str(tmp_path / "state"))
    expected = sampler.sample(4)[0]
    sampler.sample(4)
    accelerator.load_state(str(tmp_path / "state"))
    assert torch.equal(sampler.sample(4)[0], expected)


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("v", [False, True])
@pytest.mark.parametrize("gamma", [None, 5.0])
def test_sd_scripts_leaves_validation_alone(
    tmp_path: Path, zero_snr: bool, v: bool, gamma: float | None
) -> None:
    if gamma and zero_snr and not v:
        pytest.skip("min(S, γ)/S has no value at S = 0 in sd-scripts")
    args = SimpleNamespace(
        seed=2, zero_terminal_snr=zero_snr, v_parameterization=v, min_snr_gamma=gamma,
        min_timestep=None, max_timestep=None, gradient_accumulation_steps=1,
    )  # fmt: skip
    with patched("sd-scripts", tmp_path) as load:
        trainer = load("train_network").NetworkTrainer()
        losses = trainer.train(args, [*batches(2, 4), *batches(1, 3)])
        # Another script of that repository, whose scheduler has no sampler.
        draw = load("library.train_util").get_noise_noisy_latents_and_timesteps
        assert draw(args, DDPMScheduler(), batches(1, 4)[0])[2].max() < 1000
    schedule = speediff.NoiseSchedule.scaled_linear(1000)
    if zero_snr:
        schedule = schedule.zero_terminal_snr()
    sampler = TimestepSampler.speed(schedule, seed=2)
    snr = torch.from_numpy(schedule.alphas_cumprod / (1 - schedule.alphas_cumprod))
    for number, (call, loss) in enumerate(zip(trainer.seen, losses, strict=True)):
        expected = call["error"].double()
        if number % 2:
            assert (call["t"] == 400).all()
        else:
            t, w = sampler.sample(len(call["t"]))
            assert torch.equal(call["t"], t)
            expected = expected * w
        if gamma:
            s = snr[call["t"]]
            expected = expected * s.clamp(max=gamma) / (s + 1 if v else s)
        assert loss == pytest.approx(expected.mean().item(), rel=1e-4 if zero_snr or gamma else 1e-6)
