"""diffusers' DiT in the hands of the CPU trainer: split projections, and embedders in each block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from diffusers import DiTTransformer2DModel
from diffusers_dit import converted, predict, tied
from pipelines import (
    CLASSES,
    EMA_DECAY,
    Pipeline,
    assert_same,
    batches,
    network,
)

from speediff.torch import adopt

if TYPE_CHECKING:
    from speediff import NoiseSchedule


pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")


def pipeline(linear: NoiseSchedule, **options: Any) -> Pipeline:
    """With one embedder for all blocks, so that PyTorch trains what the trainer trains."""
    return Pipeline(tied(converted(network(**options))), linear, predict)


@pytest.mark.parametrize("learn_sigma", [True, False])
def test_a_run_handed_over_and_back_is_that_of_pytorch(linear: NoiseSchedule, learn_sigma: bool) -> None:
    steps = batches(0, 45)
    alone, handed = (pipeline(linear, learn_sigma=learn_sigma) for _ in range(2))
    expected = [alone.step(batch) for batch in steps]
    losses = [handed.step(batch) for batch in steps[:5]]
    with adopt(handed.model, handed.ema, handed.optimizer, ema_decay=EMA_DECAY) as adoption:
        assert adoption.trainer.global_step == 5
        assert adoption.trainer.config.frequency_shift == 1
        for batch in steps[5:25]:
            losses.append(adoption.backward(batch.x, batch.y, **batch.drawn))
            adoption.apply()
    losses += [handed.step(batch) for batch in steps[25:]]
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert_same(handed.tensors(), alone.tensors(), 1e-3)


def test_embedders_of_all_blocks_are_trained_as_one_and_released_apart(linear: NoiseSchedule) -> None:
    """What PyTorch makes of them apart is something else: each gets its own part of the gradient."""
    apart, together = Pipeline(converted(network()), linear, predict), pipeline(linear)
    batch = batches(0, 1)[0]
    for each in (apart, together):
        with adopt(each.model, each.ema, each.optimizer, ema_decay=EMA_DECAY) as adoption:
            adoption.backward(batch.x, batch.y, **batch.drawn)
            adoption.apply()
    found, expected = apart.model.state_dict(), together.model.state_dict()
    assert_same(found, expected, 0)
    embedders = [dict(block.norm1.emb.named_parameters()) for block in apart.model.transformer_blocks]
    first = "transformer_blocks.0.norm1.emb."
    for name, parameter in embedders[0].items():
        other = embedders[1][name]
        assert torch.equal(parameter, other)
        assert parameter.data_ptr() != other.data_ptr()
        for which in ("exp_avg", "exp_avg_sq"):
            moments = [apart.optimizer.state[each][which] for each in (parameter, other)]
            assert torch.equal(*moments)
            assert moments[0].data_ptr() != moments[1].data_ptr()
            assert_same({"": moments[0]}, {"": together.tensors()[f"{which}.{first}{name}"]}, 0)
    loss = apart.step(batch)
    assert np.isfinite(loss), "PyTorch goes on"


def test_the_module_is_up_to_date_after_each_step(linear: NoiseSchedule) -> None:
    whole = Pipeline(converted(network()), linear, predict)
    with adopt(whole.model, whole.ema, whole.optimizer, ema_decay=EMA_DECAY) as adoption:
        for batch in batches(0, 2):
            adoption.step(batch.x, batch.y)
            for module, ema in ((whole.model, False), (whole.ema, True)):
                with torch.no_grad():
                    output = predict(module.eval(), batch.x, batch.t, batch.y)
                arrays = (batch.x.numpy(), batch.t.numpy(), batch.y.numpy())
                np.testing.assert_allclose(output, adoption.trainer.forward(*arrays, ema=ema), atol=1e-5)


def test_a_new_module_needs_equal_embedders_first(linear: NoiseSchedule) -> None:
    """diffusers draws those of each block apart; with one for all, or equal ones, they can be adopted."""
    model = DiTTransformer2DModel(
        num_attention_heads=3, attention_head_dim=16, in_channels=3, num_layers=2, sample_size=16,
        patch_size=4, num_embeds_ada_norm=CLASSES,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"transformer_blocks\.1\.norm1\.emb\..* must equal .*blocks\.0\."):
        adopt(model)
    first, *others = (block.norm1.emb for block in model.transformer_blocks)
    for other in others:
        other.load_state_dict(first.state_dict())
    with adopt(model) as adoption:
        assert adoption.trainer.learn_sigma is False
        assert (adoption.trainer.num_classes, adoption.trainer.class_dropout_prob) == (CLASSES, 0.1)


def test_a_module_that_drops_no_labels_itself_takes_the_null_label(linear: NoiseSchedule) -> None:
    model = converted(network())
    for block in model.transformer_blocks:
        block.norm1.emb.class_embedder.dropout_prob = 0.0
    with adopt(model) as adoption:
        assert (adoption.trainer.num_classes, adoption.trainer.class_dropout_prob) == (CLASSES + 1, 0.0)
        adoption.step(batches(0, 1)[0].x, torch.full((6,), CLASSES))
    with adopt(model, class_dropout_prob=0.2) as adoption:
        assert (adoption.trainer.num_classes, adoption.trainer.class_dropout_prob) == (CLASSES, 0.2)


def test_a_module_comes_back_as_diffusers_saves_it(linear: NoiseSchedule, tmp_path: Any) -> None:
    pytest.importorskip("safetensors")
    model = converted(network())
    batch = batches(0, 1)[0]
    with adopt(model) as adoption:
        adoption.step(batch.x, batch.y)
    model.save_pretrained(tmp_path)
    again = DiTTransformer2DModel.from_pretrained(tmp_path)
    assert_same(again.state_dict(), model.state_dict(), 0)
