"""Whose memory an adopted module has: shared, given back, and valid ever after."""

from __future__ import annotations

import copy
import gc
import io
import weakref
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from pipelines import Pipeline, adopted, assert_same, batches, by_hand, network

import speediff
from speediff.torch import adopt

if TYPE_CHECKING:
    from speediff import NoiseSchedule

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")


def places(pipeline: Pipeline) -> set[int]:
    """Where all that is trained lies."""
    networks = (pipeline.model, pipeline.ema)
    trained = [p for module in networks for name, p in module.named_parameters() if name != "pos_embed"]
    moments = [
        state[which] for state in pipeline.optimizer.state.values() for which in ("exp_avg", "exp_avg_sq")
    ]
    return {tensor.data_ptr() for tensor in (*trained, *moments)}


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


def test_a_first_adoption_that_is_released_late_leaves_the_second_alone(linear: NoiseSchedule) -> None:
    steps = batches(0, 4)
    once, twice = (Pipeline(network(), linear) for _ in range(2))
    with adopted(once) as adoption:
        for batch in steps:
            by_hand(adoption, batch)
    first = adopted(twice)
    by_hand(first, steps[0])
    with adopted(twice) as second:
        with pytest.raises(speediff.SpeeDiffValueError, match="must stay in the trainer's memory"):
            by_hand(first, steps[1])
        by_hand(second, steps[1])
        first.release()
        by_hand(second, steps[2])
        twice.model.requires_grad_(False)
        with pytest.raises(speediff.SpeeDiffClosedError):
            by_hand(first, steps[3])
        twice.model.requires_grad_(True).pos_embed.requires_grad_(False)
        by_hand(second, steps[3])
        assert {float(state["step"]) for state in twice.optimizer.state.values()} == {4.0}
    assert_same(twice.tensors(), once.tensors(), 0)


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
