"""Patched stand-ins for trainers on continuous noise levels run, as those of test_migration.py do."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peer_stand_ins import batches, close, patched

import speediff
from speediff.torch import SigmaSampler

if TYPE_CHECKING:
    from pathlib import Path

# EDM and FDM


def edm_run(load: Any, folder: Path, precond: str, **options: Any) -> tuple[Any, list[torch.Tensor]]:
    arguments = {"batch": 6, "batch_gpu": 3, "seed": 7, "steps": 2, "resume": None, "cbase": None}
    arguments |= {"fdm_multiplier": 2.0, **options}
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


@pytest.mark.parametrize("trainer", ["edm", "fdm"])
def test_a_run_from_before_the_patch_goes_on_with_draws_from_the_start(tmp_path: Path, trainer: str) -> None:
    """Its snapshot has the trainer's own loss, which has no state."""
    arguments = {"warmup_ite": 10.0} if trainer == "fdm" else {}
    snapshot = tmp_path / "old.pkl"
    with patched(trainer, tmp_path) as load:
        old = load("training.networks").EDMPrecond()
        snapshot.write_bytes(pickle.dumps({"ema": old, "loss_fn": load("training.loss").EDMLoss()}))
        precond = "fdm_edm" if trainer == "fdm" else "edm"
        net, _ = edm_run(load, tmp_path, precond, resume=snapshot, **arguments)
    assert torch.equal(net.seen[0]["sigma"], SigmaSampler.edm(seed=7, accumulation=2).sample(3)[0])


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


@pytest.mark.parametrize(
    ("precond", "warm_up"),
    [("fdm_edm", None), ("fdm_ve", 0.0), ("edm", 10.0), ("vp", 10.0), ("ve", 0.5)],
)
def test_fdm_without_a_warm_up_is_its_process(tmp_path: Path, precond: str, warm_up: float | None) -> None:
    """The original hands `--warmup_ite` to the losses of its own three preconditionings alone."""
    with patched("fdm", tmp_path) as load:
        net, losses = edm_run(load, tmp_path, precond, warmup_ite=warm_up)
    check_edm_calls(net, losses, getattr(SigmaSampler, precond.removeprefix("fdm_"))(seed=7, accumulation=2))


@pytest.mark.parametrize("warm_up", [0.3, 1.0, 1.4])
def test_a_warm_up_below_a_step_bounds_the_first_one(tmp_path: Path, warm_up: float) -> None:
    """As the original does, whose bound leaves 500 behind after the first call."""
    with patched("fdm", tmp_path) as load:
        net, losses = edm_run(load, tmp_path, "fdm_ve", warmup_ite=warm_up, batch=3)
    sampler = SigmaSampler.ve(seed=7)
    for call, loss, bound in zip(net.seen, losses, (5.0, float("inf")), strict=True):
        w = sampler.sample(3)[1].clamp(max=bound)
        images = batches(1, 3)[0]
        expected = w.reshape(-1, 1, 1, 1) * (call["D"] - images) ** 2
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)


# SiT


def sit_run(load: Any, **options: Any) -> tuple[Any, list[float]]:
    loader = [(x, torch.zeros(6, dtype=torch.int64)) for x in batches(3, 6)]
    arguments = {"global_seed": 3, "model": "SiT-XL/2", "vae": "ema", "train_steps": 0, "loader": loader}
    transport, losses = load("train").main(SimpleNamespace(**{**arguments, **options}))
    return transport, losses


def test_sit_has_the_data_at_1_where_speediff_has_noise(tmp_path: Path) -> None:
    with patched("sit", tmp_path) as load:
        transport, losses = sit_run(load)
    sampler = SigmaSampler.flow(seed=3)
    for call, loss in zip(transport.seen, losses, strict=True):
        t, w = sampler.sample(6)
        assert torch.equal(call["t"], 1 - t)
        noise = t.reshape(-1, 1, 1, 1)
        torch.testing.assert_close(call["xt"], noise * call["x0"] + (1 - noise) * call["x1"])
        close(loss, (w * call["error"]).mean())
        assert (w == 1).all(), "the objective of before"


def test_sit_gets_more_noise_where_a_sampling_asks_for_it(tmp_path: Path) -> None:
    def change(text: str) -> str:
        sampling = "speediff.sampling.LogitNormal(mean=3.0, std=0.1)"
        return text.replace("seed=args.global_seed", f"seed=args.global_seed, sampling={sampling}").replace(
            "import logging", "import logging, speediff"
        )

    with patched("sit", tmp_path, change=change) as load:
        transport, _ = sit_run(load)
    for call in transport.seen:
        assert call["t"].max() < 0.1
        torch.testing.assert_close(call["xt"], call["x0"], rtol=0, atol=0.5)


def test_sit_draws_by_the_number_of_the_step(tmp_path: Path) -> None:
    with patched("sit", tmp_path) as load:
        transport, _ = sit_run(load)
        resumed, _ = sit_run(load, train_steps=2)
    assert torch.equal(resumed.seen[0]["t"], transport.seen[2]["t"])
