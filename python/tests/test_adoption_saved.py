"""An adopted module of diffusers is saved, loaded and copied as others are, though its embedders are one."""

from __future__ import annotations

import copy
import io
import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import torch
from diffusers import DiTTransformer2DModel
from diffusers.training_utils import EMAModel
from diffusers_dit import converted, predict, tied
from pipelines import EMA_DECAY, Pipeline, assert_same, batches, network
from safetensors.torch import load_file, save_file

import speediff
from speediff.torch import adopt, trainer_from

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from speediff import NoiseSchedule
    from speediff.torch import Adoption

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")

EMBEDDER = "transformer_blocks.{}.norm1.emb.timestep_embedder.linear_1.bias"


@pytest.fixture(params=[converted, lambda model: tied(converted(model))], ids=["equal", "tied"])
def pipeline(request: Any, linear: NoiseSchedule) -> Pipeline:
    """With embedders of two blocks that are equal, or the same module."""
    return Pipeline(request.param(network()), linear, predict)


@pytest.fixture
def adoption(pipeline: Pipeline) -> Iterator[Adoption]:
    """Of that module, trained a little."""
    batch = batches(0, 1)[0]
    with adopt(pipeline.model, pipeline.ema, pipeline.optimizer, ema_decay=EMA_DECAY) as adoption:
        adoption.step(batch.x, batch.y)
        yield adoption


@pytest.fixture
def accelerator() -> Iterator[Any]:
    """accelerate's, whose state is that of the process."""
    accelerate = pytest.importorskip("accelerate")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    yield accelerate.Accelerator(cpu=True, mixed_precision="bf16")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def test_diffusers_saves_it(pipeline: Pipeline, adoption: Adoption, tmp_path: Path) -> None:
    for module, name in ((pipeline.model, "model"), (pipeline.ema, "ema")):
        module.save_pretrained(tmp_path / name)
        again = DiTTransformer2DModel.from_pretrained(tmp_path / name)
        assert_same(again.state_dict(), module.state_dict(), 0)
    with trainer_from(tmp_path / "model") as trainer:
        assert_same(
            {name: torch.from_numpy(value) for name, value in trainer.state_dict().items()},
            {name: torch.from_numpy(value) for name, value in adoption.trainer.state_dict().items()},
            0,
        )


def test_safetensors_and_accelerate_save_it_whole(
    pipeline: Pipeline, adoption: Adoption, accelerator: Any, tmp_path: Path
) -> None:
    save_file(pipeline.model.state_dict(), tmp_path / "model.safetensors")
    assert_same(load_file(tmp_path / "model.safetensors"), pipeline.model.state_dict(), 0)
    accelerator.save_model(pipeline.model, tmp_path / "accelerate")
    found = load_file(tmp_path / "accelerate" / "model.safetensors")
    assert_same(found, pipeline.model.state_dict(), 0)


def test_what_accelerate_prepared_is_adopted_from_inside(accelerator: Any) -> None:
    model = converted(network())
    optimizer = torch.optim.AdamW(model.parameters())
    prepared, wrapped = accelerator.prepare(model, optimizer)
    with pytest.raises(
        speediff.SpeeDiffValueError, match=r"an overridden forward; accelerator\.unwrap_model"
    ):
        adopt(prepared)
    inside = accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)
    with pytest.raises(speediff.SpeeDiffTypeError, match=r"AcceleratedOptimizer; pass optimizer\.optimizer"):
        adopt(inside, None, wrapped)
    batch = batches(0, 1)[0]
    with adopt(inside, None, wrapped.optimizer) as adoption:
        adoption.step(batch.x, batch.y)


def test_an_ema_model_saves_it(linear: NoiseSchedule, tmp_path: Path) -> None:
    pipeline, batch = Pipeline(converted(network()), linear, predict), batches(0, 1)[0]
    model = pipeline.model
    ema = EMAModel(model.parameters(), model_cls=DiTTransformer2DModel, model_config=model.config)
    with adopt(model, ema, pipeline.optimizer) as adoption:
        for _ in range(2):
            adoption.step(batch.x, batch.y)
        ema.save_pretrained(tmp_path)
        again = EMAModel.from_pretrained(tmp_path, DiTTransformer2DModel)
        assert json.loads((tmp_path / "config.json").read_text())["optimization_step"] == 2
        named = (dict(enumerate(each.shadow_params)) for each in (again, ema))
        assert_same(*({str(key): value for key, value in each.items()} for each in named), 0)


