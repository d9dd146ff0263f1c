"""Draws inside a pipeline: in a compiled graph, drawn ahead, shared among micro-batches and ranks."""

from __future__ import annotations

from typing import Any

import pytest

import speediff
from speediff import NoiseSchedule

torch = pytest.importorskip("torch")

from speediff.torch import SigmaSampler, TimestepSampler  # noqa: E402


def test_a_draw_breaks_no_compiled_graph(linear: NoiseSchedule) -> None:
    compiled_from, eager = (TimestepSampler.speed(linear, seed=5) for _ in range(2))
    layer = torch.nn.Linear(4, 4)

    def step(x: Any) -> Any:
        t, w = compiled_from.sample(len(x), x.device)
        again, _ = compiled_from.sample(len(x))
        return (w * (layer(x) ** 2).mean(1)).mean(), t, again

    # The back end that makes no code: what matters is that the graph is whole, and keeps the draws in order.
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for n in (8, 8, 5, 8):
        x = torch.randn(n, 4)
        loss, t, again = compiled(x)
        expected, w = eager.sample(n)
        assert torch.equal(t, expected)
        assert torch.equal(again, eager.sample(n)[0]), "two draws are two draws"
        assert loss.item() == pytest.approx((w * (layer(x) ** 2).mean(1)).mean().item(), rel=1e-5)
    assert compiled_from.step == eager.step


def test_noise_levels_and_flow_timesteps_are_drawn_in_a_graph() -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    for make in (lambda: SigmaSampler.edm(seed=2), lambda: TimestepSampler.for_scheduler(scheduler, seed=2)):
        sampler, eager = make(), make()
        levels, weights = torch.compile(lambda n, s=sampler: s.sample(n), fullgraph=True)(6)
        expected = eager.sample(6)
        assert torch.equal(levels, expected[0])
        assert torch.equal(weights, expected[1])


@pytest.mark.parametrize("prefetch", [1, 3, 1000])
@pytest.mark.parametrize("kind", [speediff.TimestepSampler, TimestepSampler])
def test_what_is_drawn_does_not_depend_on_how_far_ahead(
    linear: NoiseSchedule, kind: Any, prefetch: int
) -> None:
    ahead, plain = kind.speed(linear, seed=1, prefetch=prefetch), kind.speed(linear, seed=1)
    for n in [16] * 10 + [4] * 3:
        for ours, theirs in zip(ahead.sample(n), plain.sample(n), strict=True):
            assert (ours == theirs).all()
    plain.load_state_dict(ahead.state_dict())
    assert ahead.step == plain.step == 13


def test_draws_ahead_may_be_changed_without_harm(linear: NoiseSchedule) -> None:
    sampler, same = (TimestepSampler.speed(linear, prefetch=8) for _ in range(2))
    for _ in range(20):
        t, w = sampler.sample(4)
        kept = t.clone()
        t.fill_(-1)
        w.mul_(0)
        assert torch.equal(kept, same.sample(4)[0])


@pytest.mark.parametrize(
    ("prefetch", "message"),
    [(0, "prefetch must be at least 1, got 0"), (65537, "prefetch must be below 65537"), ("2", "integer")],
)
def test_nobody_draws_so_far_ahead(linear: NoiseSchedule, prefetch: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        TimestepSampler.speed(linear, prefetch=prefetch)


def test_a_global_batch_is_divided_or_refused(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear, rank=1, world_size=4, accumulation=2)
    assert sampler.local_batch(64) == 8
    with pytest.raises(ValueError, match="multiple of 4 ranks times 2 micro-batches, got 60"):
        sampler.local_batch(60)


def test_micro_batches_of_one_step_have_one_size(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear, accumulation=3)
    sampler.sample(8)
    with pytest.raises(ValueError, match=r"n must stay the same within .* 3 calls.* got 4 after 8"):
        sampler.sample(4)
    assert sampler.sample(8)[0].shape == sampler.sample(8)[0].shape
    assert sampler.sample(4)[0].shape == (4,), "the next step may have another"


def test_a_step_number_is_enough_to_continue(linear: NoiseSchedule) -> None:
    sampler, whole = (TimestepSampler.speed(linear, accumulation=2) for _ in range(2))
    for _ in range(7):
        whole.sample(8)
    sampler.sample(3)
    sampler.step = 3
    assert torch.equal(sampler.sample(8)[0], whole.sample(8, step=3)[0])
    assert torch.equal(sampler.sample(8)[0], whole.sample(8)[0])
    with pytest.raises(ValueError, match="step must be at least 0, got -1"):
        sampler.step = -1
    assert sampler.step == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_a_draw_waits_for_nothing(linear: NoiseSchedule) -> None:
    sampler, same = TimestepSampler.speed(linear, prefetch=4), TimestepSampler.speed(linear)
    sampler.sample(8, "cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        drawn = [sampler.sample(8, "cuda") for _ in range(9)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    same.sample(8)
    for t, w in drawn:
        expected = same.sample(8)
        assert torch.equal(t.cpu(), expected[0])
        assert torch.equal(w.cpu(), expected[1])
