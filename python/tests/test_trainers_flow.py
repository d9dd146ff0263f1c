"""The seams of trainers of rectified flow: each page's example runs on a stand-in for its trainer.

The stand-ins have the trainers' names, signatures and order of calls. What is expected comes from a sampler
of the test's own with the same seed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from page_examples import example, own_lines, run
from peer_stand_ins import patched

import speediff
from speediff.torch import SigmaSampler, TimestepSampler
from speediff.torch.trainers import AIToolkitSampler, AnimaTimesteps, LTXTimesteps, MusubiSampler

if TYPE_CHECKING:
    from pathlib import Path

INFO_NOISE = "SigmaSampler.flow(7, sampling=speediff.sampling.InfoNoise(bins=2, warm_up=1, decay=0.5))"
WEIGHTED = 'SigmaSampler.flow(7, sampling="logit_normal", weighting="sigma_sqrt", shift=2.0)'
ADAPTIVE = 'SigmaSampler.flow(7, sampling=speediff.sampling.Adaptive(bins=3, decay=0.5), weighting="uniform")'


def own(expression: str) -> SigmaSampler:
    """The sampler of an expression that replaces the page's."""
    sampler: SigmaSampler = eval(expression, {"SigmaSampler": SigmaSampler, "speediff": speediff})
    return sampler


def latents(count: int, *shape: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("page", ["ai-toolkit", "anima-lora-studio", "ltx-2", "musubi-tuner"])
def test_a_page_asks_for_fewer_than_ten_lines(page: str) -> None:
    assert own_lines(page) < 10


def test_the_trainers_are_not_imported() -> None:
    peers = [
        "transformers",
        "accelerate",
        "lightning",
        "pytorch_lightning",
        "musubi_tuner",
        "ltx_trainer",
        "toolkit",
    ]
    code = f"import sys, speediff.torch.trainers; assert not set(sys.modules) & set({peers})"
    subprocess.run([sys.executable, "-c", code], check=True)


# LTX-2


def ltx_run(folder: Path, batches: list[torch.Tensor], **params: Any) -> list[Any]:
    with patched("ltx-2", folder) as load:
        flow = SimpleNamespace(timestep_sampling_mode="shifted_logit_normal", timestep_sampling_params=params)
        app = load("train").app
        app.config = SimpleNamespace(flow_matching=flow, batches=batches)
        run("ltx-2", {})
        seen: list[Any] = app.seen
    return seen


@pytest.mark.parametrize(("tokens", "mu"), [(1024, 0.95), (2560, 1.5), (4096, 2.05), (8192, 2.05)])
def test_ltx_draws_are_logit_normal_about_mu_of_the_length(tmp_path: Path, tokens: int, mu: float) -> None:
    """Shifting a logit-normal by e^μ is centring it on μ."""
    seen = ltx_run(tmp_path, latents(3, 4, tokens, 2), seed=7, strata="stratified")
    plain = SigmaSampler.flow(7, sampling=speediff.sampling.LogitNormal(mean=mu), strata="stratified")
    for call in seen:
        torch.testing.assert_close(call["sigma"], plain.sample(4)[0], rtol=2e-6, atol=1e-7)


def test_ltx_draws_without_a_shift_are_the_plain_ones_and_go_on_at_a_step(tmp_path: Path) -> None:
    seen = ltx_run(tmp_path / "a", latents(4, 4, 16, 2), sampling="cosmap", seed=7, shift=1)
    more = ltx_run(tmp_path / "b", latents(2, 4, 16, 2), sampling="cosmap", seed=7, shift=1, step=4)
    plain = SigmaSampler.flow(7, sampling="cosmap")
    for call in seen + more:
        assert torch.equal(call["sigma"], plain.sample(4)[0])


def test_ltx_ranks_share_one_global_batch() -> None:
    batch = torch.zeros(4, 2048, 2)
    ranks = [LTXTimesteps(seed=7, rank=rank, world_size=2, strata="stratified") for rank in range(2)]
    whole = LTXTimesteps(seed=7, strata="stratified")
    for _ in range(3):
        parts = torch.cat([rank.sample_for(batch) for rank in ranks])
        assert torch.equal(parts, whole.sample_for(torch.zeros(8, 2048, 2)))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"weighting": "sigma_sqrt"}, "weights of 1, since LTX-2"),
        ({"sampling": speediff.sampling.Adaptive(), "weighting": "uniform"}, "weights of 1"),
        ({"sampling": speediff.sampling.InfoNoise()}, "must not learn"),
        ({"shift": 0}, "shift must be finite and above 0, got 0"),
        ({"shift": float("nan")}, "shift must be finite"),
        ({"shift": "ltx"}, "shift must be.*ltx2"),
        ({"step": -1}, "step"),
    ],
)
def test_ltx_refuses_what_its_trainer_cannot_keep(params: dict[str, Any], message: str) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match=message):
        LTXTimesteps(**params)


