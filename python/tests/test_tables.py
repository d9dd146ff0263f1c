"""The user's own tables and curves: the forms that they may have, files, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import speediff
from speediff import NoiseSchedule, SigmaSampler, TimestepSampler, weighting
from speediff.sampling import Adaptive, Beta, Stages, Table, Truncated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAN, INF = float("nan"), float("inf")
PAIRS = ((0.0, 0.25), (0.5, 1.0), (1.0, 0.125))
KINDS = [Table, weighting.Table]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("values", [PAIRS, list(PAIRS), [list(pair) for pair in PAIRS], dict(PAIRS),
                                    np.array(PAIRS), np.array(PAIRS, np.float32)], ids=str)  # fmt: skip
def test_knots_may_be_pairs_a_dict_or_an_array(kind: Any, values: Any) -> None:
    assert kind(values) == kind(PAIRS)
    assert kind(values).values == PAIRS


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_for_each_step_is_taken_as_it_is(kind: Any) -> None:
    schedule, values = NoiseSchedule.cosine(4), [0.0, 3.0, 1.0, 4.0]
    for given in (values, tuple(values), np.array(values)):
        if kind is Table:
            assert (TimestepSampler(schedule, kind(given)).probabilities == np.array(values) / 8).all()
        else:
            assert (TimestepSampler(schedule, weighting=kind(given)).weights == values).all()


def test_huge_and_tiny_values_are_a_density() -> None:
    schedule = NoiseSchedule.cosine(3)
    for size in (1e308, 5e-324):
        p = TimestepSampler(schedule, Table([size, size, 0])).probabilities
        assert p.tolist() == [0.5, 0.5, 0]
        flat = TimestepSampler(schedule, Table([(0, size), (1, size)])).probabilities
        np.testing.assert_allclose(flat, 1 / 3, rtol=1e-15)


def test_what_is_0_is_never_drawn() -> None:
    curve = Table([(0.2, 0), (0.3, 1), (0.4, 0), (0.6, 0), (0.7, 1), (0.8, 0)])
    t, _ = SigmaSampler.flow(sampling=curve, seed=2).sample(10**6)
    assert t.min() > 0.2
    assert t.max() < 0.8
    assert not ((t > 0.4) & (t < 0.6)).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0 0.25\n0.5 1\n1 0.125\n", PAIRS),
        ("# a curve\n\n0, .25\n0.5;1 # the middle\n  1\t0.125", PAIRS),
        ("1\n2.5\n3e1", (1.0, 2.5, 30.0)),
    ],
)
def test_a_file_has_a_number_or_a_knot_per_line(kind: Any, text: str, values: Any, tmp_path: Path) -> None:
    path = tmp_path / "curve: 1, 2.csv"
    path.write_text(text)
    assert kind.from_file(path) == kind(values)
    both = speediff.parse_method(f"table(file={str(path)!r})+table(file={str(path)!r}, over=u)")
    assert both == (Table(values), weighting.Table(values))


@pytest.mark.parametrize(
    ("text", "match"),
    [("0 1\n2\n", "line 2: '2'"), ("a b\n", "line 1"), ("1 2 3\n", "line 1"), ("", "values must have one"),
     ("1\nnan\n", r"values\[1\]")],
)  # fmt: skip
def test_a_bad_file_is_an_error_that_names_the_line(text: str, match: str, tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(text)
    with pytest.raises(speediff.SpeeDiffValueError, match=match):
        Table.from_file(str(path))
    with pytest.raises(speediff.SpeeDiffFileError, match="file must be a text file"):
        Table.from_file(str(tmp_path))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("values", "over", "match"),
    [
        ([(0, 1)], "u", "knots must be at least 2, got 1"),
        ([], "u", "values must have one above 0, got none"),
        ([(0, 1), (0.5, 1), (0.5, 2), (1, 1)], "u", r"knots\[2\] must be above the knot before it, 0.5"),
        ([(1, 1), (0, 1)], "u", r"knots\[1\]"), ([(0, 1), (1.5, 1)], "u", r"knots\[1\] must be in"),
        ([(-0.1, 1), (1, 1)], "u", r"knots\[0\] must be in"), ([(0, 1), (NAN, 1)], "u", r"knots\[1\]"),
        ([(0, 1), (INF, 1)], "log_snr", r"knots\[1\] must be in"), ([(-2e4, 1), (0, 1)], "log_snr", "knots"),
        ([(0, 1), (1, -1)], "u", r"values\[1\] must be finite and at least 0, got -1"),
        ([(0, 1), (1, NAN)], "u", r"values\[1\]"), ([(0, INF), (1, 1)], "u", r"values\[0\]"),
        ([(0, 0), (1, 0)], "u", "values must have one above 0, got zeros alone"), ([0, 0], "u", "values"),
        ([1, NAN], "u", r"values\[1\]"), ([1, -1], "u", r"values\[1\]"),
        ([(0, 1), (5e-324, 0), (1, 1)], "u", "must be farther from its neighbours"),
        (PAIRS, "t", "over must be one of"),
    ],
)  # fmt: skip
def test_a_bad_table_is_named(kind: Any, values: Any, over: str, match: str) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match=match):
        kind(values, over)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "values", [None, "0:1", 3, {1, 2}, [(0, 1), 2], [(0, 1, 2), (1, 1, 1)], ["a"], [(0, "1"), (1, 1)], [True]]
)
def test_values_of_another_type_are_refused(kind: Any, values: Any) -> None:
    with pytest.raises(speediff.SpeeDiffTypeError, match="values"):
        kind(values)


def test_weights_in_u_need_both_ends() -> None:
    for points in ([(0.1, 1), (1, 1)], [(0, 1), (0.9, 1)]):
        assert Table(points)
        assert weighting.Table(points, "log_snr")
        with pytest.raises(speediff.SpeeDiffValueError, match="every step needs a weight"):
            weighting.Table(points)


def test_a_table_of_steps_must_fit() -> None:
    schedule = NoiseSchedule.cosine(4)
    for make in (
        lambda: TimestepSampler(schedule, Table([1, 2, 3])),
        lambda: TimestepSampler(schedule, weighting=weighting.Table([1, 2, 3])),
    ):
        with pytest.raises(speediff.SpeeDiffValueError, match=r"as the schedule has steps \(4\).*got 3"):
            make()
    with pytest.raises(speediff.SpeeDiffValueError, match="one of timesteps alone"):
        SigmaSampler.flow(sampling=Table([1, 2, 3]))
    with pytest.raises(speediff.SpeeDiffValueError, match="one of timesteps alone"):
        SigmaSampler.flow(weighting=weighting.Table([1, 2, 3]))
    with pytest.raises(speediff.SpeeDiffValueError, match="knots in log-SNR"):
        SigmaSampler.edm(weighting=weighting.Table())


# ---- Stages and ranges ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stages", "match"),
    [
        ([], "at least 1 stage"), ([(1, "uniform")], r"start_steps\[0\] must be 0"),
        ([(0, "uniform"), (5, "beta"), (5, "uniform")], r"start_steps\[2\] must be above .* 5,"),
        ([(0, "uniform"), (9, "beta"), (5, "uniform")], r"start_steps\[2\]"),
        ([(0, "uniform"), (2**53 + 1, "beta")], r"start_steps\[1\]"), ([(0, "no")], r"stages\[0\]\[1\]"),
    ],
)  # fmt: skip
def test_stages_out_of_order_are_refused(stages: Any, match: str) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match=match):
        Stages(stages)


@pytest.mark.parametrize("stages", [None, "uniform", [(0,)], ["uniform"], [("0", "uniform")], [(0, None)]])
def test_stages_of_another_type_are_refused(stages: Any) -> None:
    with pytest.raises(speediff.SpeeDiffTypeError, match="stages"):
        Stages(stages)


def test_a_stage_that_does_not_fit_is_an_error_at_the_start() -> None:
    late = Stages([(0, "uniform"), (1000, Truncated(start=50))])
    with pytest.raises(speediff.SpeeDiffValueError, match="start must be below"):
        TimestepSampler(NoiseSchedule.cosine(50), late)
    narrow = Truncated(Stages([(0, "log_normal"), (1000, Truncated("log_normal", high=1))]), low=2)
    with pytest.raises(speediff.SpeeDiffValueError, match="at training step 1000"):
        SigmaSampler.edm(sampling=narrow)


def test_a_stage_that_learns_has_its_importance_weight_only_while_it_holds() -> None:
    sampler = TimestepSampler(NoiseSchedule.cosine(4), Stages([(0, Beta()), (2, Adaptive(bins=4))]))
    assert sampler.learns
    sampler.update(np.arange(4), np.array([1, 2, 3, 4], np.float32))
    assert (sampler.weights == 1).all()
    sampler.step = 2
    np.testing.assert_allclose(sampler.probabilities, np.array([1, 2, 3, 4]) / 10, rtol=1e-6)
    np.testing.assert_allclose(sampler.weights * sampler.probabilities, 1 / 4, rtol=1e-12)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: Truncated(low=0.5, high=0.5), "high must be above low = 0.5"),
    (lambda: Truncated(start=1, low=0.5), "together"),
    (lambda: Truncated(end=5, high=0.5), "together"),
    (lambda: SigmaSampler.flow(sampling=Truncated(high=1.5)), "high must be at most 1"),
    (lambda: SigmaSampler.flow(sampling=Truncated(low=1.5)), "low must be below 1"),
    (lambda: SigmaSampler.ve(sampling=Truncated(low=200)), "probability between low = 200"),
    (lambda: TimestepSampler(NoiseSchedule.cosine(9), Truncated(high=0.5)), r"\[start, end\)"),
]


@pytest.mark.parametrize(("make", "match"), REFUSED, ids=[match for _, match in REFUSED])
def test_a_range_that_cannot_be_is_refused(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match=match):
        make()


# ---- Saved states --------------------------------------------------------------------------------

SAVED = [Table(PAIRS), Table([1, 2, 3, 4]), Stages([(0, "beta"), (3, Table(PAIRS))]), Beta(2, 2, 0.1, 0.9)]


@pytest.mark.parametrize("method", SAVED, ids=str)
def test_a_state_survives_json_and_names_another_table(method: Any) -> None:
    schedule = NoiseSchedule.cosine(4)
    sampler, other = TimestepSampler(schedule, method, seed=3), TimestepSampler(schedule, method)
    sampler.sample(7)
    other.load_state_dict(json.loads(json.dumps(sampler.state_dict())))
    assert (other.sample(50)[0] == sampler.sample(50)[0]).all()
    another = TimestepSampler(schedule, Table({0: 1, 1: 2}))
    with pytest.raises(speediff.SpeeDiffValueError, match="method"):
        another.load_state_dict(sampler.state_dict())


@pytest.mark.parametrize(
    ("method", "described"),
    [
        (Beta(2, 2), {"name": "beta", "alpha": 2.0, "beta": 2.0}),
        (
            Truncated("uniform", 1, 3),
            {"name": "truncated", "base": {"name": "uniform"}, "start": 1, "end": 3},
        ),
    ],
)
def test_a_state_of_before_a_parameter_came_still_fits(method: Any, described: Any) -> None:
    sampler = TimestepSampler(NoiseSchedule.cosine(4), method)
    state = sampler.state_dict()
    assert state["method"]["sampling"] == described
    sampler.load_state_dict(state)
