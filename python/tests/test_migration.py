"""Patched stand-ins for other trainers run: their draws, weights and losses are SpeeDiff's.

What is expected comes from a sampler of the test's own with the same seed, and from the loss written out.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peer_stand_ins import batches, close, patched

import speediff
from speediff.torch import SigmaSampler, TimestepSampler

if TYPE_CHECKING:
    from pathlib import Path

LINEAR = speediff.NoiseSchedule.linear(1000)


def speed(seed: int = 0, **options: Any) -> TimestepSampler:
    return TimestepSampler.speed(LINEAR, seed=seed, **options)


# DiT


def test_dit_weighs_the_mse_alone_and_saves_the_sampler(tmp_path: Path) -> None:
    args = SimpleNamespace(
        global_seed=3, epochs=1, ckpt_every=2, model="DiT-XL/2", vae="ema", results_dir=None,
        loader=[(x, torch.zeros(6, dtype=torch.int64)) for x in batches(3, 6)],
    )  # fmt: skip
    with patched("dit", tmp_path) as load:
        diffusion, losses, checkpoints = load("train").main(args)
    sampler = speed(seed=3)
    for seen, loss in zip(diffusion.seen, losses, strict=True):
        t, w = sampler.sample(6)
        assert torch.equal(seen["t"], t)
        close(loss, (w * seen["error"] + seen["vb"]).mean())
    torch.save(checkpoints[0]["sampler"], tmp_path / "sampler.pt")
    resumed = speed(prediction="epsilon")
    resumed.load_state_dict(torch.load(tmp_path / "sampler.pt", weights_only=True))
    assert torch.equal(resumed.sample(6)[0], diffusion.seen[2]["t"])


def test_uniform_and_uniform_is_the_objective_of_before(tmp_path: Path) -> None:
    def change(text: str) -> str:
        return text.replace('"asymmetric", "change_aware"', '"uniform", "uniform"')

    with patched("dit", tmp_path, change=change) as load:
        args = SimpleNamespace(
            global_seed=3, epochs=1, ckpt_every=9, model="DiT-XL/2", vae="ema", results_dir=None,
            loader=[(x, torch.zeros(64, dtype=torch.int64)) for x in batches(4, 64)],
        )  # fmt: skip
        diffusion, losses, _ = load("train").main(args)
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


@pytest.mark.parametrize("microbatch", [-1, 3])
def test_mdt_gets_one_draw_for_both_passes_and_no_min_snr(tmp_path: Path, microbatch: int) -> None:
    with patched("mdt", tmp_path) as load:
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


# EDM and FDM


def edm_run(load: Any, folder: Path, precond: str, **options: Any) -> tuple[Any, list[torch.Tensor]]:
    arguments = {"batch": 6, "batch_gpu": 3, "seed": 7, "steps": 2, "resume": None, **options}
    images = batches(1, 3)[0]
    return load("train").main(images=images, precond=precond, run_dir=folder, **arguments)


def check_edm_calls(net: Any, losses: list[torch.Tensor], sampler: SigmaSampler) -> None:
    """Levels, noise and losses of the calls of the loss, against w·(D-y)²."""
    images = batches(1, 3)[0]
    for call, loss in zip(net.seen, losses, strict=True):
        sigma, w = sampler.sample(3)
        assert torch.equal(call["sigma"], sigma)
        noise = (call["x"] - images) / sigma.reshape(-1, 1, 1, 1)
        assert 0.5 < noise[sigma > 1e-2].std() < 1.5
        torch.testing.assert_close(
            loss, w.reshape(-1, 1, 1, 1) * (call["D"] - images) ** 2, rtol=1e-6, atol=0
        )


@pytest.mark.parametrize("precond", ["edm", "vp", "ve"])
def test_edm_draws_in_rounds_and_resumes_from_its_snapshot(tmp_path: Path, precond: str) -> None:
    with patched("edm", tmp_path) as load:
        net, losses = edm_run(load, tmp_path, precond)
        snapshot = tmp_path / "network-snapshot.pkl"
        resumed, more = edm_run(load, tmp_path, precond, seed=8, steps=1, resume=snapshot)
    sampler = getattr(SigmaSampler, precond)(seed=7, accumulation=2)
    check_edm_calls(net, losses, sampler)
    assert sampler.step == 2
    check_edm_calls(resumed, more, sampler)


def test_edm_starts_anew_from_a_foreign_network(tmp_path: Path) -> None:
    """`--transfer` gives a snapshot without a state, and its draws are not those of the old run."""

    def change(text: str) -> str:
        return text.replace("resume_state_dump=opts.resume", "resume_state_dump=None")

    with patched("edm", tmp_path, change=change) as load:
        edm_run(load, tmp_path, "edm")
        net, _ = edm_run(load, tmp_path, "edm", seed=8, resume=tmp_path / "network-snapshot.pkl")
    assert torch.equal(net.seen[0]["sigma"], SigmaSampler.edm(seed=8, accumulation=2).sample(3)[0])


def test_edm_takes_a_sampling_in_the_line_of_its_loop(tmp_path: Path) -> None:
    sampling = "speediff.sampling.LogNormal(p_mean=-0.4, p_std=1.0)"

    def change(text: str) -> str:
        call = "accumulation=num_accumulation_rounds"
        return text.replace(call, f"{call}, sampling={sampling}").replace(
            "import copy", "import copy, speediff"
        )

    with patched("edm", tmp_path, change=change) as load:
        net, losses = edm_run(load, tmp_path, "edm")
    own = speediff.sampling.LogNormal(p_mean=-0.4, p_std=1.0)
    check_edm_calls(net, losses, SigmaSampler.edm(seed=7, accumulation=2, sampling=own))


@pytest.mark.parametrize("precond", ["fdm_edm", "fdm_vp", "fdm_ve"])
def test_fdm_warms_up_by_steps_and_goes_on_after_a_resume(tmp_path: Path, precond: str) -> None:
    with patched("fdm", tmp_path) as load:
        net, losses = edm_run(load, tmp_path, precond, warmup_ite=10.0)
        snapshot = tmp_path / "network-snapshot.pkl"
        resumed, more = edm_run(load, tmp_path, precond, warmup_ite=10.0, steps=1, resume=snapshot)
    base = precond.removeprefix("fdm_")
    check_edm_calls(net, losses, SigmaSampler.fdm(seed=7, process=base, warm_up=10, accumulation=2))
    bare = getattr(SigmaSampler, base)(seed=7, accumulation=2)
    images = batches(1, 3)[0]
    for number, (call, loss) in enumerate(zip(net.seen + resumed.seen, losses + more, strict=True)):
        sigma, w = bare.sample(3)
        bound = 5 * 100 ** ((number // 2) / 10)
        expected = w.clamp(max=bound).reshape(-1, 1, 1, 1) * (call["D"] - images) ** 2
        assert torch.equal(call["sigma"], sigma)
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)


def test_fdm_without_a_warm_up_is_its_process(tmp_path: Path) -> None:
    with patched("fdm", tmp_path) as load:
        net, losses = edm_run(load, tmp_path, "fdm_edm", warmup_ite=None)
    check_edm_calls(net, losses, SigmaSampler.edm(seed=7, accumulation=2))


# SpeeD


def test_speed_draws_by_the_number_of_the_step(tmp_path: Path) -> None:
    with patched("speed", tmp_path) as load:
        runner = load("runner").Experiment()
        losses = runner.train(batches(3, 6))
        resumed = load("runner").Experiment(start_step=2)
        resumed.train(batches(1, 6))
    for step, (seen, loss) in enumerate(zip(runner.diffusion.seen, losses, strict=True)):
        t, w = speed().sample(6, step=step)
        assert torch.equal(seen["t"], t)
        close(loss, (w * seen["error"] + seen["vb"]).mean())
    assert torch.equal(resumed.diffusion.seen[0]["t"], runner.diffusion.seen[2]["t"])


def test_the_released_code_of_speed_is_a_preset(tmp_path: Path) -> None:
    def change(text: str) -> str:
        made = 'TimestepSampler.for_scheduler(self, "asymmetric", "change_aware")'
        preset = 'TimestepSampler.speed(schedule_from(self), 5, 0.6, preset="official")'
        return text.replace(made, preset).replace("TimestepSampler\n", "TimestepSampler, schedule_from\n")

    with patched("speed", tmp_path, change=change) as load:
        runner = load("runner").Experiment()
        losses = runner.train(batches(2, 6))
    sampler = speed(preset="official")
    for seen, loss in zip(runner.diffusion.seen, losses, strict=True):
        t, w = sampler.sample(6)
        assert torch.equal(seen["t"], t)
        close(loss, (w * seen["error"] + seen["vb"]).mean())
