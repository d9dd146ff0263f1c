"""State dicts: what continues a run, bit for bit, and what must be refused."""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import speediff
from speediff import NoiseSchedule, TimestepSampler
from speediff.sampling import Asymmetric
from speediff.weighting import ChangeAware

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS: dict[str, dict[str, Any]] = {
    "paper": {},
    "official": {"preset": "official"},
    "stratified": {"strata": "stratified"},
    "low_discrepancy": {"strata": "low_discrepancy", "normalize": True, "prediction": "v"},
    "accumulating": {"accumulation": 3, "rank": 1, "world_size": 2},
}


def make(linear: NoiseSchedule, seed: int = 1, **options: Any) -> TimestepSampler:
    return TimestepSampler.speed(linear, seed=seed, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("calls", [0, 1, 2, 63, 64, 65, 100])
def test_a_resumed_run_draws_what_the_first_would_have_drawn(
    linear: NoiseSchedule, kind: str, calls: int
) -> None:
    run, resumed = make(linear, **KINDS[kind]), make(linear, seed=99, **KINDS[kind])
    for _ in range(calls):
        run.sample(16)
    resumed.load_state_dict(run.state_dict())
    assert (resumed.step, resumed.seed) == (run.step, 1)
    # The size changes between two training steps.
    rest = -calls % run.recipe.drawing.accumulation
    for n in [16] * (69 + rest) + [7] * 3:
        (t, w), (expected_t, expected_w) = resumed.sample(n), run.sample(n)
        assert (t == expected_t).all()
        assert (w == expected_w).all()


def test_a_state_survives_json_pickle_and_copying(linear: NoiseSchedule) -> None:
    run = make(linear, seed=2**64 - 1, **KINDS["accumulating"])
    for _ in range(5):
        run.sample(4)
    state = run.state_dict()
    expected = run.sample(4)[0]
    for again in (json.loads(json.dumps(state)), pickle.loads(pickle.dumps(state)), copy.deepcopy(state)):
        resumed = make(linear, **KINDS["accumulating"])
        resumed.load_state_dict(again)
        assert resumed.state_dict() == state
        assert (resumed.sample(4)[0] == expected).all()


def test_a_state_is_taken_once_and_does_not_follow_the_sampler(linear: NoiseSchedule) -> None:
    run = make(linear)
    state = run.state_dict()
    before = copy.deepcopy(state)
    run.sample(8)
    assert state == before
    assert run.state_dict() != before


def test_a_sampler_can_go_back(linear: NoiseSchedule) -> None:
    run = make(linear)
    run.sample(8)
    state, first = run.state_dict(), run.sample(8)[0]
    for _ in range(3):
        run.sample(8)
    run.load_state_dict(state)
    assert (run.sample(8)[0] == first).all()


def test_a_run_goes_on_with_another_world_size(linear: NoiseSchedule) -> None:
    one = make(linear)
    for _ in range(3):
        one.sample(32)
    state, expected = one.state_dict(), one.sample(32)[0]
    parts = []
    for rank in range(4):
        sampler = make(linear, rank=rank, world_size=4)
        sampler.load_state_dict(state)
        parts.append(sampler.sample(8)[0])
    assert (np.concatenate(parts) == expected).all()


def test_a_state_goes_to_any_object_of_the_same_method_and_schedule(linear: NoiseSchedule) -> None:
    state = make(linear).state_dict()
    same_table = NoiseSchedule.from_betas(linear.betas)
    make(same_table).load_state_dict(state)
    TimestepSampler(linear, Asymmetric(5.0, r=143.5), ChangeAware(0.6)).load_state_dict(state)


OTHERS: dict[str, Callable[[NoiseSchedule], TimestepSampler]] = {
    "k": lambda linear: TimestepSampler.speed(linear, k=4),
    "lam": lambda linear: TimestepSampler.speed(linear, lam=0.7),
    "r": lambda linear: TimestepSampler.speed(linear, r=140),
    "tau": lambda linear: TimestepSampler.speed(linear, tau=650),
    "preset": lambda linear: TimestepSampler.speed(linear, preset="official"),
    "sampling": lambda linear: TimestepSampler(linear, "uniform", "change_aware"),
    "weighting": lambda linear: TimestepSampler(linear, "asymmetric", "uniform"),
    "strata": lambda linear: TimestepSampler.speed(linear, strata="stratified"),
    "normalize": lambda linear: TimestepSampler.speed(linear, normalize=True),
    "prediction": lambda linear: TimestepSampler.speed(linear, prediction="v"),
    "steps": lambda _: TimestepSampler.speed(NoiseSchedule.linear(999)),
    "schedule": lambda _: TimestepSampler.speed(NoiseSchedule.quadratic(1000)),
    "betas": lambda _: TimestepSampler.speed(NoiseSchedule.linear(1000, beta_end=0.021)),
}


@pytest.mark.parametrize("difference", OTHERS)
def test_the_state_of_another_method_or_schedule_is_refused(linear: NoiseSchedule, difference: str) -> None:
    other = OTHERS[difference](linear)
    other.sample(3)
    before = other.state_dict()
    expected = other.sample(3, step=1)[0]
    with pytest.raises(speediff.SpeeDiffValueError, match="state"):
        other.load_state_dict(make(linear).state_dict())
    assert other.state_dict() == before
    assert (other.sample(3)[0] == expected).all()


DAMAGED: list[tuple[str, Any]] = [
    ("version", 0),
    ("version", 2),
    ("version", "1"),
    ("version", None),
    ("seed", -1),
    ("seed", 2**64),
    ("seed", 2**70),
    ("seed", 1.5),
    ("seed", "1"),
    ("seed", None),
    ("step", -1),
    ("step", 2**63),
    ("step", 2**70),
    ("step", 2.0),
    ("step", True),
    ("step", [1]),
    ("micro_batch", -1),
    ("micro_batch", 1),
    ("micro_batch", 2**70),
    ("micro_batch", "0"),
    ("method", None),
    ("method", {}),
    ("method", "speed"),
    ("schedule", None),
    ("schedule", {}),
    ("schedule", {"steps": 1000}),
    ("schedule", {"steps": 1000, "alphas_cumprod": []}),
    ("schedule", {"steps": 1000, "alphas_cumprod": ["a"] * 17}),
    ("schedule", {"steps": 1000, "alphas_cumprod": [float("nan")] * 17}),
    ("schedule", {"steps": 1000, "alphas_cumprod": 3}),
    ("schedule", [1, 2]),
]


@pytest.mark.parametrize(("key", "value"), DAMAGED, ids=lambda part: str(part)[:30])
def test_a_damaged_state_is_refused_and_changes_nothing(linear: NoiseSchedule, key: str, value: Any) -> None:
    sampler = make(linear)
    sampler.sample(4)
    before = sampler.state_dict()
    with pytest.raises(speediff.SpeeDiffError) as caught:
        sampler.load_state_dict({**before, key: value})
    assert isinstance(caught.value, (ValueError, TypeError))
    assert key.split("_")[0] in str(caught.value)
    assert sampler.state_dict() == before
    assert (sampler.sample(4)[0] == make(linear).sample(4, step=1)[0]).all()


@pytest.mark.parametrize("key", ["version", "method", "schedule", "seed", "step", "micro_batch"])
def test_a_state_with_a_missing_part_is_refused(linear: NoiseSchedule, key: str) -> None:
    sampler = make(linear)
    state = sampler.state_dict()
    del state[key]
    with pytest.raises(speediff.SpeeDiffValueError, match=key):
        sampler.load_state_dict(state)


@pytest.mark.parametrize("state", [None, 3, "state", [], {}, b"", np.zeros(3)])
def test_what_is_no_state_is_refused(linear: NoiseSchedule, state: Any) -> None:
    with pytest.raises(speediff.SpeeDiffError, match="state"):
        make(linear).load_state_dict(state)


def draw_at(sampler: TimestepSampler, step: int, calls: int) -> list[list[int]]:
    """What comes after a state of this step."""
    sampler.load_state_dict({**sampler.state_dict(), "step": step})
    return [sampler.sample(4)[0].tolist() for _ in range(calls)]


def test_a_step_whose_calls_cannot_be_counted_is_refused(linear: NoiseSchedule) -> None:
    with pytest.raises(speediff.SpeeDiffValueError):
        draw_at(make(linear, accumulation=4), 2**62, 1)


def test_the_last_steps_that_can_be_counted_are_drawn_or_refused(linear: NoiseSchedule) -> None:
    first, sampler = 2**63 - 100, make(linear)
    expected = [make(linear).sample(4, step=step)[0].tolist() for step in range(first, first + 90)]
    assert draw_at(sampler, first, 20) == expected[:20]
    with pytest.raises(speediff.SpeeDiffValueError):
        draw_at(sampler, 2**63 - 3, 5)
