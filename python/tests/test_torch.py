"""The sampler on PyTorch tensors: the same numbers, and tensors that owe nothing to each other."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

import speediff
from speediff import NoiseSchedule

torch = pytest.importorskip("torch")

from speediff.torch import TimestepSampler  # noqa: E402

KINDS: dict[str, dict[str, Any]] = {
    "paper": {},
    "official": {"preset": "official", "normalize": True},
    "stratified": {"strata": "stratified", "rank": 1, "world_size": 2, "accumulation": 2},
}


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_hold_the_numbers_of_the_arrays(linear: NoiseSchedule, kind: str) -> None:
    tensors = TimestepSampler.speed(linear, seed=1, **KINDS[kind])
    arrays = speediff.TimestepSampler.speed(linear, seed=1, **KINDS[kind])
    for n in [8] * 70 + [3, 3, 0, 0, 20_000, 20_000, 8]:
        (t, w), (expected_t, expected_w) = tensors.sample(n), arrays.sample(n)
        assert (t.numpy() == expected_t).all()
        assert (w.numpy() == expected_w).all()
    for options in ({"step": 5}, {"step": 5, "offset": 2, "total": 30}):
        assert (tensors.sample(6, **options)[0].numpy() == arrays.sample(6, **options)[0]).all()
    assert tensors.step == arrays.step


def test_tensors_are_int64_and_float32_of_one_dimension(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear)
    for options in ({}, {"step": 3}, {"step": 3, "offset": 0, "total": 9}):
        t, w = sampler.sample(8, **options)
        assert (t.dtype, w.dtype) == (torch.int64, torch.float32)
        assert t.shape == w.shape == (8,)
        assert t.is_contiguous()
        assert w.is_contiguous()
        assert not t.requires_grad
        assert not w.requires_grad


@pytest.mark.parametrize("device", [None, "cpu", torch.device("cpu")])
def test_tensors_are_on_the_device_that_was_asked_for(linear: NoiseSchedule, device: Any) -> None:
    sampler, by_place = TimestepSampler.speed(linear), TimestepSampler.speed(linear)
    for step in range(70):
        t, w = sampler.sample(4, device=device)
        assert t.device == w.device == torch.device("cpu")
        assert torch.equal(t, by_place.sample(4, device)[0])
        assert sampler.sample(4, device, step=step)[0].device == torch.device("cpu")


def test_the_device_can_change_in_mid_run(linear: NoiseSchedule) -> None:
    sampler, same = TimestepSampler.speed(linear), TimestepSampler.speed(linear)
    for device in (None, "cpu", "meta", "cpu", "meta", "meta", None):
        t, w = sampler.sample(4, device)
        expected = same.sample(4)[0]
        assert t.device.type == w.device.type == (device or "cpu")
        assert (t.shape, t.dtype, w.dtype) == ((4,), torch.int64, torch.float32)
        if device != "meta":
            assert torch.equal(t, expected)
    assert sampler.step == 7


def test_an_unknown_device_is_an_error_and_takes_no_turn(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear)
    first = sampler.sample(4, step=0)[0]
    for options in ({}, {"step": 1}):
        for device in ("no-such-device", "cuda:99"):
            with pytest.raises(speediff.SpeeDiffValueError, match="device must be one that PyTorch has, got"):
                sampler.sample(4, device, **options)
    assert sampler.step == 0
    assert torch.equal(sampler.sample(4)[0], first)


def test_changing_one_tensor_changes_no_other(linear: NoiseSchedule) -> None:
    sampler, same = TimestepSampler.speed(linear), TimestepSampler.speed(linear)
    before = sampler.sample(16)
    kept = before[0].clone()
    for step in range(1, 130):
        t, w = sampler.sample(16)
        expected = same.sample(16, step=step)
        assert torch.equal(t, expected[0])
        assert torch.equal(w, expected[1])
        t.fill_(-1)
        w.fill_(torch.nan)
    assert torch.equal(before[0], kept)


def test_every_tensor_has_a_version_counter_of_its_own(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear)
    parameter = torch.ones(16, requires_grad=True)
    drawn = [sampler.sample(16) for _ in range(5)]
    loss = (parameter * drawn[0][1]).sum()
    for t, w in drawn[1:]:
        t.add_(1)
        w.mul_(2)
    assert drawn[0][0]._version == drawn[0][1]._version == 0
    loss.backward()  # Raises if a tensor that it needs was changed.
    assert torch.equal(parameter.grad, drawn[0][1])


def test_saving_one_tensor_does_not_store_the_bytes_of_others(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear)
    for n in (16, 4000):
        for tensor in (*sampler.sample(n), *sampler.sample(n, step=9)):
            saved, alone = io.BytesIO(), io.BytesIO()
            torch.save(tensor, saved)
            torch.save(tensor.clone(), alone)
            assert abs(saved.tell() - alone.tell()) < 64


def test_states_go_from_arrays_to_tensors_and_back(linear: NoiseSchedule) -> None:
    arrays, tensors = speediff.TimestepSampler.speed(linear), TimestepSampler.speed(linear)
    for _ in range(3):
        arrays.sample(8)
    tensors.load_state_dict(arrays.state_dict())
    expected = arrays.sample(8)[0]
    assert (tensors.sample(8)[0].numpy() == expected).all()
    arrays.load_state_dict(tensors.state_dict())
    assert arrays.step == 4


def test_a_state_survives_a_checkpoint(linear: NoiseSchedule) -> None:
    sampler, resumed = TimestepSampler.speed(linear), TimestepSampler.speed(linear)
    sampler.sample(8)
    file = io.BytesIO()
    torch.save(sampler.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(resumed.sample(8)[0], sampler.sample(8)[0])


def test_tensors_index_and_weight_a_loss(linear: NoiseSchedule) -> None:
    t, w = TimestepSampler.speed(linear).sample(32)
    table = torch.from_numpy(np.array(linear.alphas_cumprod, np.float32))
    loss = (w * table[t]).mean()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("n", [-1, 2**40, 2**70, 1.5, "8", None])
def test_a_wrong_batch_size_is_an_error(linear: NoiseSchedule, n: Any) -> None:
    sampler = TimestepSampler.speed(linear)
    with pytest.raises(speediff.SpeeDiffError):
        sampler.sample(n)
    assert sampler.sample(8)[0].shape == (8,)


def test_rank_and_world_size_are_those_of_torch_distributed(linear: NoiseSchedule) -> None:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        alone = TimestepSampler(linear, rank=0, world_size=1)
        assert torch.equal(TimestepSampler(linear).sample(8)[0], alone.sample(8)[0])
        told = TimestepSampler(linear, rank=1, world_size=2)
        assert torch.equal(told.sample(4)[0], alone.sample(8, step=0)[0][4:])
    finally:
        torch.distributed.destroy_process_group()


def test_ranks_that_torch_distributed_reports_are_used(
    linear: NoiseSchedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = TimestepSampler.speed(linear).sample(12)[0]
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    for rank in range(3):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        for sampler in (TimestepSampler.speed(linear), TimestepSampler(linear, "asymmetric", "change_aware")):
            assert torch.equal(sampler.sample(4)[0], whole[4 * rank : 4 * rank + 4])
