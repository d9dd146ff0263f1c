"""How a global batch is divided over ranks, micro-batches and uneven parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference

import speediff
from speediff import NoiseSchedule, TimestepSampler

ASYMMETRIC = reference.boundaries(reference.asymmetric(1000, 5, 700))
DIVISIBLE: dict[str, dict[str, Any]] = {
    "independent": {},
    "stratified": {"strata": "stratified"},
    "low_discrepancy": {"strata": "low_discrepancy"},
    "normalized": {"normalize": True},
}
"""What gives the same global batch however that is divided; the official preset does not."""
KINDS: dict[str, dict[str, Any]] = {
    **DIVISIBLE,
    "official": {"preset": "official"},
    "normalized official": {"preset": "official", "normalize": True},
}


@pytest.mark.parametrize("kind", DIVISIBLE)
@pytest.mark.parametrize("total", [32, 160])
def test_every_division_gives_the_same_global_batch(linear: NoiseSchedule, kind: str, total: int) -> None:
    steps = 5
    whole = TimestepSampler.speed(linear, seed=1, **KINDS[kind])
    expected = [whole.sample(total) for _ in range(steps)]
    for world_size in (1, 2, 4, 8):
        for accumulation in (1, 2, 4):
            options = {"world_size": world_size, "accumulation": accumulation, **KINDS[kind]}
            every = range(world_size)
            ranks = [TimestepSampler.speed(linear, seed=1, rank=rank, **options) for rank in every]
            n = total // (world_size * accumulation)
            for t, w in expected:
                parts = [rank.sample(n) for _ in range(accumulation) for rank in ranks]
                assert (np.concatenate([part[0] for part in parts]) == t).all()
                assert (np.concatenate([part[1] for part in parts]) == w).all()


def test_rank_and_micro_batch_take_the_entries_that_they_should(linear: NoiseSchedule) -> None:
    world_size, accumulation, n = 3, 2, 5
    whole = reference.draw(2, 7, world_size * accumulation * n, ASYMMETRIC)
    for rank in range(world_size):
        options = {"rank": rank, "world_size": world_size, "accumulation": accumulation}
        sampler = TimestepSampler.speed(linear, seed=2, **options)
        for micro_batch in range(accumulation):
            first = (micro_batch * world_size + rank) * n
            t, _ = sampler.sample(n, step=7, micro_batch=micro_batch)
            assert (t == whole[first : first + n]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_any_step_is_the_draw_of_its_turn(linear: NoiseSchedule, kind: str) -> None:
    direct, in_turn = (TimestepSampler.speed(linear, seed=3, **KINDS[kind]) for _ in range(2))
    batches = [in_turn.sample(12) for _ in range(150)]
    for step in (149, 0, 64, 63, 65, 128, 1):
        t, w = direct.sample(12, step=step)
        assert (t == batches[step][0]).all()
        assert (w == batches[step][1]).all()
    assert direct.step == 0


def test_drawing_any_step_leaves_the_counter_alone(linear: NoiseSchedule) -> None:
    sampler, undisturbed = (TimestepSampler.speed(linear, seed=4) for _ in range(2))
    for step in range(100):
        sampler.sample(8, step=10**9 + step)
        sampler.sample(3, step=5)
        assert sampler.step == step
        assert (sampler.sample(8)[0] == undisturbed.sample(8)[0]).all()


def test_micro_batches_are_not_steps(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler(linear, accumulation=4)
    steps = []
    for _ in range(10):
        steps.append(sampler.step)
        sampler.sample(2)
    assert steps == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]


def test_the_batch_size_can_change_in_mid_run(linear: NoiseSchedule) -> None:
    for kind in KINDS.values():
        sampler = TimestepSampler.speed(linear, seed=5, **kind)
        fresh = TimestepSampler.speed(linear, seed=5, **kind)
        sizes = [8, 8, 8, 5, 5, 1, 8, 0, 3, 100_000, 3, 3, 8]
        for step, n in enumerate(sizes):
            t, w = sampler.sample(n)
            assert t.shape == w.shape == (n,)
            assert (t == fresh.sample(n, step=step)[0]).all()
        assert sampler.step == len(sizes)


def test_an_uneven_last_batch_is_part_of_a_global_batch_of_its_own_size(linear: NoiseSchedule) -> None:
    for kind in DIVISIBLE.values():
        sampler = TimestepSampler.speed(linear, seed=6, **kind)
        whole = TimestepSampler.speed(linear, seed=6, **kind).sample(71, step=3)
        offset = 0
        for n in (30, 1, 0, 40):
            part = sampler.sample(n, step=3, offset=offset, total=71)
            assert (part[0] == whole[0][offset : offset + n]).all()
            assert (part[1] == whole[1][offset : offset + n]).all()
            offset += n


def test_uneven_batches_do_not_depend_on_the_rank_that_draws_them(linear: NoiseSchedule) -> None:
    alone = TimestepSampler.speed(linear, seed=7).sample(6, step=2, offset=9, total=40)[0]
    for rank in range(4):
        sampler = TimestepSampler.speed(linear, seed=7, rank=rank, world_size=4)
        assert (sampler.sample(6, step=2, offset=9, total=40)[0] == alone).all()


def test_an_uneven_batch_in_its_turn_counts_as_a_call(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear, seed=8)
    fresh = TimestepSampler.speed(linear, seed=8)
    sampler.sample(16)
    t, _ = sampler.sample(5, offset=0, total=11)
    assert sampler.step == 2
    assert (t == fresh.sample(11, step=1)[0][:5]).all()
    assert (sampler.sample(16)[0] == fresh.sample(16, step=2)[0]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_batch_is_a_batch(linear: NoiseSchedule, kind: str) -> None:
    sampler = TimestepSampler.speed(linear, seed=9, **KINDS[kind])
    for options in ({}, {"step": 3}, {"step": 3, "offset": 0, "total": 0}, {"offset": 7, "total": 7}):
        t, w = sampler.sample(0, **options)
        assert (t.dtype, w.dtype, t.shape, w.shape) == (np.int64, np.float32, (0,), (0,))
    assert sampler.step == 2
    assert (sampler.sample(4)[0] == sampler.sample(4, step=2)[0]).all()


def test_integers_of_numpy_are_batch_sizes_too(linear: NoiseSchedule) -> None:
    sampler, same = (TimestepSampler.speed(linear, seed=np.uint64(10)) for _ in range(2))
    for kind in (np.int64, np.int32, np.uint8):
        assert (sampler.sample(kind(6))[0] == same.sample(6)[0]).all()
    assert (sampler.sample(6, step=np.int64(1))[0] == same.sample(6, step=1)[0]).all()


def test_given_arrays_are_filled_and_returned(linear: NoiseSchedule) -> None:
    sampler, same = (TimestepSampler.speed(linear, seed=11) for _ in range(2))
    out = np.full(9, -1, np.int64), np.full(9, -1, np.float32)
    for options in ({}, {}, {"step": 40}, {"step": 2, "offset": 1, "total": 30}):
        t, w = sampler.sample(9, out=out, **options)
        assert t is out[0]
        assert w is out[1]
        expected = same.sample(9, **options)
        assert (t == expected[0]).all()
        assert (w == expected[1]).all()
    assert sampler.step == same.step == 2


def test_a_batch_of_the_largest_world_can_be_drawn(linear: NoiseSchedule) -> None:
    world_size = 2**31
    for strata in ("none", "stratified", "low_discrepancy"):
        options = {"rank": world_size - 1, "world_size": world_size, "strata": strata}
        sampler = TimestepSampler.speed(linear, seed=12, **options)
        t, _ = sampler.sample(1, step=3)
        whole = TimestepSampler.speed(linear, seed=12, strata=strata)
        assert t == whole.sample(1, step=3, offset=world_size - 1, total=world_size)[0]
        with pytest.raises(speediff.SpeeDiffValueError, match="2"):
            sampler.sample(2)


def test_no_two_ranks_share_a_draw(linear: NoiseSchedule) -> None:
    schedule = NoiseSchedule.constant(2**20, beta=1e-7)
    seen = [
        tuple(TimestepSampler(schedule, rank=rank, world_size=8).sample(16)[0].tolist()) for rank in range(8)
    ]
    assert len(set(seen)) == 8
    assert len({t for batch in seen for t in batch}) > 120
