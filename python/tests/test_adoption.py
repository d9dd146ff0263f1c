"""A pipeline of PyTorch that the CPU trainer takes over, and gives back."""

from __future__ import annotations

import copy
import gc
import io
import time
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import official_dit
import pytest
import torch
from pipelines import (
    CLASSES,
    DECAY,
    EMA_DECAY,
    EPS,
    RATE,
    SIZES,
    Pipeline,
    assert_same,
    batches,
    network,
)
from torch.optim.swa_utils import AveragedModel

import speediff
from speediff import DiT, NoiseSchedule, Trainer
from speediff.torch import Adoption, TimestepSampler, adopt

if TYPE_CHECKING:
    from pipelines import Batch


pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")


def adopted(pipeline: Pipeline, **options: Any) -> Adoption:
    options = {"ema_decay": EMA_DECAY, **options}
    return adopt(pipeline.model, pipeline.ema, pipeline.optimizer, **options)


def by_hand(adoption: Adoption, batch: Batch) -> float:
    """A step of which everything is given."""
    loss = adoption.backward(batch.x, batch.y, **batch.drawn)
    adoption.apply()
    return loss


def places(pipeline: Pipeline) -> set[int]:
    """Where all that is trained lies."""
    networks = (pipeline.model, pipeline.ema)
    trained = [p for module in networks for name, p in module.named_parameters() if name != "pos_embed"]
    moments = [
        state[which] for state in pipeline.optimizer.state.values() for which in ("exp_avg", "exp_avg_sq")
    ]
    return {tensor.data_ptr() for tensor in (*trained, *moments)}


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


def test_pytorch_may_take_steps_in_between(linear: NoiseSchedule) -> None:
    steps = batches(0, 9)
    alone, handed = (Pipeline(network(), linear) for _ in range(2))
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


def test_a_step_costs_little_more_than_the_trainers(linear: NoiseSchedule) -> None:
    """Less than 1 % of a step of a small network: what comes on top is timed by itself."""
    model = official_dit.DiT(28, 4, 1, 96, 4, 3, num_classes=10)
    optimizer, inner, outer = torch.optim.AdamW(model.parameters()), [], []
    x, y = torch.zeros(64, 1, 28, 28), torch.zeros(64, dtype=torch.int64)
    with adopt(model, copy.deepcopy(model), optimizer, TimestepSampler.speed(linear)) as adoption:
        step = adoption.trainer.step

        def timed(*arguments: Any) -> float:
            began = time.perf_counter()
            loss = step(*arguments)
            inner.append(time.perf_counter() - began)
            return loss

        adoption.trainer.step = timed
        for _ in range(8):
            began = time.perf_counter()
            adoption.step(x, y)
            outer.append(time.perf_counter() - began)
    added = min(whole - part for whole, part in zip(outer, inner, strict=True))
    assert added < 0.01 * min(inner)


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


# ---- Memory --------------------------------------------------------------------------------------


def test_memory_is_shared_until_it_is_released(linear: NoiseSchedule) -> None:
    pipeline = Pipeline(network(), linear)
    before = pipeline.tensors()
    parameters = list(pipeline.model.parameters())
    with adopted(pipeline) as adoption:
        trainer = adoption.trainer
        arrays = (trainer.parameters, trainer.ema_parameters, trainer.exp_avg, trainer.exp_avg_sq)
        shared = places(pipeline)
        assert shared == {view.ctypes.data for views in arrays for view in views.values()}
        native = weakref.ref(trainer._handle)
        del trainer, arrays
    after = pipeline.tensors()
    assert_same({name: after[name] for name in before}, before, 0)
    assert not places(pipeline) & shared
    assert all(a is b for a, b in zip(parameters, pipeline.model.parameters(), strict=True)), (
        "in the optimizer too"
    )
    gc.collect()
    assert native() is None, "the trainer's memory is free"
    adoption.release()
    with pytest.raises(speediff.SpeeDiffClosedError):
        adoption.step(*batches(0, 1)[0][:2])


def test_the_module_is_up_to_date_after_each_step(linear: NoiseSchedule) -> None:
    pipeline = Pipeline(network(), linear)
    with adopted(pipeline) as adoption:
        for batch in batches(0, 2):
            by_hand(adoption, batch)
            for module, ema in ((pipeline.model, False), (pipeline.ema, True)):
                with torch.no_grad():
                    output = module.eval()(batch.x, batch.t, batch.y)
                expected = adoption.trainer.forward(
                    batch.x.numpy(), batch.t.numpy(), batch.y.numpy(), ema=ema
                )
                np.testing.assert_allclose(output, expected, atol=1e-5)


