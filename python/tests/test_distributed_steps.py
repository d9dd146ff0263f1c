"""Steps that several ranks share: those of one process, and errors that apply nothing anywhere."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from test_distributed import raised_on_all
from thread_ranks import ThreadGroup, on_ranks, outcomes_on_ranks
from tiny_trainers import CLASSES, MODEL, SHAPE, create, images, labels, memory, sampler, with_one
from training_runs import determined_weights

import speediff
from speediff import SpeeDiffNonFiniteError, SpeeDiffTypeError, SpeeDiffValueError, Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

STEPS = 50
METHODS: list[dict[str, Any]] = [
    {"sampling": "laplace", "weighting": "min_snr", "prediction": "v"},
    {
        "sampling": speediff.sampling.Adaptive(bins=5),
        "weighting": speediff.weighting.Uncertainty(bins=5),
        "strata": "low_discrepancy",
    },
]


MASKED = speediff.MDT(16, 3, 2, 4, version=2, decode_layer=1)
CASES = [(METHODS[0], MODEL), (METHODS[1], MODEL), (METHODS[1], MASKED)]


def batch(step: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A global batch, which has another size than the one before."""
    n = (8, 6, 12, 2, 10)[step % 5]
    generator = np.random.default_rng(step)
    return generator.normal(size=(n, *SHAPE)).astype(np.float32), generator.integers(0, CLASSES, n)


def make(method: dict[str, Any], accumulation: int = 1, **options: Any) -> Trainer:
    drawn_by = sampler(seed=3, accumulation=accumulation, **method)
    settings = {"learning_rate": 1e-3, "max_grad_norm": 1.0, "seed": 5, **options}
    return create(drawn_by, class_dropout_prob=0.3, **settings)


def run(trainer: Trainer) -> dict[str, Any]:
    """What 50 steps give, and leave."""
    losses = []
    for step in range(STEPS):
        x, y = batch(step)
        part = trainer.group.part(len(x))
        losses.append(trainer.step(x[part], y[part]))
    history = base64.b64decode(trainer.sampler.state_dict()["history"] or "")
    return {
        "losses": losses,
        "weights": determined_weights(trainer).tobytes(),
        "history": history,
        "memory": memory(trainer),
    }


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize(("method", "model"), CASES, ids=["fixed", "learning", "masked"])
def test_ranks_make_the_steps_of_one_process(
    method: dict[str, Any], model: speediff.DiT | speediff.MDT, accumulation: int
) -> None:
    """Batches of all sizes; of three ranks and two micro-batches some have no image."""
    with make(method, accumulation, model=model) as alone:
        expected = run(alone)
    assert max(expected["losses"]) - min(expected["losses"]) > 0.1
    for ranks in (2, 3):
        results = on_ranks(ranks, lambda group: run(make(method, accumulation, model=model, group=group)))
        assert all(result == results[0] for result in results), "ranks drift apart"
        assert results[0]["losses"] == pytest.approx(expected["losses"], rel=1e-5)
        for key, dtype in (("weights", np.float32), ("history", np.float64)):
            found, whole = (np.frombuffer(result[key], dtype) for result in (results[0], expected))
            np.testing.assert_allclose(found, whole, rtol=1e-3, atol=1e-4 * np.abs(whole).max(initial=0))


def test_any_division_makes_the_same_step() -> None:
    x, y = batch(2)
    with make(METHODS[1]) as alone:
        expected = alone.step(x, y)
    for ends in ([0, 1, 12], [0, 12, 12], [0, 0, 12], [0, 3, 3, 12]):

        def step(group: ThreadGroup, ends: list[int] = ends) -> float:
            part = slice(ends[group.rank], ends[group.rank + 1])
            return make(METHODS[1], group=group).step(x[part], y[part])

        losses = on_ranks(len(ends) - 1, step)
        assert losses == pytest.approx([expected] * len(losses), rel=1e-6), ends


def test_a_loop_of_ones_own_is_a_step() -> None:
    x, y = batch(0)
    with make(METHODS[0]) as alone:
        expected = alone.step(x, y)
        after = alone.flat_parameters.copy()

    def loop(group: ThreadGroup) -> NDArray[np.float32]:
        trainer = make(METHODS[0], group=group)
        part = group.part(len(x))
        loss = trainer.backward(x[part], y[part], offset=part.start, total=len(x))
        group.sum(trainer.flat_gradients)
        trainer.apply()
        assert sum(float(part) for part in group.gather(np.array(loss))) == pytest.approx(expected, rel=1e-6)
        return trainer.flat_parameters.copy()

    for parameters in on_ranks(2, loop):
        np.testing.assert_allclose(parameters, after, atol=1e-6)


