"""What a pipeline does to an adopted module is followed, or is an error: training never stops silently."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from pipelines import Pipeline, batches, by_hand, network
from torch.nn.utils import parametrizations, prune

import speediff
from speediff.torch import adopt

if TYPE_CHECKING:
    from collections.abc import Callable

    from speediff import NoiseSchedule

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")


def layer(pipeline: Pipeline) -> torch.nn.Linear:
    found: torch.nn.Linear = pipeline.model.blocks[1].mlp.fc1
    return found


def assign(module: torch.nn.Module) -> None:
    module.load_state_dict(copy.deepcopy(module.state_dict()), assign=True)


def group_of(pipeline: Pipeline) -> dict[str, Any]:
    found: dict[str, Any] = pipeline.optimizer.param_groups[0]
    return found


def another_layer(pipeline: Pipeline) -> None:
    pipeline.model.blocks[1].mlp.fc1 = copy.deepcopy(layer(pipeline))


def another_class(pipeline: Pipeline) -> None:
    pipeline.model.blocks[1].mlp.act = torch.nn.SiLU()


def no_momentum(pipeline: Pipeline) -> None:
    pipeline.optimizer.state[layer(pipeline).bias]["exp_avg"] = torch.zeros(192)


def step_of_some(pipeline: Pipeline) -> None:
    pipeline.optimizer.zero_grad()
    layer(pipeline)(torch.ones(1, 48)).sum().backward()
    pipeline.optimizer.step()


MEMORY = "must stay in the trainer's memory, got"
CHANGES: dict[str, tuple[Callable[[Pipeline], Any], str]] = {
    # Tensors that are other ones.
    "assign": (lambda p: assign(p.model), r"^module\..* must stay the parameter .*assign=True"),
    "assign to the average": (lambda p: assign(p.ema), "^ema must keep the tensors that were adopted"),
    "another layer": (another_layer, r"^module\.blocks\.1\.mlp\.fc1\.weight must stay the parameter"),
    "another activation": (another_class, "^module must stay as it was when it was adopted"),
    "one parameter more": (
        lambda p: layer(p).register_parameter("scale", torch.nn.Parameter(torch.ones(1))),
        r"^module must keep the parameters .* in blocks\.1\.mlp\.fc1\.scale",
    ),
    "one parameter less": (
        lambda p: layer(p).register_parameter("bias", None),
        r"^module must keep the parameters .* in blocks\.1\.mlp\.fc1\.bias",
    ),
    # Tensors that are elsewhere.
    "share_memory": (lambda p: p.model.share_memory(), rf"^module\..* {MEMORY} .*share_memory\(\)"),
    "half": (lambda p: p.model.half(), rf"^module\..* {MEMORY} torch.float16, as by .*half"),
    "bfloat16": (lambda p: p.model.to(torch.bfloat16), rf"^module\..* {MEMORY} torch.bfloat16"),
    "an average in double": (lambda p: p.ema.double(), rf"^ema\..* {MEMORY} torch.float64"),
    "another device": (lambda p: p.model.to("meta"), r"^module\..* must stay"),
    "data": (
        lambda p: setattr(layer(p).weight, "data", torch.zeros(192, 48)),
        rf"^module\.blocks\.1\.mlp\.fc1\.weight {MEMORY} .*\.data",
    ),
    "the same memory in another order": (
        lambda p: setattr(layer(p).weight, "data", layer(p).weight.data.view(48, 192).T),
        rf"^module\.blocks\.1\.mlp\.fc1\.weight {MEMORY}",
    ),
    # What the trainer does not do.
    "frozen": (
        lambda p: layer(p).weight.requires_grad_(False),
        r"^module\.blocks\.1\.mlp\.fc1\.weight must be trained, got requires_grad = False; undo this",
    ),
    "positions that are trained": (
        lambda p: p.model.pos_embed.requires_grad_(True),
        r"^module\.pos_embed must be frozen",
    ),
    "a hook": (
        lambda p: layer(p).register_forward_hook(lambda *_: None),
        r"^module\.blocks\.1\.mlp\.fc1 must have no hooks",
    ),
    "a hook of a parameter": (
        lambda p: layer(p).bias.register_hook(lambda gradient: gradient),
        r"^module\.blocks\.1\.mlp\.fc1\.bias must have no hooks",
    ),
    "an overridden forward": (
        lambda p: setattr(p.model, "forward", lambda *_: None),
        "^module must have no hooks, .* got an overridden forward",
    ),
    "pruning": (
        lambda p: prune.l1_unstructured(layer(p), "weight", amount=0.5),
        r"^module\.blocks\.1\.mlp\.fc1 must have no hooks",
    ),
    "a parametrization": (
        lambda p: parametrizations.weight_norm(layer(p)),
        r"^module\.blocks\.1\.mlp\.fc1 must have no parametrizations",
    ),
    "label dropout": (
        lambda p: setattr(p.model.y_embedder, "dropout_prob", 0.5),
        r"^module must keep class_dropout_prob = 0\.1 while it is adopted, got 0\.5",
    ),
    "heads": (
        lambda p: delattr(p.model.blocks[0].attn, "num_heads"),
        r"^module must keep num_heads = 3 while it is adopted, got None",
    ),
    "dropout": (
        lambda p: setattr(p.model.blocks[0].attn.drop, "p", 0.5),
        r"^module must keep dropout = \[0\.0\] while it is adopted, got \[0\.5\]",
    ),
    # The optimizer.
    "another group": (
        lambda p: p.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(3))]}),
        "^optimizer must have one parameter group.*, got 2",
    ),
    "another parameter": (
        lambda p: group_of(p)["params"].append(torch.nn.Parameter(torch.ones(3))),
        r"^optimizer must have only the module's parameters, got 1 others, .* shape \(3,\)",
    ),
    "a parameter less": (
        lambda p: group_of(p)["params"].pop(1),
        r"^optimizer must have all trained parameters .* none of x_embedder\.proj\.weight",
    ),
    "amsgrad": (lambda p: group_of(p).update(amsgrad=True), "^optimizer must have amsgrad = False"),
    "maximize": (lambda p: group_of(p).update(maximize=True), "^optimizer must have maximize = False"),
    "epsilon": (lambda p: group_of(p).update(eps=1e-3), r"^optimizer must keep eps = 1e-05 .*, got 0\.001"),
    "betas": (lambda p: group_of(p).update(betas=(0.5, 0.9)), r"^optimizer must keep betas = .*, got \(0\.5"),
    "decay": (
        lambda p: group_of(p).update(weight_decay=0.5),
        r"^optimizer must keep weight_decay = .*, got 0\.5",
    ),
    "a hook of the optimizer": (
        lambda p: p.optimizer.register_step_post_hook(lambda *_: None),
        "^optimizer must have no hooks",
    ),
    "no state": (lambda p: p.optimizer.state.clear(), "^optimizer must keep its state"),
    "another count": (
        lambda p: p.optimizer.state[layer(p).bias].update(step=torch.tensor(9.0)),
        "^optimizer must keep its state",
    ),
    "another moment": (no_momentum, "^optimizer must keep its state"),
    "a moment elsewhere": (
        lambda p: p.optimizer.state[layer(p).bias]["exp_avg"].share_memory_(),
        rf"^the optimizer's exp_avg of blocks\.1\.mlp\.fc1\.bias {MEMORY}",
    ),
    "a step with some parameters": (
        step_of_some,
        "^optimizer must step all parameters together, got 1 for some and 2 for others",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_that_the_trainer_cannot_follow(linear: NoiseSchedule, what: str) -> None:
    change, words = CHANGES[what]
    pipeline, (first, second) = Pipeline(network(), linear), batches(0, 2)
    pipeline.model.blocks[0].attn.drop = torch.nn.Dropout(0.0)
    with adopt(pipeline.model, pipeline.ema, pipeline.optimizer) as adoption:
        by_hand(adoption, first)
        change(pipeline)
        before = np.array(adoption.trainer.flat_parameters)
        for call in (lambda: adoption.step(second.x, second.y), lambda: by_hand(adoption, second)):
            with pytest.raises(speediff.SpeeDiffValueError, match=words):
                call()
        assert adoption.trainer.global_step == 1
        np.testing.assert_array_equal(adoption.trainer.flat_parameters, before)


def test_what_is_undone_is_no_change(linear: NoiseSchedule) -> None:
    """As freezing and hooks are for a while, to look at the module."""
    pipeline, (first, second) = Pipeline(network(), linear), batches(0, 2)
    with adopt(pipeline.model, pipeline.ema, pipeline.optimizer) as adoption:
        by_hand(adoption, first)
        flags = [parameter.requires_grad for parameter in pipeline.model.parameters()]
        pipeline.model.requires_grad_(False)
        handle = layer(pipeline).register_forward_hook(lambda *_: None)
        pipeline.model.eval()
        handle.remove()
        for parameter, flag in zip(pipeline.model.parameters(), flags, strict=True):
            parameter.requires_grad_(flag)
        by_hand(adoption, second)


@pytest.mark.parametrize("change", ["assign", "share_memory", "data", "half", "no state"])
def test_a_changed_module_is_released_as_it_is(linear: NoiseSchedule, change: str) -> None:
    pipeline = Pipeline(network(), linear)
    adoption = adopt(pipeline.model, pipeline.ema, pipeline.optimizer)
    by_hand(adoption, batches(0, 1)[0])
    CHANGES[change][0](pipeline)
    values = [parameter.detach().clone() for parameter in pipeline.model.parameters()]
    adoption.release()
    for parameter, value in zip(pipeline.model.parameters(), values, strict=True):
        assert torch.equal(parameter, value)
        assert parameter.is_shared() == (change == "share_memory")


def test_values_and_learning_rates_are_followed(linear: NoiseSchedule) -> None:
    """Whatever writes into a tensor writes into the trainer's memory."""
    pipeline = Pipeline(network(), linear)
    steps = itertools.chain.from_iterable(itertools.repeat(batches(0, 1)))
    with adopt(pipeline.model, pipeline.ema, pipeline.optimizer) as adoption:
        by_hand(adoption, next(steps))
        group_of(pipeline)["lr"] = 0.0
        with torch.no_grad():
            layer(pipeline).weight.zero_()
            layer(pipeline).bias.data.fill_(2)
        torch.nn.utils.vector_to_parameters(torch.full((192,), 3.0), [pipeline.model.blocks[0].mlp.fc1.bias])
        pipeline.optimizer.state[layer(pipeline).bias]["exp_avg"].zero_()
        # vector_to_parameters assigns to .data.
        with pytest.raises(speediff.SpeeDiffValueError, match=r"blocks\.0\.mlp\.fc1\.bias must stay"):
            by_hand(adoption, next(steps))
        assert not adoption.trainer.parameters["blocks.1.mlp.fc1.weight"].any()
        assert (adoption.trainer.parameters["blocks.1.mlp.fc1.bias"] == 2).all()
        assert not adoption.trainer.exp_avg["blocks.1.mlp.fc1.bias"].any()
