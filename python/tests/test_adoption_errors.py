"""Modules and averages that cannot be adopted: each refusal names what, before anything has changed."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from pipelines import CLASSES, Pipeline, network
from refused_adoptions import TYPE, VALUE, refuses
from torch.nn.utils import parametrizations

from speediff.torch import adopt

if TYPE_CHECKING:
    from collections.abc import Callable

    from speediff import NoiseSchedule

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")


# ---- The module ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (torch.nn.Linear(3, 3), "must be one of .*'s DiT, .*DiTTransformer2DModel, got a Linear"),
        ("DiT-S/2", "must be a PyTorch module, got a str"),
        (None, "must be a PyTorch module, got a NoneType"),
        (torch.nn.DataParallel(torch.nn.Linear(3, 3)), r"must be the network itself.*; pass module\.module"),
        (torch.compile(torch.nn.Linear(3, 3)), r"must be the network itself.*; pass module\._orig_mod"),
        (type("DiT", (torch.nn.Module,), {})(), r"must have x_embedder|must be built like"),
    ],
)
def test_a_module_of_another_class(pipeline: Pipeline, module: Any, words: str) -> None:
    refuses(pipeline, "^module", words, kind=TYPE, given={"module": module})


HOOKS = {
    "a forward hook": lambda m: m.blocks[1].mlp.register_forward_hook(print),
    "a forward pre-hook": lambda m: m.blocks[1].mlp.register_forward_pre_hook(print),
    "a backward hook": lambda m: m.blocks[1].mlp.register_full_backward_hook(print),
    "a backward pre-hook": lambda m: m.blocks[1].mlp.register_full_backward_pre_hook(print),
    "an overridden forward": lambda m: setattr(m.blocks[1].mlp, "forward", lambda x: x),
    "a parametrization": lambda m: parametrizations.weight_norm(m.blocks[1].mlp.fc1),
}


@pytest.mark.parametrize("kind", HOOKS)
def test_a_module_with_hooks(pipeline: Pipeline, kind: str) -> None:
    HOOKS[kind](pipeline.model)
    optimizer = torch.optim.AdamW(pipeline.model.parameters())
    refuses(pipeline, r"^module\.blocks\.1\.mlp", "hooks|parametrizations", given={"optimizer": optimizer})


@pytest.mark.parametrize("hook", ["register_hook", "register_post_accumulate_grad_hook"])
def test_a_parameter_with_hooks(pipeline: Pipeline, hook: str) -> None:
    getattr(pipeline.model.blocks[0].mlp.fc1.bias, hook)(print)
    refuses(pipeline, r"^module\.blocks\.0\.mlp\.fc1\.bias must have no hooks")


class Strange(torch.nn.Parameter):
    """Of another class."""


PARAMETERS: dict[str, tuple[Callable[[Any], Any], str, type[Exception]]] = {
    "frozen": (lambda p: p.requires_grad_(False), "must be trained, got requires_grad = False", VALUE),
    "double": (lambda p: p.double(), "torch.float32 tensor, got torch.float64", TYPE),
    "half": (lambda p: p.bfloat16(), "torch.float32 tensor, got torch.bfloat16", TYPE),
    "meta": (lambda p: p.to("meta"), "must be on the CPU, got one on meta", VALUE),
    "not finite": (lambda p: p.detach().fill_(float("nan")), "must be finite", VALUE),
    "a class of its own": (lambda p: Strange(p.detach()), "must be an ordinary tensor, got a Strange", TYPE),
}


@pytest.mark.parametrize("what", PARAMETERS)
def test_a_parameter_that_the_trainer_cannot_have(pipeline: Pipeline, what: str) -> None:
    change, words, kind = PARAMETERS[what]
    layer = pipeline.model.blocks[1].attn.proj
    changed = change(layer.weight)
    layer.weight = changed if isinstance(changed, torch.nn.Parameter) else torch.nn.Parameter(changed)
    refuses(pipeline, r"^module\.blocks\.1\.attn\.proj\.weight", words, kind=kind)


def test_weights_that_are_tied(pipeline: Pipeline) -> None:
    blocks = pipeline.model.blocks
    blocks[1].mlp.fc1.weight = blocks[0].mlp.fc1.weight
    refuses(pipeline, r"blocks\.1\.mlp\.fc1\.weight must have its own memory, got that of .*blocks\.0")


def test_weights_that_overlap(pipeline: Pipeline) -> None:
    memory = torch.zeros(50)
    pipeline.model.blocks[0].attn.proj.bias.data = memory[:48]
    pipeline.model.blocks[1].attn.proj.bias.data = memory[2:]
    refuses(pipeline, r"attn\.proj\.bias must have its own memory")


def test_positions_that_are_trained_or_others(pipeline: Pipeline) -> None:
    pipeline.model.pos_embed.requires_grad_(True)
    refuses(pipeline, r"^module\.pos_embed must be frozen")
    pipeline.model.pos_embed.requires_grad_(False)
    pipeline.model.pos_embed.data[0, 3, 5] += 0.01
    refuses(pipeline, r"^module\.pos_embed must have the values of the authors' code", "up to 0.01")


def test_positions_that_averaging_has_moved_are_set_right(pipeline: Pipeline) -> None:
    positions = pipeline.model.pos_embed
    right = positions.detach().clone()
    positions.data += 1e-4
    with adopt(pipeline.model):
        assert torch.allclose(positions, right, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m.blocks[0].mlp, "act", torch.nn.GELU()),
        lambda m: setattr(m.blocks[0].attn, "num_heads", 6),
        lambda m: [setattr(block.attn, "num_heads", 1) for block in m.blocks[1:]],
        lambda m: setattr(m.t_embedder, "frequency_shift", 1),
        lambda m: setattr(m.blocks[1].norm2, "eps", 1e-3),
        lambda m: setattr(m, "unpatchify", lambda x: x.reshape(2, 3, 32, 16)),
    ],
    ids=["GELU", "heads", "heads of one block", "frequencies", "epsilon", "unpatchify"],
)
def test_a_module_that_computes_something_else(pipeline: Pipeline, change: Any) -> None:
    change(pipeline.model)
    refuses(pipeline, "^module must (compute what|give outputs)")


def test_a_module_that_cannot_be_called(pipeline: Pipeline) -> None:
    pipeline.model.unpatchify = None
    refuses(pipeline, "^module must be called as .*'s DiT is, got TypeError", kind=TYPE)


def test_a_module_that_drops_more_than_labels(pipeline: Pipeline) -> None:
    pipeline.model.blocks[0].attn.proj_drop = torch.nn.Dropout(0.1)
    refuses(pipeline, r"^module\.blocks\.0\.attn\.proj_drop must have no dropout, got p = 0.1")


def test_a_module_with_other_tensors(pipeline: Pipeline) -> None:
    pipeline.model.blocks[0].attn.q_norm = torch.nn.LayerNorm(16)
    refuses(pipeline, r"only the tensors of .*'s DiT, got blocks\.0\.attn\.q_norm")
    del pipeline.model.blocks[0].attn.q_norm, pipeline.model.blocks[1].mlp.fc1.bias
    pipeline.model.blocks[1].mlp.register_parameter("bias", None)
    optimizer = torch.optim.AdamW(pipeline.model.parameters())
    refuses(pipeline, r"blocks\.1\.mlp\.fc1\.bias", given={"optimizer": optimizer, "ema": None})


def test_a_module_without_what_tells_its_shape(pipeline: Pipeline) -> None:
    del pipeline.model.blocks[0].attn.num_heads
    refuses(pipeline, "^module must be built like .*num_heads", kind=TYPE)


def test_label_dropout_without_a_null_label(linear: NoiseSchedule) -> None:
    pipeline = Pipeline(network(class_dropout_prob=0.0), linear)
    refuses(
        pipeline,
        f"class_dropout_prob must be 0 for module, whose {CLASSES}",
        given={"class_dropout_prob": 0.1},
    )
    pipeline = Pipeline(network(), linear)
    refuses(pipeline, "class_dropout_prob must be in", given={"class_dropout_prob": 1.5})
    refuses(pipeline, "class_dropout_prob must be a real", kind=TYPE, given={"class_dropout_prob": "0.1"})


# ---- The average ---------------------------------------------------------------------------------


def test_an_average_of_something_else(pipeline: Pipeline) -> None:
    refuses(pipeline, "^ema must be a copy of the module", kind=TYPE, given={"ema": torch.nn.Linear(1, 1)})
    refuses(pipeline, "^ema must be a copy of the module", kind=TYPE, given={"ema": 0.999})
    other = network(depth=3)
    refuses(pipeline, r"^ema must be a copy of the module, .* blocks\.2\.", given={"ema": other})
    wider = network(hidden_size=60)
    refuses(pipeline, r"^ema\..* must have shape", given={"ema": wider})
    refuses(
        pipeline, "tensor for each of the module's 32 parameters, got 2", given={"ema": [torch.ones(1)] * 2}
    )
    strings = ["x"] * 32
    refuses(pipeline, "must be an ordinary tensor, got a str", kind=TYPE, given={"ema": strings})
    refuses(pipeline, "float64", kind=TYPE, given={"ema": copy.deepcopy(pipeline.ema).double()})


def test_an_average_that_is_the_module(pipeline: Pipeline) -> None:
    refuses(pipeline, "must have its own memory, got that of", given={"ema": pipeline.model})
    refuses(pipeline, "must have its own memory", given={"ema": list(pipeline.model.parameters())})
