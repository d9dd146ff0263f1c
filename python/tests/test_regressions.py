"""Defects that reviews have found, each with the test that keeps it away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import speediff
import speediff.torch
from speediff import NoiseSchedule, TimestepSampler

PYTHON = Path(__file__).resolve().parents[1]


def test_native_objects_outlive_the_callbacks_of_interpreter_exit() -> None:
    program = """
import atexit
kept = {}
atexit.register(lambda: print(len(kept["sampler"].sample(8)[0]), len(kept["sampler"].probabilities)))
import speediff
kept["sampler"] = speediff.TimestepSampler.speed(speediff.NoiseSchedule.linear(1000))
"""
    finished = subprocess.run([sys.executable, "-c", program], cwd=PYTHON, capture_output=True, text=True)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "8 1000\n", "")


def test_a_batch_taken_while_another_is_drawn_apart_is_not_handed_out_twice(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear, seed=1)
    sampler.sample(64)
    taken = []
    native = sampler._open_handle()
    draw = type(native).draw

    def interrupted(call: int, timesteps: np.ndarray, weights: np.ndarray) -> None:
        # Another thread takes what was drawn ahead, as it may: without the lock.
        while sampler._ahead.block.pieces:
            taken.append(sampler._ahead.block.pieces.pop()[0])
        draw(native, call, timesteps, weights)

    class Interrupting:
        check_size = native.check_size
        level_type = native.level_type

        def __init__(self) -> None:
            self.draw = interrupted

    sampler._open_handle = Interrupting  # type: ignore[assignment,method-assign]
    apart = sampler.sample(64, out=(np.empty(64, np.int64), np.empty(64, np.float32)))[0]
    del sampler._open_handle
    following = sampler.sample(64)[0]
    calls = [apart, *taken, following]
    expected = [TimestepSampler.speed(linear, seed=1).sample(64, step=1 + i)[0] for i in range(len(calls))]
    assert {one.tobytes() for one in calls} == {one.tobytes() for one in expected}


def test_a_group_initialized_after_the_sampler_is_refused(linear: NoiseSchedule, tmp_path: Path) -> None:
    sampler = speediff.torch.TimestepSampler.speed(linear)
    explicit = speediff.torch.TimestepSampler.speed(linear, rank=1, world_size=2)
    store = f"file://{tmp_path / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        # One process: nothing is wrong yet.
        assert len(sampler.sample(4)[0]) == 4
        sampler._default_layout = lambda: (1, 2)  # type: ignore[method-assign]
        with pytest.raises(speediff.SpeeDiffValueError, match=r"after torch\.distributed is initialized"):
            sampler.sample(5)
        assert len(explicit.sample(4)[0]) == 4
    finally:
        torch.distributed.destroy_process_group()


def test_a_micro_batch_needs_a_step(linear: NoiseSchedule) -> None:
    for sampler in (TimestepSampler.speed(linear), speediff.torch.TimestepSampler.speed(linear)):
        with pytest.raises(speediff.SpeeDiffValueError, match="micro_batch must be given together with step"):
            sampler.sample(8, micro_batch=7)
        assert sampler.step == 0


def test_a_state_tells_schedules_apart_that_differ_in_one_entry(linear: NoiseSchedule) -> None:
    state = TimestepSampler.speed(linear).state_dict()
    for place in (3, 200, 900):
        table = linear.alphas_cumprod.copy()
        table[place] = (table[place - 1] + 3 * table[place + 1]) / 4
        other = TimestepSampler.speed(NoiseSchedule.from_alphas_cumprod(table))
        with pytest.raises(speediff.SpeeDiffValueError, match="schedule"):
            other.load_state_dict(state)


def test_a_fall_of_alphas_cumprod_that_rounds_beta_to_one_is_refused() -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match=r"alphas_cumprod\[1\] must be above 2⁻⁵³"):
        NoiseSchedule.from_alphas_cumprod([0.5, 1e-20, 1e-21])


def test_both_kinds_of_64_bit_integers_can_be_written_to(linear: NoiseSchedule) -> None:
    for kind in (np.int_, np.longlong):
        out = np.empty(8, kind), np.empty(8, np.float32)
        assert TimestepSampler.speed(linear).sample(8, out=out)[0] is out[0]


def test_lists_of_strings_truths_and_huge_numbers_are_refused_by_entry() -> None:
    for entry in ("0.2", True, 10**400):
        with pytest.raises(speediff.SpeeDiffError, match=r"betas\[1\]"):
            NoiseSchedule.from_betas([0.1, entry])


def test_an_unknown_option_is_refused_by_name(linear: NoiseSchedule) -> None:
    with pytest.raises(speediff.SpeeDiffTypeError, match="foo"):
        TimestepSampler.speed(linear, foo=3)


def test_the_last_calls_can_be_drawn_in_sequence(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler.speed(linear)
    last = 2**63 - 10
    sampler.load_state_dict({**sampler.state_dict(), "step": last})
    for step in range(last, 2**63 - 1):
        assert np.array_equal(sampler.sample(16)[0], sampler.sample(16, step=step)[0])
    with pytest.raises(speediff.SpeeDiffValueError, match="step"):
        sampler.sample(16)


def test_underflow_of_alphas_cumprod_is_named() -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match="must leave alphas_cumprod above"):
        NoiseSchedule.constant(100_000)


def test_the_closed_form_of_nearly_constant_betas_does_not_cancel() -> None:
    # τ → ln r/β as the betas become equal.
    schedule = NoiseSchedule.from_betas(np.linspace(0.01, 0.01 + 1e-9, 1000))
    tau = schedule.closed_form_increments().convergence_start(143.5)
    assert tau == pytest.approx(np.log(143.5) / 0.01, rel=1e-6)