def test_ltx_needs_three_dimensions_and_a_length() -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match="three dimensions, got 4"):
        LTXTimesteps().sample_for(torch.zeros(2, 3, 4, 5))
    with pytest.raises(speediff.SpeeDiffTypeError, match="seq_length"):
        LTXTimesteps().sample(4)
    assert LTXTimesteps(shift=3.0).sample(4).shape == (4,)


# AnimaLoraStudio


def anima_run(folder: Path, sampler: str, batches: list[Any], **options: Any) -> Any:
    context = SimpleNamespace(
        args=SimpleNamespace(seed=7), dataloader=batches, state=folder / "state.pt", grad_accum=2, nan_at=None
    )
    vars(context).update(options)
    with patched("anima", folder / "code") as load:
        load("anima_train").ctx = context
        run("anima-lora-studio", {"speediff": speediff}, sampler=sampler)
        protocol = load("training.timestep_samplers.protocol").TimestepSamplerProtocol
        assert isinstance(context.timestep_sampler, protocol)
    return context


def anima_batches(count: int, n: int = 6) -> list[Any]:
    """Latents, and which are of the regularization set: in the second batch all."""
    images = latents(count, n, 2, 1, 4, 4)
    return [
        (image, torch.full((n,), number == 1) | (torch.arange(n) == number % n))
        for number, image in enumerate(images)
    ]


@pytest.mark.parametrize("sampler", ['SigmaSampler.flow(7, sampling="cosmap", shift=3.0)', INFO_NOISE])
def test_anima_draws_learns_and_resumes(tmp_path: Path, sampler: str) -> None:
    """5 micro-batches by twos: the last group is cut off by the epoch. One loss is not a number."""
    first = anima_run(tmp_path, sampler, anima_batches(5), nan_at=3)
    second = anima_run(tmp_path, sampler, anima_batches(2))
    assert second.global_step == 4
    plain, learns = own(sampler), own(sampler).learns
    for seen in (first.seen, second.seen):
        pending: list[Any] = []
        for number, call in enumerate(seen, 1):
            assert torch.equal(call["t"], plain.sample(6)[0])
            kept = call["main"] & call["raw_mse"].isfinite()
            pending.append((call["t"][kept], call["raw_mse"][kept]))
            if learns and (number % 2 == 0 or number == len(seen)):
                plain.update(torch.cat([p[0] for p in pending]), torch.cat([p[1] for p in pending]))
                pending = []
    assert second.timestep_sampler.state_dict() == plain.state_dict()
    if learns:
        assert not torch.equal(own(sampler).sample(6, step=6)[0], second.seen[-1]["t"])


def test_anima_shifts_each_image_by_its_tokens(tmp_path: Path) -> None:
    plain = SigmaSampler.flow(7, sampling="cosmap")
    wrapped = AnimaTimesteps(SigmaSampler.flow(7, sampling="cosmap"), lambda tokens: (tokens / 64).sqrt())
    assert wrapped.requires_token_counts
    assert wrapped.applies_resolution_shift
    assert not AnimaTimesteps(plain).requires_token_counts
    u = plain.sample(3)[0].double()
    a = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    t = wrapped.sample(3, "cpu", token_counts=[64, 256, 576])
    torch.testing.assert_close(t.double(), a * u / (1 + (a - 1) * u), rtol=1e-6, atol=0)
    for wrong in ([64, 64], None):
        with pytest.raises((speediff.SpeeDiffTypeError, TypeError, RuntimeError)):
            wrapped.sample(3, "cpu", token_counts=wrong)


def test_anima_refuses_what_its_loop_has_no_place_for() -> None:
    for sampler in (WEIGHTED, ADAPTIVE):
        with pytest.raises(speediff.SpeeDiffValueError, match="weights of 1, since AnimaLoraStudio"):
            AnimaTimesteps(own(sampler))
    with pytest.raises(speediff.SpeeDiffTypeError, match="t of rectified flow"):
        AnimaTimesteps(SigmaSampler.edm())
    with pytest.raises(speediff.SpeeDiffTypeError, match="t of rectified flow"):
        AnimaTimesteps(TimestepSampler.speed(speediff.NoiseSchedule.linear(1000)))
    with pytest.raises(speediff.SpeeDiffTypeError, match="shift must be None for a method that learns"):
        AnimaTimesteps(own(INFO_NOISE), lambda tokens: tokens)


