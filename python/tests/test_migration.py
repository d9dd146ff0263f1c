"""Patched stand-ins for other trainers run: their draws, weights and losses are SpeeDiff's.

What is expected comes from a sampler of the test's own with the same seed, and from the loss written out.
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peer_stand_ins import PATCHES, batches, close, patched

import speediff
from speediff.torch import TimestepSampler

if TYPE_CHECKING:
    from pathlib import Path

LINEAR = speediff.NoiseSchedule.linear(1000)


def speed(seed: int = 0, **options: Any) -> TimestepSampler:
    return TimestepSampler.speed(LINEAR, seed=seed, **options)


# DiT


def test_dit_weighs_the_mse_alone_and_saves_the_sampler(tmp_path: Path) -> None:
    args = SimpleNamespace(
        global_seed=3, epochs=1, ckpt_every=2, model="DiT-XL/2", vae="ema", results_dir=tmp_path,
        loader=[(x, torch.zeros(6, dtype=torch.int64)) for x in batches(3, 6)],
    )  # fmt: skip
    with patched("dit", tmp_path) as load:
        diffusion, losses = load("train").main(args)
    sampler = speed(seed=3)
    for seen, loss in zip(diffusion.seen, losses, strict=True):
        t, w = sampler.sample(6)
        assert torch.equal(seen["t"], t)
        close(loss, (w * seen["error"] + seen["vb"]).mean())
    checkpoint = torch.load(tmp_path / "0000002.pt", weights_only=False)
    resumed = speed(prediction="epsilon")
    resumed.load_state_dict(checkpoint["sampler"])
    assert torch.equal(resumed.sample(6)[0], diffusion.seen[2]["t"])


def test_uniform_and_uniform_is_the_objective_of_before(tmp_path: Path) -> None:
    def change(text: str) -> str:
        return text.replace('"asymmetric", "change_aware"', '"uniform", "uniform"')

    with patched("dit", tmp_path, change=change) as load:
        args = SimpleNamespace(
            global_seed=3, epochs=1, ckpt_every=9, model="DiT-XL/2", vae="ema", results_dir=tmp_path,
            loader=[(x, torch.zeros(64, dtype=torch.int64)) for x in batches(4, 64)],
        )  # fmt: skip
        diffusion, losses = load("train").main(args)
    for seen, loss in zip(diffusion.seen, losses, strict=True):
        close(loss, (seen["error"] + seen["vb"]).mean())
    t = torch.cat([seen["t"] for seen in diffusion.seen]).double()
    assert abs(t.mean() - 499.5) < 4 * 1000 / (12 * len(t)) ** 0.5


# guided-diffusion and MDT


def train_loop(load: Any, package: str, diffusion: Any, **options: Any) -> Any:
    model = load("toys").ToyModel()
    arguments = {"batch_size": 6, "microbatch": 2, "lr": 1e-4, "resume_checkpoint": "", **options}
    return load(f"{package}.train_util").TrainLoop(model=model, diffusion=diffusion, data=None, **arguments)


def condition(n: int) -> dict[str, torch.Tensor]:
    return {"y": torch.zeros(n, dtype=torch.int64)}


def test_guided_diffusion_takes_its_micro_batches_from_one_step(tmp_path: Path) -> None:
    with patched("guided-diffusion", tmp_path) as load:
        loop = train_loop(load, "guided_diffusion", load("toys").ToyDiffusion())
        for x in batches(2, 6):
            loop.run_step(x, condition(6))
    seen, losses = loop.diffusion.seen, loop.losses
    assert loop.schedule_sampler.step == 2
    for step in range(2):
        whole, _ = speed().sample(6, step=step)
        assert torch.equal(torch.cat([call["t"] for call in seen[3 * step : 3 * step + 3]]), whole)
    sampler = speed(accumulation=3)
    for call, loss in zip(seen, losses, strict=True):
        t, w = sampler.sample(2)
        assert torch.equal(call["t"], t)
        close(loss, (w * call["error"] + call["vb"]).mean())


def test_guided_diffusion_resumes_from_the_number_of_the_file(tmp_path: Path) -> None:
    with patched("guided-diffusion", tmp_path) as load:
        options = {"microbatch": -1, "resume_checkpoint": "runs/model000005.pt"}
        loop = train_loop(load, "guided_diffusion", load("toys").ToyDiffusion(), **options)
        loop.run_step(batches(1, 6)[0], condition(6))
    assert torch.equal(loop.diffusion.seen[0]["t"], speed().sample(6, step=5)[0])


def test_guided_diffusion_teaches_a_method_that_learns(tmp_path: Path) -> None:
    def change(text: str) -> str:
        return text.replace('"asymmetric", "change_aware"', '"loss_second_moment", "uniform"')

    with patched("guided-diffusion", tmp_path, change=change) as load:
        loop = train_loop(
            load, "guided_diffusion", load("toys").ToyDiffusion(25), batch_size=500, microbatch=250
        )
        for x in batches(3, 500):
            loop.run_step(x, condition(500))
    own = TimestepSampler(speediff.NoiseSchedule.linear(25), "loss_second_moment", accumulation=2)
    for call, loss in zip(loop.diffusion.seen, loop.losses, strict=True):
        t, w = own.sample(250)
        assert torch.equal(call["t"], t)
        close(loss, (w * (call["error"] + call["vb"])).mean())
        own.update(t, call["error"] + call["vb"])
    assert own.weights.max() > own.weights.min()


@pytest.mark.parametrize("version", ["mdt", "mdt-v1"])
@pytest.mark.parametrize("microbatch", [-1, 3])
def test_mdt_gets_one_draw_for_both_passes_and_no_min_snr(
    tmp_path: Path, microbatch: int, version: str
) -> None:
    with patched(version, tmp_path) as load:
        diffusion = load("masked_diffusion.gaussian_diffusion").GaussianDiffusion()
        loop = train_loop(load, "masked_diffusion", diffusion, microbatch=microbatch)
        for x in batches(2, 6):
            loop.run_step(x, condition(6))
    seen, calls = loop.diffusion.seen, 6 // loop.microbatch
    assert loop.model.masked == [False, True] * (2 * calls)
    sampler = speed(accumulation=calls)
    for plain, masked, loss in zip(seen[::2], seen[1::2], loop.losses, strict=True):
        t, w = sampler.sample(loop.microbatch)
        assert torch.equal(plain["t"], t)
        assert torch.equal(masked["t"], t)
        close(loss, sum((w * call["error"] + call["vb"]).mean() for call in (plain, masked)))
    assert sampler.step == loop.schedule_sampler.step == 2


# SpeeD


def speed_run(load: Any, runner: str, steps: int, **options: Any) -> Any:
    config = SimpleNamespace(**{"seed": 3, "timestep_respacing": "", "start_step": 0, **options})
    experiment = load(f"runner.{runner}")
    name = {"base": "BaseExperiment", "unconditional": "UnconditionalExperiment"}[runner]
    experiment = getattr(experiment, name)(config)
    experiment.train(batches(steps, 6))
    return experiment


@pytest.mark.parametrize("runner", ["base", "unconditional"])
def test_speed_draws_by_the_seed_and_the_number_of_the_step(tmp_path: Path, runner: str) -> None:
    with patched("speed", tmp_path) as load:
        run = speed_run(load, runner, 3)
        resumed = speed_run(load, runner, 1, start_step=2)
    for step, (seen, loss) in enumerate(zip(run.diffusion.seen, run.losses, strict=True)):
        t, w = speed(seed=3).sample(6, step=step)
        assert torch.equal(seen["t"], t)
        close(loss, (w * seen["error"] + seen["vb"]).mean())
    assert torch.equal(resumed.diffusion.seen[0]["t"], run.diffusion.seen[2]["t"])


@pytest.mark.parametrize("steps", ["1", "2", "10", "50"])
def test_speed_generates_with_few_steps(tmp_path: Path, steps: str) -> None:
    """Of which `for_scheduler` would find no tau: a sampler is made only where one is trained."""
    with patched("speed", tmp_path) as load:
        assert speed_run(load, "unconditional", 0, timestep_respacing=steps).diffusion.num_timesteps == int(
            steps
        )


def test_the_released_code_of_speed_is_a_preset(tmp_path: Path) -> None:
    def change(text: str) -> str:
        made = 'TimestepSampler.for_scheduler(self, "asymmetric", "change_aware", seed=kwargs["seed"])'
        preset = 'TimestepSampler.speed(schedule_from(self), 5, 0.6, preset="official", seed=kwargs["seed"])'
        return text.replace(made, preset).replace("TimestepSampler\n", "TimestepSampler, schedule_from\n")

    with patched("speed", tmp_path, change=change) as load:
        run = speed_run(load, "base", 2)
    sampler = speed(preset="official", seed=3)
    for seen, loss in zip(run.diffusion.seen, run.losses, strict=True):
        t, w = sampler.sample(6)
        assert torch.equal(seen["t"], t)
        close(loss, (w * seen["error"] + seen["vb"]).mean())


# denoising-diffusion-pytorch

LINES = re.findall(
    r"```python\n(.*?)```", (PATCHES / "denoising-diffusion-pytorch.md").read_text(), re.DOTALL
)


@pytest.mark.parametrize("objective", ["pred_noise", "pred_x0", "pred_v"])
def test_lines_for_a_loop_of_ones_own_replace_the_weights(tmp_path: Path, objective: str) -> None:
    assert LINES[0].count("\n") - 2 <= 5
    with patched("denoising-diffusion-pytorch", tmp_path) as load:
        diffusion = load("denoising_diffusion_pytorch").GaussianDiffusion(objective=objective)
        for x in batches(2, 6):
            names = {"diffusion": diffusion, "loader": [x]}
            exec(LINES[0], names)
            call = diffusion.seen[-1]
            t, w = speed().sample(6)
            assert torch.equal(call["t"], t)
            close(names["loss"].item(), (w * call["error"]).mean())
    prediction = {"pred_noise": "epsilon", "pred_x0": "sample", "pred_v": "v"}[objective]
    assert names["sampler"].recipe.drawing.prediction == prediction


def test_lines_for_its_trainer_replace_the_table_and_the_draw(tmp_path: Path) -> None:
    with patched("denoising-diffusion-pytorch", tmp_path) as load:
        module = load("denoising_diffusion_pytorch")
        diffusion = module.GaussianDiffusion(min_snr_gamma=5.0)
        old = module.Trainer(diffusion, []).save()
        trainer = module.Trainer(diffusion, batches(4, 6), gradient_accumulate_every=2)
        names = {"diffusion": diffusion, "torch": torch}
        exec(LINES[1], names)
        trainer.train()
    for step, (call, loss) in enumerate(zip(diffusion.seen, trainer.losses, strict=True)):
        t, w = speed().sample(6, step=step)
        assert torch.equal(call["t"], t)
        close(loss, (w * call["error"]).mean())
    assert names["sampler"].step == trainer.step * trainer.gradient_accumulate_every == 4
    trainer.load(old)
    assert not torch.allclose(diffusion.loss_weight, torch.tensor(names["sampler"].weights).float())
