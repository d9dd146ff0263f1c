"""The definition of a speed-up, on curves whose crossings are known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from speediff._experiments import intervals
from speediff._experiments.speedup import UNKNOWN, Bounds, Curve, crossing, levels, ratio, speed_up


def power(scale: float = 1.0, slope: float = 1.0, steps: tuple[int, ...] = (10, 20, 50, 100)) -> Curve:
    """Costs of (scale·step)^-slope: straight in log over log, so that interpolation is exact."""
    return Curve(tuple(map(float, steps)), tuple((scale * step) ** -slope for step in steps))


# ---- Crossings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [11, 20, 33.3, 50, 99, 100])
@pytest.mark.parametrize("slope", [0.3, 2])
def test_a_straight_line_in_log_over_log_is_crossed_where_it_is(at: float, slope: float) -> None:
    found = crossing(power(slope=slope), at**-slope, is_log=True)
    assert found.is_known
    assert found.low == pytest.approx(at, rel=1e-12)


def test_a_line_is_crossed_linearly_where_costs_can_be_negative() -> None:
    """KID: from 0.4 at step 10 to -0.1 at step 1000, over log steps."""
    curve = Curve((10.0, 1000.0), (0.4, -0.1))
    for quality, share in ((0.4 - 0.25, 0.5), (0.0, 0.8), (-0.1, 1.0)):
        assert crossing(curve, quality, is_log=False).low == pytest.approx(10 * 100**share)


def test_a_cost_of_zero_is_crossed_linearly_on_the_way() -> None:
    """1 - accuracy may reach 0, which has no logarithm."""
    assert crossing(Curve((10.0, 1000.0), (0.4, 0.0)), 0.2, is_log=True).low == pytest.approx(100)


def test_the_first_crossing_is_that_of_the_running_best() -> None:
    curve = Curve((1.0, 2.0, 4.0, 8.0), (8.0, 2.0, 6.0, 1.0))
    assert curve.running_best == (8, 2, 2, 1)
    assert crossing(curve, 4, is_log=True).low == pytest.approx(2**0.5), "not the later one, from 6 to 1"
    assert crossing(curve, 2, is_log=True).low == 2
    assert crossing(curve, math.sqrt(2), is_log=True).low == pytest.approx(4 * 2**0.5)


def test_nothing_is_extrapolated() -> None:
    curve = power()
    assert crossing(curve, 0.001, is_log=True) == Bounds(100, math.inf)
    assert crossing(curve, 0.2, is_log=True) == Bounds(0, 10), "it was there by the first measurement"
    assert crossing(curve, 0.1, is_log=True) == Bounds(10, 10)
    assert crossing(Curve((), ()), 0.1, is_log=True) == Bounds(0, math.inf)
    diverged = Curve(curve.places, curve.costs, diverged=True)
    assert crossing(diverged, 0.001, is_log=True) == Bounds(math.inf, math.inf)
    assert crossing(diverged, 0.05, is_log=True) == Bounds(20, 20), "before it diverged"


# ---- Ratios --------------------------------------------------------------------------------------


def test_relabelled_steps_are_that_much_faster() -> None:
    """A known effect: the same curve with half the steps."""
    slow = Curve((10.0, 20.0, 50.0, 100.0), (9.0, 5.0, 6.0, 2.0))
    fast = Curve(tuple(place / 2 for place in slow.places), slow.costs)
    for is_log in (True, False):
        for quality in levels([slow], [fast], is_log=is_log):
            found = ratio(slow, fast, quality, is_log=is_log)
            assert found.is_known
            assert found.low == pytest.approx(2, rel=1e-12)


def test_a_run_that_has_not_reached_a_quality_gives_a_bound() -> None:
    slow, fast = power(), power(scale=3)
    assert ratio(slow, fast, 1 / 200, is_log=True).low == pytest.approx(100 / (200 / 3))
    assert math.isinf(ratio(slow, fast, 1 / 200, is_log=True).high)
    assert str(ratio(slow, fast, 1 / 200, is_log=True)) == "more than 1.50 ×"
    assert ratio(fast, slow, 1 / 200, is_log=True).low == 0
    assert ratio(fast, slow, 1 / 200, is_log=True).high == pytest.approx(200 / 3 / 100)
    assert str(ratio(fast, slow, 1 / 200, is_log=True)) == "less than 0.67 ×"
    assert ratio(slow, fast, 1e-9, is_log=True) == UNKNOWN
    assert str(UNKNOWN) == "unknown"


def test_a_run_that_diverged_is_never_there() -> None:
    sound, broken = power(), Curve((10.0,), (0.1,), diverged=True)
    assert ratio(broken, sound, 0.05, is_log=True) == Bounds(math.inf, math.inf)
    assert str(ratio(broken, sound, 0.05, is_log=True)) == "∞ ×"
    assert ratio(sound, broken, 0.05, is_log=True) == Bounds(0, 0)
    assert ratio(broken, broken, 0.05, is_log=True) == UNKNOWN


# ---- Levels --------------------------------------------------------------------------------------


def test_levels_lie_within_what_all_runs_reached() -> None:
    slow, fast = [power(), power(scale=1.1)], [power(scale=2), power(scale=0.9)]
    found = levels(slow, fast, is_log=True)
    assert len(found) >= 3
    assert found[-1] == pytest.approx(1 / 90), "the best of the worst run"
    start = 1 / 20  # Where the best run begins.
    assert found == sorted(found, reverse=True)
    assert found[0] < start
    gaps = -np.diff(np.log([start, *found]))
    assert gaps == pytest.approx(np.full(len(found), gaps[0]))
    for one in (*slow, *fast):
        assert all(crossing(one, quality, is_log=True).is_known for quality in found)


def test_levels_of_kid_are_spread_evenly() -> None:
    slow, fast = Curve((1.0, 2.0), (0.3, -0.1)), Curve((1.0, 2.0), (0.5, -0.2))
    assert levels([slow], [fast], is_log=False) == pytest.approx([0.2, 0.1, 0.0, -0.1])


def test_a_run_that_began_better_than_another_ended_has_a_bound() -> None:
    worse = Curve((1.0, 2.0, 8.0), (10.0, 9.0, 8.0))
    better = Curve((1.0, 2.0, 8.0), (3.0, 2.0, 1.0))
    for is_log in (True, False):
        assert levels([worse], [better], is_log=is_log) == [8.0]
        assert levels([better], [worse], is_log=is_log) == [8.0]
        assert str(ratio(worse, better, 8.0, is_log=is_log)) == "more than 8.00 ×"
        assert str(ratio(better, worse, 8.0, is_log=is_log)) == "less than 0.12 ×"


def test_runs_that_share_no_quality_have_no_levels() -> None:
    """Without a measurement, or with one each: nothing was reached by training."""
    worse, better = Curve((1.0,), (9.0,)), Curve((1.0, 2.0), (3.0, 2.0))
    assert levels([worse], [Curve((1.0,), (3.0,))], is_log=True) == []
    assert levels([], [better], is_log=True) == []
    assert levels([Curve((), ())], [better], is_log=True) == []


def test_runs_that_diverged_do_not_limit_the_levels() -> None:
    broken = Curve((10.0,), (0.1,), diverged=True)
    assert levels([power()], [power(scale=2), broken], is_log=True) == levels(
        [power()], [power(scale=2)], is_log=True
    )
    assert levels([power()], [broken], is_log=True) == []


# ---- Over seeds ----------------------------------------------------------------------------------


def test_the_median_and_the_range_are_over_all_pairs() -> None:
    slow, fast = [power(scale=1 / each) for each in (1, 2)], [power(scale=each) for each in (1, 1.5)]
    found = speed_up(slow, fast, 1 / 40, is_log=True)
    assert found.pairs == 4  # 1, 1.5, 2, 3
    assert found.median.low == pytest.approx(1.75)
    assert (found.lowest.low, found.highest.high) == (pytest.approx(1), pytest.approx(3))
    assert found.interval is None


def test_runs_of_the_same_seed_are_paired() -> None:
    """Seeds differ by a factor of 8, a method from the baseline by 1.4 to 1.6: only the pairs show that."""
    scales, gains = np.geomspace(1, 8, 5), np.array([1.4, 1.6, 1.5, 1.55, 1.45])
    steps = tuple(range(1, 2001, 7))
    slow = [power(scale=float(1 / each), steps=steps) for each in scales]
    fast = [power(scale=float(gain / each), steps=steps) for gain, each in zip(gains, scales, strict=True)]
    order = [(place, 4 - place) for place in range(5)]
    found = speed_up(
        slow, fast[::-1], 1 / 100, is_log=True, interval=intervals.of_median_ratio, same_seed=order
    )
    assert found.interval is not None
    assert found.interval.low < 1
    same = found.same_seed
    assert same is not None
    logs = np.log(gains)
    assert same.mean == pytest.approx(np.exp(logs.mean()), rel=1e-9)
    assert (same.interval.low, same.interval.high) == pytest.approx(
        np.exp(stats.t.interval(0.95, 4, logs.mean(), stats.sem(logs))), rel=1e-9
    )
    assert same.seeds == 5
    assert speed_up(slow, fast, 1 / 100, is_log=True, same_seed=order[:2]).same_seed is None, "two seeds"
    beyond = speed_up(slow, fast, 1e-9, is_log=True, same_seed=order)
    assert beyond.same_seed is None, "no ratio is known"


def test_a_median_with_bounds_is_a_bound() -> None:
    """Two of three runs of the baseline are not there yet: more than the least that they can be."""
    slow, fast = [power(), power(scale=0.5), power(scale=0.4)], [power(scale=2)]
    found = speed_up(slow, fast, 1 / 80, is_log=True)
    assert str(found.median) == "more than 2.50 ×"
    assert found.lowest.low == pytest.approx(2)
    assert math.isinf(found.highest.high)
    sooner = speed_up([power(), power(), power(scale=0.4)], fast, 1 / 80, is_log=True)
    assert sooner.median.is_known
    assert sooner.median.low == pytest.approx(2)


curves = st.lists(st.floats(0.01, 10), min_size=4, max_size=4).map(
    lambda costs: Curve((10.0, 20.0, 50.0, 100.0), tuple(costs))
)


@given(slow=curves, fast=curves, quality=st.floats(0.02, 9), is_log=st.booleans())
def test_the_other_way_round_is_the_inverse(slow: Curve, fast: Curve, quality: float, is_log: bool) -> None:
    there, back = ratio(slow, fast, quality, is_log=is_log), ratio(fast, slow, quality, is_log=is_log)
    assert there.low <= there.high
    if there.is_known and back.is_known:
        assert there.low * back.low == pytest.approx(1)
    else:
        assert (there.low == 0) == math.isinf(back.high)


# ---- Intervals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 9, 30])
def test_students_distribution_is_scipys(freedom: int) -> None:
    for t in (0.0, 0.3, 1.2, 5.0):
        assert intervals.student_cdf(t, freedom) == pytest.approx(stats.t.cdf(t, freedom), abs=1e-13)
    expected = stats.t.ppf(0.975, freedom)
    assert intervals.student_quantile(0.975, freedom) == pytest.approx(expected, rel=1e-9)


def test_an_interval_needs_five_seeds_of_each() -> None:
    assert intervals.of_median(np.zeros((4, 9))) is None
    assert intervals.of_median(np.zeros((9, 4))) is None
    assert intervals.of_median(np.zeros((5, 5))) == (0, 0)


def median_of_pairs(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
    pairs = a[..., :, None] - b[..., None, :]
    return np.median(pairs.reshape(*pairs.shape[:-2], -1), axis=-1)


@pytest.mark.parametrize(("slow_count", "fast_count", "close"), [(7, 6, 0.03), (6, 5, 0.015)])
def test_an_interval_is_the_bootstrap_of_scipy(slow_count: int, fast_count: int, close: float) -> None:
    """The same medians over pairs, resampled by SciPy, between the same expanded percentiles."""
    rng = np.random.default_rng(0)
    slow, fast = rng.normal(1, 0.3, slow_count), rng.normal(0, 0.3, fast_count)
    share = 1 - 2 * intervals.expanded_tail(fast_count)
    peer = stats.bootstrap(
        (slow, fast), median_of_pairs, method="percentile", confidence_level=share, n_resamples=100_000,
        batch=1000, rng=rng,
    ).confidence_interval  # fmt: skip
    found = intervals.of_median(slow[:, None] - fast[None, :])
    assert found == pytest.approx((peer.low, peer.high), abs=close)


def test_all_resamples_of_five_seeds_are_counted() -> None:
    """The ends are the medians beyond which less than the tail's share of all 5⁵·5⁵ resamples lies."""
    rng = np.random.default_rng(1)
    slow, fast = rng.normal(1, 0.3, 5), rng.normal(0, 0.3, 5)
    every = np.array(list(itertools.product(range(5), repeat=5)))
    medians = np.concatenate([median_of_pairs(slow[every], fast[each]) for each in every])
    tail = intervals.expanded_tail(5)
    low, high = intervals.of_median(slow[:, None] - fast[None, :]) or (0, 0)
    for beyond, end in ((medians < low - 1e-9, low), (medians > high + 1e-9, high)):
        assert np.mean(beyond) < tail
        assert np.mean(beyond | (np.abs(medians - end) < 1e-9)) >= tail


def test_exchanged_arms_have_the_interval_with_its_sign_turned() -> None:
    for shape in ((5, 6), (9, 9)):
        table = np.random.default_rng(2).normal(size=shape)
        low, high = intervals.of_median(table) or (0, 0)
        assert intervals.of_median(-table) == (-high, -low)


@pytest.mark.parametrize("kind", ["normal", "exponential"])
def test_the_null_is_held_as_often_as_it_should_be(kind: str) -> None:
    """Ten runs of one method, split five against five in all ways: 95 % intervals that hold 1."""
    held = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        places = np.exp(rng.normal(5, 0.1, 10)) if kind == "normal" else 100 + 30 * rng.exponential(size=10)
        held += list(null_intervals(places))
    assert 0.90 <= np.mean(held) <= 0.99


def null_intervals(places: np.ndarray) -> list[bool]:
    """Whether the interval holds 1, for each way to split ten runs five against five."""
    found = []
    for chosen in itertools.combinations(range(10), 5):
        rest = [index for index in range(10) if index not in chosen]
        low, high = intervals.of_median_ratio(places[list(chosen), None] / places[None, rest]) or (0, 0)
        found.append(low <= 1 <= high)
    return found
