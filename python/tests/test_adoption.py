"""A pipeline of PyTorch that the CPU trainer takes over, and gives back."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from pipelines import (
    CLASSES,
    DECAY,
    EPS,
    RATE,
    SIZES,
    Pipeline,
    adopted,
    assert_same,
    batches,
    by_hand,
    network,
)

import speediff
from speediff import DiT, NoiseSchedule, Trainer
from speediff.torch import TimestepSampler, adopt

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")


# ---- There and back ------------------------------------------------------------------------------


@pytest.mark.parametrize("learn_sigma", [True, False])
@pytest.mark.parametrize("before", [0, 7])
def test_a_run_handed_over_and_back_is_that_of_pytorch(
    linear: NoiseSchedule, learn_sigma: bool, before: int
) -> None:
    """Steps in PyTorch, 20 in Swift, 20 in PyTorch, against as many in PyTorch."""
    steps = batches(0, before + 40)
    alone, handed = (Pipeline(network(learn_sigma=learn_sigma), linear) for _ in range(2))
    expected = [alone.step(batch) for batch in steps]
    losses = [handed.step(batch) for batch in steps[:before]]
    with adopted(handed) as adoption:
        assert adoption.trainer.global_step == before
        losses += [by_hand(adoption, batch) for batch in steps[before : before + 20]]
    losses += [handed.step(batch) for batch in steps[before + 20 :]]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    found = handed.tensors()
    assert_same(found, alone.tensors(), 1e-4)
    assert {float(value) for name, value in found.items() if name.startswith("step.")} == {before + 40.0}


@pytest.mark.parametrize("implementation", [{}, {"foreach": True}, {"fused": True}])
def test_pytorch_may_take_steps_in_between(linear: NoiseSchedule, implementation: dict[str, bool]) -> None:
    steps = batches(0, 9)
    alone, handed = (Pipeline(network(), linear) for _ in range(2))
    options = {"lr": RATE, "weight_decay": DECAY, "eps": EPS}
    handed.optimizer = torch.optim.AdamW(handed.model.parameters(), **options, **implementation)
    expected = [alone.step(batch) for batch in steps]
    with adopted(handed) as adoption:
        turns = (lambda batch: by_hand(adoption, batch), handed.step, handed.step)
        losses = [turns[number % 3](batch) for number, batch in enumerate(steps)]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert_same(handed.tensors(), alone.tensors(), 1e-4)


def test_adam_without_decay_is_adopted_too(linear: NoiseSchedule) -> None:
    steps = batches(0, 6)
    alone, handed = (Pipeline(network(), linear) for _ in range(2))
    for pipeline in (alone, handed):
        pipeline.optimizer = torch.optim.Adam(pipeline.model.parameters(), lr=RATE, eps=EPS)
    for batch in steps:
        alone.step(batch)
    with adopted(handed) as adoption:
        for batch in steps[:3]:
            by_hand(adoption, batch)
    for batch in steps[3:]:
        handed.step(batch)
    assert_same(handed.tensors(), alone.tensors(), 1e-4)


# ---- The step ------------------------------------------------------------------------------------


def test_a_step_is_that_of_a_trainer_with_these_weights(linear: NoiseSchedule) -> None:
    def sampler() -> TimestepSampler:
        return TimestepSampler.speed(linear, seed=3)

    model = network()
    state = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    sizes = {name: SIZES[name] for name in ("hidden_size", "depth", "num_heads", "patch_size")}
    with Trainer(
        DiT(**sizes), sampler(), input_size=16, in_channels=3, num_classes=CLASSES, threads=1, seed=5,
        learning_rate=RATE, weight_decay=DECAY, max_grad_norm=0.5, ema_decay=0.99, ema_warmup=True,
    ) as trainer:  # fmt: skip
        trainer.load_state_dict(state)
        expected = [trainer.step(batch.x.numpy(), batch.y.numpy()) for batch in batches(0, 4)]
        weights, averages = trainer.state_dict(), trainer.state_dict(ema=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    ema = copy.deepcopy(model)
    options = {"max_grad_norm": 0.5, "ema_decay": 0.99, "ema_warmup": True, "seed": 5}
    with adopt(model, ema, optimizer, sampler(), **options) as adoption:
        assert [adoption.step(batch.x, batch.y) for batch in batches(0, 4)] == expected
    for module, arrays in ((model, weights), (ema, averages)):
        for name, value in module.state_dict().items():
            np.testing.assert_array_equal(value, arrays[name], err_msg=name)


def test_what_is_not_given_is_as_the_authors_have_it(linear: NoiseSchedule) -> None:
    model = network()
    with adopt(model) as adoption:
        trainer = adoption.trainer
        assert trainer.learning_rate == 1e-4
        assert trainer.schedule.steps == 1000
        np.testing.assert_array_equal(trainer.schedule.betas, linear.betas)
        np.testing.assert_array_equal(trainer.sampler.probabilities, np.full(1000, 1e-3))
        assert trainer.class_dropout_prob == 0.1
        adoption.step(*batches(0, 1)[0][:2])
        assert trainer.global_step == trainer.sampler.step == 1


def test_the_learning_rate_is_that_of_pytorchs_scheduler(linear: NoiseSchedule) -> None:
    steps = batches(0, 8)
    alone, handed = (Pipeline(network(), linear) for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as of a scheduler's step before the optimizer's
        schedulers = [
            torch.optim.lr_scheduler.ExponentialLR(pipeline.optimizer, 0.5) for pipeline in (alone, handed)
        ]
        with adopted(handed) as adoption:
            for batch in steps:
                alone.step(batch)
                by_hand(adoption, batch)
                for scheduler in schedulers:
                    scheduler.step()
            assert adoption.trainer.learning_rate == pytest.approx(RATE / 2**7)
    assert_same(handed.tensors(), alone.tensors(), 1e-4)


def test_images_may_lie_in_any_order(linear: NoiseSchedule) -> None:
    batch = batches(0, 1)[0]
    losses = []
    for x in (batch.x, batch.x.to(memory_format=torch.channels_last)):
        with adopted(Pipeline(network(), linear)) as adoption:
            losses.append(adoption.backward(x, batch.y, **batch.drawn))
    assert losses[0] == losses[1]


def test_a_step_that_is_not_finite_changes_nothing(linear: NoiseSchedule) -> None:
    pipeline = Pipeline(network(), linear)
    first, second = batches(0, 2)
    with adopted(pipeline) as adoption:
        by_hand(adoption, first)
        before = pipeline.tensors()
        with pytest.raises(speediff.SpeeDiffNonFiniteError):
            adoption.backward(first.x * 1e30, first.y, **first.drawn)
        assert_same(pipeline.tensors(), before, 0)
        by_hand(adoption, second)
        assert float(next(iter(pipeline.optimizer.state.values()))["step"]) == 2


# ---- The sampler ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TimestepSampler, speediff.TimestepSampler])
def test_the_samplers_counter_follows(linear: NoiseSchedule, kind: Any) -> None:
    pipeline, sampler = Pipeline(network(), linear), kind(linear, "laplace", seed=1)
    twin = kind(linear, "laplace", seed=1)
    with adopted(pipeline, sampler=sampler) as adoption:
        for number, batch in enumerate(batches(0, 3)):
            adoption.step(batch.x, batch.y)
            drawn, _ = twin.sample(6)
            np.testing.assert_array_equal(adoption.trainer.timesteps, drawn)
            assert sampler.step == number + 1
    np.testing.assert_array_equal(sampler.sample(6)[0], twin.sample(6)[0])
    assert sampler.step == 4


def test_a_sampler_that_is_asked_in_the_loop_counts_once(linear: NoiseSchedule) -> None:
    pipeline, sampler = Pipeline(network(), linear), TimestepSampler(linear, seed=1)
    with adopted(pipeline, sampler=sampler) as adoption:
        for number, batch in enumerate(batches(0, 3)):
            t, weights = sampler.sample(6)
            adoption.backward(batch.x, batch.y, t=t, weights=weights)
            np.testing.assert_array_equal(adoption.trainer.timesteps, t)
            adoption.apply()
            assert sampler.step == number + 1


def test_a_run_goes_on_at_the_samplers_step(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler(linear, seed=1)
    sampler.step = 11
    with adopt(network(), sampler=sampler) as adoption:
        assert adoption.trainer.global_step == 11
        adoption.step(*batches(0, 1)[0][:2])
        np.testing.assert_array_equal(adoption.trainer.timesteps, sampler.sample(6, step=11)[0])


def test_steps_of_the_trainer_alone_are_told(linear: NoiseSchedule) -> None:
    """They would be drawn twice, and counted neither by the optimizer nor by the sampler."""
    pipeline = Pipeline(network(), linear)
    batch = batches(0, 1)[0]
    with adopted(pipeline) as adoption:
        adoption.step(batch.x, batch.y)
        adoption.trainer.step(batch.x.numpy(), batch.y.numpy())
        with pytest.raises(
            speediff.SpeeDiffValueError, match="only through the adoption, got 2 steps, not 1"
        ):
            adoption.step(batch.x, batch.y)
        adoption.trainer.global_step = 1
        adoption.step(batch.x, batch.y)


def test_micro_batches_make_one_step(linear: NoiseSchedule) -> None:
    results = []
    for accumulation in (1, 2):
        pipeline = Pipeline(network(), linear)
        sampler = TimestepSampler(linear, seed=1, accumulation=accumulation)
        with adopted(pipeline, sampler=sampler) as adoption:
            for batch in batches(0, 2):
                adoption.step(batch.x, batch.y)
        assert sampler.step == 2
        results.append(pipeline.tensors())
    assert_same(results[1], results[0], 1e-4)


def test_a_sampler_that_learns_learns(linear: NoiseSchedule) -> None:
    pipeline = Pipeline(network(), linear)
    sampler, twin = (TimestepSampler(linear, speediff.sampling.Adaptive(bins=2), seed=1) for _ in range(2))
    with adopted(pipeline, sampler=sampler) as adoption:
        for batch in batches(0, 3):
            adoption.step(batch.x, batch.y)
            twin.update(*map(torch.from_numpy, (adoption.trainer.timesteps, adoption.trainer.losses)))
            np.testing.assert_array_equal(sampler.probabilities, twin.probabilities)
    assert len(set(sampler.probabilities)) == 2


# ---- Labels --------------------------------------------------------------------------------------


def test_labels_are_dropped_as_the_module_says() -> None:
    with adopt(network(class_dropout_prob=0.25)) as adoption:
        assert (adoption.trainer.num_classes, adoption.trainer.class_dropout_prob) == (CLASSES, 0.25)
    with adopt(network(class_dropout_prob=0.0)) as adoption:
        assert (adoption.trainer.num_classes, adoption.trainer.class_dropout_prob) == (CLASSES, 0.0)
    with adopt(network(class_dropout_prob=0.25), class_dropout_prob=0.5) as adoption:
        assert (adoption.trainer.num_classes, adoption.trainer.class_dropout_prob) == (CLASSES, 0.5)


def test_a_null_label_that_the_pipeline_gives_itself_is_a_label_like_others() -> None:
    model = network(class_dropout_prob=0.25)
    model.y_embedder.dropout_prob = 0.0
    with adopt(model) as adoption:
        assert (adoption.trainer.num_classes, adoption.trainer.class_dropout_prob) == (CLASSES + 1, 0.0)
        adoption.step(batches(0, 1)[0].x, torch.full((6,), CLASSES))