def test_a_step_takes_three_exchanges() -> None:
    def count(group: ThreadGroup) -> int:
        trainer = make(METHODS[1], group=group)
        before = group.exchanges
        trainer.step(images(), labels())
        return group.exchanges - before

    assert on_ranks(2, count) == [3, 3]


# ---- Errors --------------------------------------------------------------------------------------

X, Y = images(), labels()
BAD_PARTS: list[tuple[Any, Any, type[speediff.SpeeDiffError], str]] = [
    (X.astype(np.float64), Y, SpeeDiffTypeError, "rank 1: x must have dtype float32"),
    (X[:, :1].copy(), Y, SpeeDiffValueError, "rank 1: x must have shape"),
    (X, Y[:3], SpeeDiffValueError, r"rank 1: y must have shape \(4,\)"),
    (X, None, SpeeDiffValueError, "rank 1: y must be given to a network with labels"),
    (X, Y + CLASSES, SpeeDiffValueError, r"rank 1: y\[1\] must be in \[0, 7\), got 7"),
    (with_one(X, 3, np.nan), Y, SpeeDiffValueError, r"rank 1: x\[3\] must be finite"),
    (with_one(X, 3, 1e38), Y, SpeeDiffNonFiniteError, "rank 1: loss must be finite, got inf at step 1"),
]


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize(("x", "y", "kind", "message"), BAD_PARTS)
def test_what_is_wrong_with_one_part_is_an_error_on_all_ranks(
    x: Any, y: Any, kind: type[speediff.SpeeDiffError], message: str, accumulation: int
) -> None:
    """Nothing is applied, and the same step can be made after it."""
    with make(METHODS[1], accumulation) as alone:
        for _ in range(2):
            expected = alone.step(np.concatenate([X, X]), np.concatenate([Y, Y]))

    def steps(group: ThreadGroup) -> None:
        trainer = make(METHODS[1], accumulation, group=group)
        trainer.step(X, Y)
        before = memory(trainer)
        try:
            trainer.step(*((x, y) if group.rank == 1 else (X, Y)))
        finally:
            assert memory(trainer) == before
            assert trainer.global_step == 1
            assert trainer.step(X, Y) == pytest.approx(expected, rel=1e-5)

    assert re.search(message, raised_on_all(2, steps, kind))


def test_a_gradient_that_is_not_finite_is_applied_nowhere() -> None:
    def step(group: ThreadGroup) -> None:
        trainer = make(METHODS[0], group=group)
        before = memory(trainer)
        if group.rank == 1:  # As if its own backward had made it.
            add = group._sum
            group._sum = lambda array: (array.fill(np.nan), add(array))  # type: ignore[method-assign]
        try:
            trainer.step(X, Y)
        finally:
            assert memory(trainer) == before
            assert trainer.global_step == 0

    assert "gradient must be finite" in raised_on_all(2, step, SpeeDiffNonFiniteError)


def test_a_step_without_any_image() -> None:
    def step(group: ThreadGroup) -> None:
        make(METHODS[0], group=group).step(X[:0], Y[:0])

    assert raised_on_all(2, step) == "x must have an image on one rank at least, got none on any"


# ---- Agreement -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 6}, "seed 5 on ranks 0, 2, 6 on rank 1"),
        ({"learning_rate": 2e-3}, "learning_rate 0.001 on ranks 0, 2, 0.002 on rank 1"),
        ({"max_grad_norm": None}, "max_grad_norm 1.0 on ranks 0, 2, 0.0 on rank 1"),
        ({"precision": "bfloat16"}, 'precision "float32" on ranks 0, 2, "bfloat16" on rank 1'),
        ({"model": speediff.DiT(16, 1, 2, 4)}, "network.depth 2 on ranks 0, 2, 1 on rank 1"),
        ({"drawn_by": sampler(seed=4, **METHODS[0])}, "sampler.seed 3 on ranks 0, 2, 4 on rank 1"),
        (
            {"drawn_by": sampler(seed=3, **{**METHODS[0], "weighting": "p2"})},
            'sampler.weighting.name "min_snr" on ranks 0, 2, "p2" on rank 1',
        ),
    ],
)
def test_ranks_that_differ_are_told_before_they_train(other: dict[str, Any], message: str) -> None:
    def start(group: ThreadGroup) -> Trainer:
        settings = {
            "drawn_by": sampler(seed=3, **METHODS[0]),
            "seed": 5,
            "learning_rate": 1e-3,
            "max_grad_norm": 1.0,
        }
        return create(**{**settings, **(other if group.rank == 1 else {})}, group=group)

    told = raised_on_all(3, start)
    assert told.startswith("all ranks must agree, got ")
    assert message in told


