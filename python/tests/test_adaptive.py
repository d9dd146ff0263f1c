"""Methods that learn from losses: their tables after updates, what they refuse, and their saved history."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle_samplings
import oracle_weightings
import pytest
import reference
from oracle_checks import differs, pooled_chi_square
from statistics_helpers import UNLIKELY

import speediff
from speediff import NoiseSchedule, TimestepSampler
from speediff.sampling import (
    Adaptive,
    Beta,
    Blend,
    InfoNoise,
    Laplace,
    LossSecondMoment,
    Mixture,
    Shifted,
    Stages,
    Truncated,
    Uniform,
)
from speediff.weighting import ChangeAware, Importance, MinSNR, Uncertainty

if TYPE_CHECKING:
    from collections.abc import Callable

    from oracle_samplings import Table, Updates

NAN, INF = float("nan"), float("inf")
STEPS = 60
BAR = np.cumprod(1 - reference.cosine_betas(STEPS))
DENSITIES = [
    LossSecondMoment(), LossSecondMoment(history=3, uniform_prob=0.2), LossSecondMoment(1, 0.5),
    Adaptive(bins=20), Adaptive(bins=7), Adaptive(60, 0.9), Adaptive(bins=1, decay=0.5),
    Mixture(LossSecondMoment(2), Laplace(), 0.7), Mixture(Beta(), Adaptive(bins=10), 0.1),
    Shifted(LossSecondMoment(2), 2), Truncated(Adaptive(9), 10, 50), Blend(Uniform(), Adaptive(9), 0, 100),
]  # fmt: skip
LEARNERS: dict[str, Callable[[], TimestepSampler]] = {
    "loss_second_moment": lambda: make(LossSecondMoment(history=3), MinSNR()),
    "adaptive": lambda: make(Adaptive(bins=7, decay=0.9), MinSNR()),
    "uncertainty": lambda: make(Uniform(), Uncertainty(bins=7, decay=0.9)),
    "info_noise": lambda: make(InfoNoise(bins=7, decay=0.9, warm_up=2), MinSNR()),
    "info_noise and uncertainty": lambda: make(InfoNoise(bins=5, warm_up=1), Uncertainty(bins=6) * MinSNR()),
    "two of them": lambda: make(LossSecondMoment(history=2), Uncertainty(bins=5) * MinSNR()),
    "in a mixture": lambda: make(Mixture(Adaptive(bins=7), Laplace(), 0.5), Uncertainty(bins=5)),
}


def make(sampling: Any, weighting: Any = "uniform", seed: int = 0, **options: Any) -> TimestepSampler:
    schedule = NoiseSchedule.from_alphas_cumprod(BAR)
    return TimestepSampler(schedule, sampling, weighting, "v", seed=seed, **options)


def random_updates(seed: int, count: int, n: int = 37, least: int = 0, end: int = STEPS) -> Updates:
    """Losses that rise and fall with t, of batches in which steps come more than once."""
    random = np.random.default_rng(seed)
    updates = []
    for _ in range(count):
        t = random.integers(least, end, n)
        updates.append((t, (random.random(n) * (1 + np.sin(t / 9) ** 2)).astype(np.float32)))
    return updates


def told(learner: str, seed: int, count: int) -> TimestepSampler:
    sampler = LEARNERS[learner]()
    for update in random_updates(seed, count):
        sampler.update(*update)
    return sampler


def assert_is(sampler: TimestepSampler, state: dict[str, Any], tables: tuple[Table, Table]) -> None:
    assert sampler.state_dict() == state
    assert (sampler.probabilities == tables[0]).all()
    assert (sampler.weights == tables[1]).all()


@pytest.mark.parametrize("weighting", [None, MinSNR(), ChangeAware(0.8), MinSNR() * Importance()], ids=str)
@pytest.mark.parametrize("sampling", DENSITIES, ids=str)
def test_densities_after_updates_are_those_of_the_oracle(sampling: Any, weighting: Any) -> None:
    own = {None: [], MinSNR(): [MinSNR()], ChangeAware(0.8): [ChangeAware(0.8)]}.get(weighting, [MinSNR()])
    plain = oracle_weightings.weights(BAR, own, "v")
    sampler, updates = make(sampling, weighting or "uniform"), []
    reach = np.flatnonzero(sampler.probabilities)
    for count, n in ((1, 1), (3, 10), (20, 37), (15, 200)):
        for update in random_updates(n, count, n, reach[0], reach[-1] + 1):
            sampler.update(*update)
            updates.append(update)
        p = oracle_samplings.probabilities(BAR, sampling, updates=updates, w=plain)
        assert not differs(sampler.probabilities, p), f"after {len(updates)} updates"
        drawn = p > 0
        expected = plain[drawn] / (STEPS * p[drawn])
        assert not differs(sampler.weights[drawn], expected), f"after {len(updates)} updates"
        assert np.isfinite(sampler.weights).all()


@pytest.mark.parametrize("bins", [1, 7, 60])
@pytest.mark.parametrize("others", [[], [MinSNR()], [ChangeAware(0.9), MinSNR(2)]], ids=str)
def test_uncertainty_after_updates_is_that_of_the_oracle(bins: int, others: list[Any]) -> None:
    weighting = Uncertainty(bins=bins, decay=0.98)
    plain = oracle_weightings.weights(BAR, others, "v")
    product: Any = weighting
    for other in others:
        product = product * other
    sampler, updates = make("uniform", product), []
    for count, n in ((1, 1), (3, 10), (20, 37), (15, 200)):
        for update in random_updates(n, count, n):
            sampler.update(*update)
            updates.append(update)
        expected = plain * oracle_weightings.uncertainty(STEPS, weighting, updates, plain, np.ones(STEPS))
        assert not differs(sampler.weights, expected), f"after {len(updates)} updates"
        assert (sampler.probabilities == 1 / STEPS).all()


def test_uncertainty_waits_for_the_bins_that_are_drawn_alone() -> None:
    sampler = make(Truncated(Uniform(), 0, 30), Uncertainty(bins=6, decay=0.5))
    sampler.update(np.array([0, 10]), np.array([2, 4], np.float32))
    assert (sampler.weights == 1).all()
    sampler.update(np.array([29]), np.array([8], np.float32))
    assert not differs(sampler.weights[:30], np.repeat([1 / 2, 1 / 4, 1 / 8], 10), rtol=1e-12)
    assert np.isfinite(sampler.weights).all()


def test_what_a_later_stage_draws_first_counts_as_the_average() -> None:
    stages = Stages([(0, Truncated(Uniform(), 0, 30)), (1, "uniform")])
    sampler = make(stages, Uncertainty(bins=6, decay=0.5))
    sampler.update(np.array([0, 10, 29]), np.array([2, 4, 9], np.float32))
    sampler.step = 1
    expected = np.concatenate([np.repeat([1 / 2, 1 / 4, 1 / 9], 10), np.full(30, 1 / 5)])
    assert not differs(sampler.weights, expected, rtol=1e-12)


def test_a_running_mean_begins_with_its_first_entries() -> None:
    sampler = make(Adaptive(bins=2, decay=0.999))
    sampler.update(np.array([0, 59]), np.array([1, 3], np.float32))
    assert not differs(sampler.probabilities, np.repeat([1 / 120, 3 / 120], 30), rtol=1e-12)
    assert not differs(sampler.weights, np.repeat([2, 2 / 3], 30), rtol=1e-12)


def test_small_losses_keep_a_share_of_the_draws() -> None:
    sampler = make(Adaptive(bins=2))
    sampler.update(np.array([0, 59]), np.array([0, 1], np.float32))
    assert not differs(sampler.probabilities, np.repeat([5e-4, 1], 30) / (30 * (1 + 5e-4)), rtol=1e-12)
    sampler = make("uniform", Uncertainty(bins=2))
    sampler.update(np.array([0, 59]), np.array([0, 1], np.float32))
    assert not differs(sampler.weights, np.repeat([1 / 5e-7, 1.0], 30), rtol=1e-12)


@pytest.mark.parametrize("learner", LEARNERS)
def test_losses_of_any_size_leave_finite_tables(learner: str) -> None:
    sampler = LEARNERS[learner]()
    for size in (0, 3e38, 1e-45, 1.0):
        for _ in range(4):
            sampler.update(np.arange(STEPS), np.full(STEPS, size, np.float32))
        assert abs(sampler.probabilities.sum() - 1) < 1e-12
        assert np.isfinite(sampler.weights).all()


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_next_draw_follows_an_update(learner: str) -> None:
    sampler = LEARNERS[learner]()
    for step, update in enumerate(random_updates(3, 50)):
        expected = sampler.sample(16, step=step)
        t, w = sampler.sample(16)
        assert (t == expected[0]).all()
        assert (w == expected[1]).all()
        assert (w == sampler.weights[t].astype(np.float32)).all()
        sampler.update(*update)
    counts = np.bincount(sampler.sample(10**6)[0], minlength=STEPS)
    assert pooled_chi_square(counts, sampler.probabilities) > UNLIKELY


@pytest.mark.parametrize("learner", LEARNERS)
def test_an_update_of_nothing_changes_nothing(learner: str) -> None:
    sampler = LEARNERS[learner]()
    before = sampler.state_dict()
    sampler.update(np.empty(0, np.int64), np.empty(0, np.float32))
    assert sampler.state_dict() == before


# ---- Rejected updates ----------------------------------------------------------------------------

GOOD_T, GOOD = np.array([1, 2, 3]), np.ones(3, np.float32)
REJECTED: list[tuple[str, Any, Any, str, bool]] = [
    *[
        (f"loss {bad}", GOOD_T, np.array([1, 1, bad], np.float32), "loss", False)
        for bad in (-1, NAN, INF, -INF)
    ],
    *[(f"t {bad}", np.array([1, 2, bad]), GOOD, r"\bt\b", False) for bad in (-1, STEPS, 2**40, -(2**63))],
    ("too few losses", GOOD_T, GOOD[:2], "loss", False),
    ("too many losses", GOOD_T[:2], GOOD, "loss|t", False),
    ("no losses", GOOD_T, GOOD[:0], "loss", False),
    ("float64 losses", GOOD_T, np.ones(3), "loss", True),
    ("int32 t", GOOD_T.astype(np.int32), GOOD, r"\bt\b", True),
    ("float t", GOOD_T.astype(float), GOOD, r"\bt\b", True),
    ("rows", GOOD_T[None], GOOD[None], "t|loss", True),
    ("strides", np.arange(6)[::2], GOOD, r"\bt\b", True),
    ("None", None, GOOD, r"\bt\b", True),
    ("strings", GOOD_T, "abc", "loss", True),
]


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize(("t", "losses", "match", "type_error"), [row[1:] for row in REJECTED], ids=[
    row[0] for row in REJECTED
])  # fmt: skip
def test_a_bad_update_is_rejected_whole(
    learner: str, t: Any, losses: Any, match: str, type_error: bool
) -> None:
    sampler = told(learner, 4, 12)
    before, tables = sampler.state_dict(), (sampler.probabilities, sampler.weights)
    with pytest.raises(speediff.SpeeDiffError, match=match) as caught:
        sampler.update(t, losses)
    # An array of another shape is a wrong type here and a wrong value there.
    assert isinstance(caught.value, (TypeError, ValueError) if type_error else ValueError)
    assert_is(sampler, before, tables)


# ---- The saved history ---------------------------------------------------------------------------


def history_keys(state: dict[str, Any]) -> list[str]:
    """Where a state differs from that of a sampler that learns nothing."""
    plain = make("uniform").state_dict()
    return [key for key in state if key not in ("method", "step", "version") and state[key] != plain.get(key)]


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("told", [0, 1, 4, 30])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(learner: str, told: int) -> None:
    run, resumed = LEARNERS[learner](), LEARNERS[learner]()
    for update in random_updates(5, told):
        run.sample(16)
        run.update(*update)
    resumed.load_state_dict(json.loads(json.dumps(run.state_dict())))
    assert resumed.state_dict() == run.state_dict()
    for update in random_updates(6, 30):
        assert resumed.probabilities.tobytes() == run.probabilities.tobytes()
        assert resumed.weights.tobytes() == run.weights.tobytes()
        (t, w), (expected_t, expected_w) = resumed.sample(16), run.sample(16)
        assert (t == expected_t).all()
        assert (w == expected_w).all()
        run.update(*update)
        resumed.update(*update)


@pytest.mark.parametrize("learner", LEARNERS)
def test_loading_forgets_what_came_after(learner: str) -> None:
    run = told(learner, 5, 10)
    state, tables = run.state_dict(), (run.probabilities, run.weights)
    before = copy.deepcopy(state)
    for update in random_updates(6, 10):
        run.update(*update)
    assert state == before
    run.load_state_dict(state)
    assert_is(run, state, tables)


def damaged(value: Any) -> list[Any]:
    """Values that are near enough to a history to be mistaken for one."""
    result: list[Any] = [None, "x", 3, [], {}, [[]], {"a": 1}]
    if isinstance(value, str):
        return [*result, value[:-1], value[1:], value + "A", "!" + value[1:], value * 2]
    if isinstance(value, dict):
        for key, part in value.items():
            result += [{**value, key: bad} for bad in damaged(part)]
            result.append({other: kept for other, kept in value.items() if other != key})
    if isinstance(value, list) and value:
        result += [value[:-1], [*value, value[-1]], ["x", *value[1:]], [None, *value[1:]]]
        if isinstance(value[0], (int, float)):
            result += [[bad, *value[1:]] for bad in (NAN, INF, -1)]
        else:
            result += [[bad, *value[1:]] for bad in damaged(value[0])]
    return [bad for bad in result if bad != value]


def is_refused(sampler: TimestepSampler, state: dict[str, Any]) -> bool:
    try:
        sampler.load_state_dict(state)
    except speediff.SpeeDiffError:
        return True
    return False


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_damaged_history_is_refused_and_changes_nothing(learner: str) -> None:
    sampler = told(learner, 7, 9)
    before, tables = sampler.state_dict(), (sampler.probabilities, sampler.weights)
    keys = history_keys(before)
    assert keys
    for key in keys:
        for bad in damaged(before[key]):
            assert is_refused(sampler, {**before, key: bad}), f"{key} = {str(bad)[:200]} was taken"
        with pytest.raises(speediff.SpeeDiffValueError, match=key):
            sampler.load_state_dict({name: value for name, value in before.items() if name != key})
    assert_is(sampler, before, tables)


@pytest.mark.parametrize("sampling", [LossSecondMoment(history=3), Adaptive(bins=7)], ids=str)
def test_the_history_of_another_t_is_refused(sampling: Any) -> None:
    sampler = make(sampling)
    for update in random_updates(7, 9):
        sampler.update(*update)
    before = sampler.state_dict()
    shorter = TimestepSampler(NoiseSchedule.from_alphas_cumprod(BAR[:-1]), sampling, prediction="v")
    for update in random_updates(7, 9, end=STEPS - 1):
        shorter.update(*update)
    with pytest.raises(speediff.SpeeDiffValueError, match="state"):
        sampler.load_state_dict(shorter.state_dict())
    if isinstance(sampling, LossSecondMoment):
        mixed = {**before, **{key: shorter.state_dict()[key] for key in history_keys(before)}}
        with pytest.raises(speediff.SpeeDiffError):
            sampler.load_state_dict(mixed)
    assert sampler.state_dict() == before