def test_what_is_never_released_stays_valid(linear: NoiseSchedule) -> None:
    pipeline, batch = Pipeline(network(), linear), batches(0, 1)[0]
    adoption = adopted(pipeline)
    by_hand(adoption, batch)
    expected = pipeline.tensors()
    del adoption
    gc.collect()
    filler = [np.full(1 << 16, np.nan, np.float32) for _ in range(50)]
    assert_same(pipeline.tensors(), expected, 0)
    twin = Pipeline(network(), linear)
    twin.model.load_state_dict(pipeline.model.state_dict())
    twin.ema.load_state_dict(pipeline.ema.state_dict())
    twin.optimizer.load_state_dict(copy.deepcopy(pipeline.optimizer.state_dict()))
    assert pipeline.step(batch) == twin.step(batch)
    assert_same(pipeline.tensors(), twin.tensors(), 0)
    assert len(filler) == 50


def test_an_adopted_module_can_be_copied_and_saved(linear: NoiseSchedule) -> None:
    pipeline = Pipeline(network(), linear)
    steps = batches(0, 2)
    with adopted(pipeline) as adoption:
        by_hand(adoption, steps[0])
        expected = pipeline.tensors()
        copied, file = copy.deepcopy(pipeline.model), io.BytesIO()
        saved = {
            "model": pipeline.model.state_dict(),
            "ema": pipeline.ema.state_dict(),
            "opt": pipeline.optimizer.state_dict(),
        }
        torch.save(saved, file)
        by_hand(adoption, steps[1])
    floats = 4 * sum(parameter.numel() for parameter in pipeline.model.parameters())
    assert len(file.getvalue()) < 1.2 * 4 * floats + 100_000
    for name, value in copied.state_dict().items():
        assert torch.equal(value, expected[f"model.{name}"])
    file.seek(0)
    loaded, again = torch.load(file, weights_only=True), Pipeline(network(), linear)
    again.model.load_state_dict(loaded["model"])
    again.ema.load_state_dict(loaded["ema"])
    again.optimizer.load_state_dict(loaded["opt"])
    assert_same(again.tensors(), expected, 0)
    with adopted(again) as adoption:
        by_hand(adoption, steps[1])
    assert_same(again.tensors(), pipeline.tensors(), 0)


def test_a_module_is_in_the_mode_that_it_was_in() -> None:
    model = network().train()
    model.blocks[0].eval()
    with adopt(model):
        pass
    assert model.training
    assert not model.blocks[0].attn.training
    assert model.blocks[1].attn.training


def test_adopting_draws_nothing_from_pytorchs_generator() -> None:
    model = network()
    state = torch.get_rng_state()
    with adopt(model) as adoption:
        adoption.step(*batches(0, 1)[0][:2])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_module_can_be_adopted_again_without_a_release(linear: NoiseSchedule) -> None:
    steps = batches(0, 4)
    once, twice = (Pipeline(network(), linear) for _ in range(2))
    first = adopted(once)
    for batch in steps:
        by_hand(first, batch)
    for part in (steps[:2], steps[2:]):
        adoption = adopted(twice)
        for batch in part:
            by_hand(adoption, batch)
    assert_same(twice.tensors(), once.tensors(), 0)


# ---- The average ---------------------------------------------------------------------------------


def test_an_averaged_model_is_an_average(linear: NoiseSchedule) -> None:
    """Its first update copies, and it counts."""
    steps, averages = batches(0, 8), []
    for in_swift in (0, 5):
        pipeline = Pipeline(network(), linear)
        average = AveragedModel(
            pipeline.model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(EMA_DECAY)
        )
        for batch in batches(50, 2):
            pipeline.step(batch)
        with adopt(pipeline.model, average, pipeline.optimizer, ema_decay=EMA_DECAY) as adoption:
            for batch in steps[:in_swift]:
                by_hand(adoption, batch)
        for batch in steps[in_swift:]:
            pipeline.step(batch)
            average.update_parameters(pipeline.model)
        averages.append(average.state_dict())
    assert int(averages[1]["n_averaged"]) == 8
    assert_same(averages[1], averages[0], 1e-4)


def test_a_list_of_tensors_is_an_average(linear: NoiseSchedule) -> None:
    steps, first, second = batches(0, 3), *(Pipeline(network(), linear) for _ in range(2))
    shadow = [parameter.detach().clone() for parameter in second.model.parameters()]
    with (
        adopted(first) as adoption,
        adopt(second.model, shadow, second.optimizer, ema_decay=EMA_DECAY) as other,
    ):
        for batch in steps:
            by_hand(adoption, batch)
            by_hand(other, batch)
    for found, expected in zip(shadow, first.ema.parameters(), strict=True):
        assert torch.equal(found, expected)