def test_ranks_may_have_other_numbers_of_threads() -> None:
    def start(group: ThreadGroup) -> int:
        return make(METHODS[0], threads=1 + group.rank, group=group).threads

    assert on_ranks(2, start) == [1, 2]


def test_one_rank_that_cannot_make_its_trainer_is_an_error_on_all() -> None:
    def start(group: ThreadGroup) -> Trainer:
        return make(METHODS[0], num_classes=0 if group.rank == 1 else 6, group=group)

    assert raised_on_all(2, start) == "rank 1: num_classes must be at least 1, got 0"


def test_a_group_must_be_one() -> None:
    with pytest.raises(SpeeDiffTypeError, match=r"group must be a speediff.distributed.Group, got 2"):
        make(METHODS[0], group=2)


# ---- Files ---------------------------------------------------------------------------------------


def test_rank_0_saves_and_all_go_on_however_many(tmp_path: Path) -> None:
    """Saved by two, continued by three, one and two: the run of one process, up to rounding."""
    path = tmp_path / "run.safetensors"
    with make(METHODS[1]) as alone:
        expected = [alone.step(*batch(step)) for step in range(20)]

    def steps(trainer: Trainer, end: int) -> list[float]:
        losses = []
        while trainer.global_step < end:
            x, y = batch(trainer.global_step)
            part = trainer.group.part(len(x))
            losses.append(trainer.step(x[part], y[part]))
        trainer.save(path)
        return losses

    losses = on_ranks(2, lambda group: steps(make(METHODS[1], group=group), 5))[0]
    for ranks, end in ((3, 10), (1, 15), (2, 20)):
        losses += on_ranks(
            ranks, lambda group, end=end: steps(Trainer.load(path, threads=1, group=group), end)
        )[0]
    assert losses == pytest.approx(expected, rel=1e-5)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_file_that_cannot_be_written_is_an_error_on_all(tmp_path: Path) -> None:
    def save(group: ThreadGroup) -> None:
        make(METHODS[0], group=group).save(tmp_path / "missing" / "run.safetensors")

    message = raised_on_all(2, save, speediff.SpeeDiffFileError)
    assert message.startswith("rank 0: ")
    assert "missing" in message


def test_ranks_that_have_drifted_apart_leave_the_last_file(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"

    def save(group: ThreadGroup) -> None:
        trainer = make(METHODS[0], group=group)
        trainer.save(path)
        if group.rank == 1:
            trainer.flat_parameters[0] += 1e-6
        trainer.save(path)

    assert "all ranks must agree, got parameters" in raised_on_all(2, save)
    with Trainer.load(path) as saved, make(METHODS[0]) as begun:
        assert (saved.flat_parameters == begun.flat_parameters).all()


def test_ranks_that_load_different_files_are_told(tmp_path: Path) -> None:
    for steps in range(2):
        with make(METHODS[0]) as trainer:
            for _ in range(steps):
                trainer.step(X, Y)
            trainer.save(tmp_path / f"{steps}")

    def load(group: ThreadGroup) -> Trainer:
        return Trainer.load(tmp_path / f"{group.rank}", threads=1, group=group)

    assert "got global_step 0 on rank 0, 1 on rank 1; parameters " in raised_on_all(2, load)


def test_saving_on_one_rank_alone_is_told(tmp_path: Path) -> None:
    def wrong(group: ThreadGroup) -> None:
        trainer = make(METHODS[0], group=group)
        if group.rank == 0:
            trainer.save(tmp_path / "run.safetensors")
        trainer.step(X, Y)

    outcomes = outcomes_on_ranks(2, wrong)
    assert [type(outcome) for outcome in outcomes] == [speediff.SpeeDiffGroupError] * 2
    assert "all ranks must do the same at a time, got 'saving' on rank 0; 'a step' on rank 1" in str(
        outcomes[0]
    )
