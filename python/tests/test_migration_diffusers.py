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
        "num_train_epochs": 1,
        "revision": None,
        "variant": None,
        "input_perturbation": 0,
        "snr_gamma": None,
        "weighting_scheme": "none",
        "logit_mean": 0.0,
        "logit_std": 1.0,
        "mode_scale": 1.29,
        "precondition_outputs": 0,
        "global_step": 0,
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


SCRIPTS = {
    "diffusers-text-to-image": ("examples/text_to_image", "train_text_to_image", DDPMScheduler()),
    "diffusers-sd3": (
        "examples/dreambooth",
        "train_dreambooth_lora_sd3",
        FlowMatchEulerDiscreteScheduler(shift=3.0),
    ),
}


def accumulated_run(
    name: str, folder: Path, change: Any, **options: Any
) -> tuple[list[Any], TimestepSampler]:
    """The calls of a script that was changed further, and an own sampler."""
    place, script, scheduler = SCRIPTS[name]
    scheduler.save_pretrained(folder / "model" / "scheduler")
    with patched(name, folder, place, change) as load:
        seen = load(script).main(script_arguments(folder, **options))
    prediction = "flow" if name == "diffusers-sd3" else "epsilon"
    return seen, TimestepSampler.for_scheduler(
        scheduler, "asymmetric", "change_aware", prediction=prediction, seed=5
    )


def with_accumulation(text: str) -> str:
    """What the page says where accumulation divides the batches of an epoch."""
    return text.replace(
        "seed=args.seed or 0", "seed=args.seed or 0, accumulation=args.gradient_accumulation_steps"
    )


def with_steps(text: str) -> str:
    """What the page says where it does not."""
    for device in ("latents.device", "model_input.device"):
        place = "step=global_step, micro_batch=step % args.gradient_accumulation_steps"
        text = text.replace(f".sample(bsz, {device})", f".sample(bsz, {device}, {place})")
    return with_accumulation(text)


@pytest.mark.parametrize("change", [with_accumulation, with_steps])
@pytest.mark.parametrize("name", SCRIPTS)
def test_micro_batches_make_one_step_where_they_divide_an_epoch(
    tmp_path: Path, name: str, change: Any
) -> None:
    options = {"train_dataloader": batches(4, 4), "num_train_epochs": 2}
    seen, sampler = accumulated_run(name, tmp_path, change, **options)
    assert len(seen) == 8
    for step in range(4):
        whole, _ = sampler.sample(8, step=step)
        assert torch.equal(torch.cat([call["t"] for call in seen[2 * step : 2 * step + 2]]), whole)


@pytest.mark.parametrize("name", SCRIPTS)
def test_steps_follow_accelerate_where_an_epoch_cuts_an_accumulation_off(tmp_path: Path, name: str) -> None:
    """3 batches an epoch, 2 a step: accelerate takes a step after the 2nd and the 3rd."""
    options = {"train_dataloader": batches(3, 4), "num_train_epochs": 2}
    seen, sampler = accumulated_run(name, tmp_path, with_steps, **options)
    assert [call["step"] for call in seen] == [(0, 0), (0, 1), (1, 2), (2, 0), (2, 1), (3, 2)]
    for call in seen:
        step, batch = call["step"]
        assert torch.equal(call["t"], sampler.sample(8, step=step)[0][4 * (batch % 2) :][:4])


@pytest.mark.parametrize("name", SCRIPTS)
def test_counted_accumulation_does_not_follow_accelerate_there(tmp_path: Path, name: str) -> None:
    """Why the page says so: the fourth call is the sampler's second step, and accelerate's third."""
    options = {"train_dataloader": batches(3, 4), "num_train_epochs": 2}
    seen, sampler = accumulated_run(name, tmp_path, with_accumulation, **options)
    assert seen[3]["step"] == (2, 0)
    assert torch.equal(seen[3]["t"], sampler.sample(8, step=1)[0][4:])


@pytest.mark.parametrize("count", [3, 4, 5])
def test_the_stand_in_ends_an_accumulation_where_accelerate_does(tmp_path: Path, count: int) -> None:
    accelerate = pytest.importorskip("accelerate")
    theirs = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    loader = theirs.prepare(torch.utils.data.DataLoader(torch.zeros(count, 1)))
    with patched("diffusers-sd3", tmp_path) as load:
        ours = load("toys").ToyAccelerator(gradient_accumulation_steps=2)
    model = torch.nn.Linear(1, 1)
    for _ in range(2):
        for _, batch in zip(loader, ours.prepare(range(count)), strict=True):
            with theirs.accumulate(model), ours.accumulate(model):
                assert theirs.sync_gradients == ours.sync_gradients, batch


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


def network_arguments(**options: Any) -> SimpleNamespace:
    arguments = {
        "seed": 2, "zero_terminal_snr": False, "v_parameterization": False, "min_snr_gamma": None,
        "scale_v_pred_loss_like_noise_pred": False, "debiased_estimation_loss": False, "min_timestep": None,
        "max_timestep": None, "gradient_accumulation_steps": 1,
    }  # fmt: skip
    return SimpleNamespace(**{**arguments, **options})


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("v", [False, True])
@pytest.mark.parametrize("option", [None, "min_snr_gamma", "debiased_estimation_loss"])
def test_sd_scripts_leaves_validation_and_its_own_weights_alone(
    tmp_path: Path, zero_snr: bool, v: bool, option: str | None
) -> None:
    """Options that are left on multiply, by the SNR of before the change to zero terminal SNR."""
    values = {} if option is None else {option: 5.0 if option == "min_snr_gamma" else True}
    args = network_arguments(zero_terminal_snr=zero_snr, v_parameterization=v, **values)
    with patched("sd-scripts", tmp_path) as load:
        trainer = load("train_network").NetworkTrainer()
        losses = trainer.train(args, [*batches(2, 4), *batches(1, 3)])
        # Another script of that repository, whose scheduler has no sampler.
        draw = load("library.train_util").get_noise_noisy_latents_and_timesteps
        assert draw(args, DDPMScheduler(), batches(1, 4)[0])[2].max() < 1000
    before = speediff.NoiseSchedule.scaled_linear(1000)
    sampler = TimestepSampler.speed(before.zero_terminal_snr() if zero_snr else before, seed=2)
    snr = torch.from_numpy(before.snr)
    for number, (call, loss) in enumerate(zip(trainer.seen, losses, strict=True)):
        expected = call["error"].double()
        if number % 2:
            assert (call["t"] == 400).all()
        else:
            t, w = sampler.sample(len(call["t"]))
            assert torch.equal(call["t"], t)
            expected = expected * w
        s = snr[call["t"]]
        if option == "min_snr_gamma":
            expected = expected * s.clamp(max=5) / (s + 1 if v else s)
        elif option is not None:
            s = s.clamp(max=1000)
            expected = expected / (s + 1 if v else s.sqrt())
        assert loss == pytest.approx(
            expected.mean().item(), rel=1e-6 if option is None and not zero_snr else 1e-4
        )


def test_sd_scripts_gives_all_processes_the_seed_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `--seed` each process draws one of its own."""
    accelerate = pytest.importorskip("accelerate")
    monkeypatch.setattr(accelerate.utils, "broadcast_object_list", lambda seeds: [7])
    with patched("sd-scripts", tmp_path) as load:
        trainer = load("train_network").NetworkTrainer()
        trainer.train(network_arguments(seed=123), batches(1, 4))
    expected = TimestepSampler.speed(speediff.NoiseSchedule.scaled_linear(1000), seed=7)
    assert torch.equal(trainer.seen[0]["t"], expected.sample(4)[0])