def test_values_in_a_state_dict_are_those_of_the_module(pipeline: Pipeline, adoption: Adoption) -> None:
    """Writing into the first of equal ones writes into the module, as PyTorch has it."""
    state = pipeline.model.state_dict()
    state[EMBEDDER.format(0)].fill_(0.5)
    for parameter in (
        block.norm1.emb.timestep_embedder.linear_1.bias for block in pipeline.model.transformer_blocks
    ):
        assert (parameter == 0.5).all()
    variables = pipeline.model.state_dict(keep_vars=True)
    named = dict(pipeline.model.named_parameters(remove_duplicate=False))
    assert all(variables[name] is parameter for name, parameter in named.items())


def test_what_it_loads_must_be_equal(pipeline: Pipeline, adoption: Adoption) -> None:
    batch = batches(0, 1)[0]
    good = {
        name: value + 0.25
        for name, value in pipeline.model.state_dict().items()
        if "pos_embed.pos" not in name
    }
    for module, what in ((pipeline.model, "module"), (pipeline.ema, "ema")):
        before = {name: value.clone() for name, value in module.state_dict().items()}
        bad = {**good, EMBEDDER.format(1): good[EMBEDDER.format(1)] + 1}
        with pytest.raises(
            speediff.SpeeDiffValueError, match=rf"^the state dict for {what} at .*blocks\.1.* must equal"
        ):
            module.load_state_dict(bad, strict=False)
        assert_same(module.state_dict(), before, 0)
        module.load_state_dict(good, strict=False)
        assert_same({name: module.state_dict()[name] for name in good}, good, 0)
    adoption.step(batch.x, batch.y)


def test_copies_and_what_is_released_are_like_any_module(pipeline: Pipeline) -> None:
    batch = batches(0, 1)[0]
    adoption = adopt(pipeline.model, pipeline.ema, pipeline.optimizer, ema_decay=EMA_DECAY)
    adoption.step(batch.x, batch.y)
    buffer = io.BytesIO()
    torch.save(pipeline.model, buffer)
    buffer.seek(0)
    copies = [
        copy.deepcopy(pipeline.model),
        pickle.loads(pickle.dumps(pipeline.model)),
        torch.load(buffer, weights_only=False),
    ]
    expected = {name: value.clone() for name, value in pipeline.model.state_dict().items()}
    adoption.step(batch.x, batch.y)
    adoption.release()
    assert not pipeline.model._state_dict_hooks
    assert not pipeline.model._load_state_dict_pre_hooks
    for each in (*copies, pipeline.model):
        if each is not pipeline.model:
            assert_same(each.state_dict(), expected, 0)
        changed = {name: value.clone() for name, value in each.state_dict().items()}
        changed[EMBEDDER.format(0)] += 1
        each.load_state_dict(changed)


def test_a_module_that_is_adopted_again_is_released_whole(pipeline: Pipeline) -> None:
    kept = adopt(pipeline.model, pipeline.ema, pipeline.optimizer, ema_decay=EMA_DECAY)
    adopt(pipeline.model, pipeline.ema, pipeline.optimizer, ema_decay=EMA_DECAY).release()
    kept.release()
    for module in (pipeline.model, pipeline.ema):
        assert not module._state_dict_hooks
        assert not module._load_state_dict_pre_hooks


def test_files_are_no_larger_than_their_tensors(pipeline: Pipeline, adoption: Adoption) -> None:
    for values in (pipeline.model.state_dict(), pipeline.optimizer.state_dict()):
        file = io.BytesIO()
        torch.save(values, file)
        tensors = (
            values.values()
            if "state" not in values
            else [t for s in values["state"].values() for t in s.values()]
        )
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        assert len(file.getvalue()) < size + 100_000