def test_weights_that_become_others_than_one_are_refused_when_drawn() -> None:
    sampler = SigmaSampler.flow(7, sampling="uniform", weighting=speediff.weighting.Uncertainty(bins=1))
    wrapped = AnimaTimesteps(sampler)
    t = wrapped.sample(8, "cpu")
    wrapped.record(t, 3 * torch.ones(8))
    wrapped.maybe_refresh(1)
    with pytest.raises(speediff.SpeeDiffValueError, match="weights of 1"):
        wrapped.sample(8, "cpu")


# musubi-tuner


def musubi_run(folder: Path, sampler: str, count: int, **options: Any) -> list[Any]:
    arguments = SimpleNamespace(
        seed=7, weighting_scheme="none", num_timestep_buckets=None, min_timestep=None, max_timestep=None,
        gradient_accumulation_steps=2, resume=None, save_at=2, state=str(folder / "state"),
        latents=latents(4 * count, 2, 3, 4, 4),
    )  # fmt: skip
    vars(arguments).update(options)
    with patched("musubi-tuner", folder / "code") as load:
        module = load("musubi_tuner.wan_train_network")
        module.args = arguments
        run("musubi-tuner", {"speediff": speediff}, sampler=sampler)
        seen: list[Any] = list(module.seen)
    return seen


@pytest.mark.parametrize("sampler", [WEIGHTED, ADAPTIVE])
def test_musubi_draws_weighs_learns_and_resumes(tmp_path: Path, sampler: str) -> None:
    """5 micro-batches by twos: accelerate ends the last group with the epoch."""
    seen = musubi_run(tmp_path / "a", sampler, 5)
    again = musubi_run(tmp_path / "b", sampler, 1, resume=str(tmp_path / "a" / "state"))
    plain, pending = own(sampler), []
    for number, call in enumerate(seen, 1):
        t, w = plain.sample(4)
        assert torch.equal(call["timesteps"], 1000 * t + 1)
        expanded = t.view(-1, 1, 1, 1, 1)
        assert torch.equal(call["noisy"], (1 - expanded) * call["latents"] + expanded * call["noise"])
        assert call["loss"] == pytest.approx((w * call["errors"]).mean().item(), rel=1e-5)
        pending.append((t, call["errors"]))
        if number in (2, 4, 5):
            if plain.learns:
                plain.update(torch.cat([p[0] for p in pending]), torch.cat([p[1] for p in pending]))
            pending = []
    # The state was saved after the second optimizer step, where the fifth micro-batch came next.
    assert torch.equal(again[0]["timesteps"], seen[4]["timesteps"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_timestep": 100}, "min_timestep must be unset.*got 100; use Truncated"),
        ({"max_timestep": 900}, "max_timestep must be unset"),
        ({"num_timestep_buckets": 5}, "num_timestep_buckets must be unset.*strata"),
        ({"weighting_scheme": "cosmap"}, "weighting_scheme must be none.*weighting='cosmap'"),
    ],
)
def test_musubi_refuses_options_that_would_be_lost(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match=message):
        musubi_run(tmp_path, WEIGHTED, 1, **options)


def test_musubi_refuses_to_train_two_networks_at_once() -> None:
    class Trainer(MusubiSampler):
        high_low_training = True

    options = {"num_timestep_buckets": None, "min_timestep": None, "max_timestep": None}
    with pytest.raises(speediff.SpeeDiffValueError, match="one network"):
        Trainer()._made(SimpleNamespace(weighting_scheme="none", **options))


# ai-toolkit


def ai_toolkit_run(folder: Path, sampler: str, batches: list[Any], **options: Any) -> list[Any]:
    extension = folder / "code" / "extensions" / "speediff"
    extension.mkdir(parents=True)
    for index, name in enumerate(("__init__", "trainer")):
        code = example("ai-toolkit", index)
        if name == "trainer":
            code, rest = code.split("return ")
            assert rest.startswith("SigmaSampler.flow(")
            code = f"import speediff\n{code}return {sampler}\n"
        (extension / f"{name}.py").write_text(code)
    with patched("ai-toolkit", folder / "code") as load:
        (found,) = load("extensions.speediff").AI_TOOLKIT_EXTENSIONS
        assert found.uid == "speediff_trainer"
        trainer = found.get_process()(str(folder), batches, **options)
        assert isinstance(trainer, AIToolkitSampler)
        seen: list[Any] = trainer.run()
    return seen


def ai_toolkit_batches(steps: int, *shape: int) -> list[Any]:
    """Two batches in each call of the training loop."""
    return [[SimpleNamespace(latents=image) for image in latents(2, 4, *shape)] for _ in range(steps)]


@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 2, 4, 4)])
@pytest.mark.parametrize("sampler", [WEIGHTED, ADAPTIVE])
def test_ai_toolkit_draws_weighs_learns_and_resumes(
    tmp_path: Path, sampler: str, shape: tuple[int, ...]
) -> None:
    """The second call of three only accumulates. A video has one dimension more than the mask."""
    seen = ai_toolkit_run(tmp_path, sampler, ai_toolkit_batches(3, *shape), accumulating=(1,))
    again = tmp_path / "again"
    again.mkdir()
    (tmp_path / "speediff_sampler.json").rename(again / "speediff_sampler.json")
    more = ai_toolkit_run(again, sampler, ai_toolkit_batches(1, *shape), step_num=3)
    plain, pending = own(sampler), []
    for number, call in enumerate(seen + more, 1):
        t, w = plain.sample(4)
        assert torch.equal(call["timesteps"], 1000 * t)
        expanded = (call["timesteps"] / 1000).view(-1, *[1] * len(shape))
        assert torch.equal(call["noisy"], (1 - expanded) * call["latents"] + expanded * call["noise"])
        errors = (call["pred"] - (call["noise"] - call["latents"])).square().flatten(1).mean(1)
        assert call["loss"] == pytest.approx((w * errors).mean().item(), rel=1e-5)
        pending.append((t, errors))
        if number in (2, 6, 8):
            if plain.learns:
                plain.update(torch.cat([p[0] for p in pending]), torch.cat([p[1] for p in pending]))
            pending = []
    saved = json.loads((again / "speediff_sampler.json").read_text())
    assert saved == plain.state_dict()


def test_ai_toolkit_doubles_draws_with_long_and_short_captions(tmp_path: Path) -> None:
    options = {"short_and_long_captions": True, "noisy_latent_multiplier": 0.5}
    (call, _) = ai_toolkit_run(tmp_path, WEIGHTED, ai_toolkit_batches(1, 3, 4, 4), **options)
    t, w = own(WEIGHTED).sample(4)
    assert torch.equal(call["timesteps"], 1000 * t.repeat(2))
    target = call["noise"] - call["latents"].repeat(2, 1, 1, 1)
    errors = (call["pred"] - target).square().flatten(1).mean(1)
    assert call["loss"] == pytest.approx((w.repeat(2) * errors).mean().item(), rel=1e-5)
    x, e = (part.view(-1, 1, 1, 1) for part in (t, t))
    expected = 0.5 * ((1 - x) * call["latents"] + e * call["noise"][:4])
    torch.testing.assert_close(call["noisy"][:4], expected)


@pytest.mark.parametrize("options", [{"timestep_type": "weighted"}, {"linear_timesteps": True}])
def test_ai_toolkit_refuses_weights_of_the_trainers_own(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match="no weights of its own"):
        ai_toolkit_run(tmp_path, WEIGHTED, [], **options)


@pytest.mark.parametrize(("flow", "stages"), [(False, False), (True, True)])
def test_ai_toolkit_refuses_other_models(flow: bool, stages: bool) -> None:
    class Base:
        sd = SimpleNamespace(is_flow_matching=flow, is_multistage=stages)

        def hook_before_train_loop(self) -> None:
            pass

    class Trainer(AIToolkitSampler, Base):
        pass

    with pytest.raises(
        speediff.SpeeDiffValueError, match=f"flow_matching = {flow}, is_multistage = {stages}"
    ):
        Trainer().hook_before_train_loop()


def test_a_fresh_run_of_ai_toolkit_does_not_read_an_older_state(tmp_path: Path) -> None:
    ai_toolkit_run(tmp_path / "a", WEIGHTED, ai_toolkit_batches(2, 3, 4, 4))
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "speediff_sampler.json").rename(tmp_path / "b" / "speediff_sampler.json")
    seen = ai_toolkit_run(tmp_path / "b", WEIGHTED, ai_toolkit_batches(1, 3, 4, 4))
    assert torch.equal(seen[0]["timesteps"], 1000 * own(WEIGHTED).sample(4)[0])
