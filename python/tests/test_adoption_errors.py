"""What cannot be adopted: each refusal names it, and comes before anything has changed."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from pipelines import CLASSES, Pipeline, batches, network
from torch.nn.utils import parametrizations

import speediff
from speediff import SpeeDiffTypeError, SpeeDiffValueError
from speediff.torch import SigmaSampler, TimestepSampler, adopt

if TYPE_CHECKING:
    from collections.abc import Callable

    from speediff import NoiseSchedule

VALUE, TYPE = SpeeDiffValueError, SpeeDiffTypeError


pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")


def snapshot(pipeline: Pipeline) -> tuple[Any, ...]:
    """All that an adoption would change."""
    tensors = pipeline.tensors()
    modules = (pipeline.model, pipeline.ema)
    places = [p.data_ptr() for module in modules for p in module.parameters() if p.device.type == "cpu"]
    modes = [part.training for module in modules for part in module.modules()]
    values = {
        name: value.double().numpy().tobytes()
        for name, value in tensors.items()
        if value.device.type == "cpu"
    }
    return values, places, modes, len(pipeline.optimizer.state)


def refuses(
    pipeline: Pipeline, *words: str, kind: type[Exception] = VALUE, given: dict[str, Any] | None = None
) -> None:
    """Adopting raises this, with all these words, and leaves everything as it was."""
    before = snapshot(pipeline)
    arguments = {"module": pipeline.model, "ema": pipeline.ema, "optimizer": pipeline.optimizer}
    with pytest.raises(speediff.SpeeDiffError) as caught:
        adopt(**{**arguments, **(given or {})})
    assert type(caught.value) is kind, repr(caught.value)
    for word in words:
        assert re.search(word, str(caught.value)), f"{word!r} is not in {caught.value!s}"
    assert snapshot(pipeline) == before


@pytest.fixture
def pipeline(linear: NoiseSchedule) -> Pipeline:
    pipeline = Pipeline(network(), linear)
    pipeline.step(batches(0, 1)[0])
    return pipeline


# ---- The module ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (torch.nn.Linear(3, 3), "must be one of .*'s DiT, .*DiTTransformer2DModel, got a Linear"),
        ("DiT-S/2", "must be a module of PyTorch, got a str"),
        (None, "must be a module of PyTorch, got a NoneType"),
        (torch.nn.DataParallel(torch.nn.Linear(3, 3)), r"must be the network itself.*; give module\.module"),
        (torch.compile(torch.nn.Linear(3, 3)), r"must be the network itself.*; give module\._orig_mod"),
        (type("DiT", (torch.nn.Module,), {})(), r"must have x_embedder|must be built as"),
    ],
)
def test_a_module_of_another_class(pipeline: Pipeline, module: Any, words: str) -> None:
    refuses(pipeline, "^module", words, kind=TYPE, given={"module": module})


HOOKS = {
    "a forward hook": lambda m: m.blocks[1].mlp.register_forward_hook(print),
    "a forward pre-hook": lambda m: m.blocks[1].mlp.register_forward_pre_hook(print),
    "a backward hook": lambda m: m.blocks[1].mlp.register_full_backward_hook(print),
    "a backward pre-hook": lambda m: m.blocks[1].mlp.register_full_backward_pre_hook(print),
    "a forward of its own": lambda m: setattr(m.blocks[1].mlp, "forward", m.blocks[1].mlp.forward),
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
    refuses(pipeline, r"blocks\.1\.mlp\.fc1\.weight must have memory of its own, got that of .*blocks\.0")


def test_weights_that_overlap(pipeline: Pipeline) -> None:
    memory = torch.zeros(50)
    pipeline.model.blocks[0].attn.proj.bias.data = memory[:48]
    pipeline.model.blocks[1].attn.proj.bias.data = memory[2:]
    refuses(pipeline, r"attn\.proj\.bias must have memory of its own")


def test_positions_that_are_trained_or_others(pipeline: Pipeline) -> None:
    pipeline.model.pos_embed.requires_grad_(True)
    refuses(pipeline, r"^module\.pos_embed must be frozen")
    pipeline.model.pos_embed.requires_grad_(False)
    pipeline.model.pos_embed.data[0, 3, 5] += 0.01
    refuses(pipeline, r"^module\.pos_embed must be as the authors have it", "0.01 apart")


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
    refuses(pipeline, r"^module\.blocks\.0\.attn\.proj_drop must not drop anything but labels, got p = 0.1")


def test_a_module_with_other_tensors(pipeline: Pipeline) -> None:
    pipeline.model.blocks[0].attn.q_norm = torch.nn.LayerNorm(16)
    refuses(pipeline, r"the tensors of .*'s DiT alone, got blocks\.0\.attn\.q_norm")
    del pipeline.model.blocks[0].attn.q_norm, pipeline.model.blocks[1].mlp.fc1.bias
    pipeline.model.blocks[1].mlp.register_parameter("bias", None)
    optimizer = torch.optim.AdamW(pipeline.model.parameters())
    refuses(pipeline, r"blocks\.1\.mlp\.fc1\.bias", given={"optimizer": optimizer, "ema": None})


def test_a_module_without_what_tells_its_shape(pipeline: Pipeline) -> None:
    del pipeline.model.blocks[0].attn.num_heads
    refuses(pipeline, "^module must be built as .*num_heads", kind=TYPE)


def test_label_dropout_without_a_null_label(linear: NoiseSchedule) -> None:
    pipeline = Pipeline(network(class_dropout_prob=0.0), linear)
    refuses(pipeline, f"class_dropout_prob must be 0 where all {CLASSES}", given={"class_dropout_prob": 0.1})
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
    refuses(pipeline, "must have memory of its own, got that of", given={"ema": pipeline.model})
    refuses(pipeline, "must have memory of its own", given={"ema": list(pipeline.model.parameters())})


# ---- The optimizer -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SGD", "NAdam", "RAdam", "Adamax", "RMSprop"])
def test_an_optimizer_of_another_kind(pipeline: Pipeline, name: str) -> None:
    optimizer = getattr(torch.optim, name)(pipeline.model.parameters(), lr=1e-3)
    words = rf"must be torch\.optim\.AdamW, or Adam without weight decay, got a torch.*{name}"
    refuses(pipeline, "^optimizer", words, kind=TYPE, given={"optimizer": optimizer})


def test_an_optimizer_of_a_derived_class(pipeline: Pipeline) -> None:
    class Mine(torch.optim.AdamW):
        pass

    optimizer = Mine(pipeline.model.parameters())
    refuses(
        pipeline, "^optimizer must be torch.optim.AdamW", "Mine", kind=TYPE, given={"optimizer": optimizer}
    )
    refuses(pipeline, "^optimizer must be torch.optim.AdamW", "str", kind=TYPE, given={"optimizer": "AdamW"})


@pytest.mark.parametrize("option", ["amsgrad", "maximize", "capturable", "differentiable"])
def test_an_option_of_adamw_that_the_trainer_has_not(pipeline: Pipeline, option: str) -> None:
    optimizer = torch.optim.AdamW(pipeline.model.parameters(), **{option: True})
    refuses(pipeline, f"^optimizer must have {option} = False", "True", given={"optimizer": optimizer})


def test_adam_with_its_own_decay(pipeline: Pipeline) -> None:
    optimizer = torch.optim.Adam(pipeline.model.parameters(), weight_decay=0.1)
    refuses(pipeline, "weight_decay = 0 if it is Adam", "got 0.1", given={"optimizer": optimizer})


def test_parameter_groups(pipeline: Pipeline) -> None:
    first, *others = pipeline.model.parameters()
    optimizer = torch.optim.AdamW([{"params": [first], "lr": 1e-4}, {"params": others}])
    refuses(pipeline, "must have one parameter group, .* got 2$", given={"optimizer": optimizer})


def test_an_optimizer_of_other_parameters(pipeline: Pipeline) -> None:
    parameters = dict(pipeline.model.named_parameters())
    missing = parameters.pop("blocks.0.mlp.fc1.bias")
    refuses(
        pipeline, r"all trained parameters .*, got none of blocks\.0\.mlp\.fc1\.bias",
        given={"optimizer": torch.optim.AdamW(parameters.values())},
    )  # fmt: skip
    more = [*parameters.values(), missing, torch.nn.Parameter(torch.ones(5))]
    refuses(
        pipeline, r"parameters of the module alone, got 1 others, the first of shape \(5,\)",
        given={"optimizer": torch.optim.AdamW(more)},
    )  # fmt: skip
    refuses(pipeline, "got none of blocks", given={"optimizer": torch.optim.AdamW(pipeline.ema.parameters())})


def test_an_optimizer_with_hooks(pipeline: Pipeline) -> None:
    pipeline.optimizer.register_step_post_hook(print)
    refuses(pipeline, "^optimizer must have no hooks")


def test_a_state_that_does_not_fit(pipeline: Pipeline) -> None:
    bias = pipeline.model.blocks[0].mlp.fc1.bias
    state = pipeline.optimizer.state[bias]
    good = dict(state)
    state["step"] = torch.tensor(7.0)
    refuses(pipeline, "as many steps for all parameters, got 1 for .* and 7 for blocks.0.mlp.fc1.bias")
    state.update(good, exp_avg=torch.ones(3))
    refuses(pipeline, r"exp_avg of blocks\.0\.mlp\.fc1\.bias must have shape \(192,\), got \(3,\)")
    state.update(good, exp_avg_sq=good["exp_avg_sq"] * float("nan"))
    refuses(pipeline, r"exp_avg_sq of blocks\.0\.mlp\.fc1\.bias must be finite")
    state.update(good, exp_avg=good["exp_avg"].half())
    refuses(pipeline, r"exp_avg of blocks\.0\.mlp\.fc1\.bias must be a dense torch.float32", kind=TYPE)
    state.update(good)
    del state["exp_avg"]
    refuses(pipeline, r"must have step, exp_avg and exp_avg_sq for blocks\.0\.mlp\.fc1\.bias")


# ---- The sampler and the rest --------------------------------------------------------------------


def test_a_sampler_that_does_not_fit(pipeline: Pipeline, linear: NoiseSchedule) -> None:
    sampler = TimestepSampler(linear)
    refuses(pipeline, "sampler.step must be the optimizer's 1 steps, got 0", given={"sampler": sampler})
    refuses(pipeline, "^sampler must be a TimestepSampler", kind=TYPE, given={"sampler": SigmaSampler.edm()})
    refuses(pipeline, "^sampler must be a TimestepSampler", kind=TYPE, given={"sampler": torch.randint})
    halves = TimestepSampler(linear, accumulation=2)
    halves.step = 1
    halves.sample(4)
    refuses(pipeline, "between two training steps", given={"sampler": halves})


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("ema_decay", 1.5, VALUE),
        ("ema_decay", "0.9", TYPE),
        ("ema_warmup", 1, TYPE),
        ("max_grad_norm", 0.0, VALUE),
        ("seed", -1, VALUE),
        ("threads", 0, VALUE),
        ("threads", 1.5, TYPE),
    ],
)
def test_an_option_out_of_range(pipeline: Pipeline, name: str, value: Any, kind: type[Exception]) -> None:
    refuses(pipeline, name, "must be", kind=kind, given={name: value})


# ---- Afterwards ----------------------------------------------------------------------------------


def test_tensors_that_are_not_what_a_step_takes(pipeline: Pipeline) -> None:
    x, y = batches(0, 1)[0][:2]
    with adopt(pipeline.model, pipeline.ema, pipeline.optimizer) as adoption:
        for arguments, words, kind in (
            ((x.numpy(), y), "x must be a tensor, got a ndarray", TYPE),
            ((x.double(), y), "x must be a dense torch.float32 tensor, got torch.float64", TYPE),
            ((x.to("meta"), y), "x must be on the CPU, got one on meta", VALUE),
            ((x, y.int()), "y must be a dense torch.int64 tensor, got torch.int32", TYPE),
            ((x, y[:2]), r"y must have shape \(6,\), got \(2,\)", VALUE),
            ((x[:, :2], y), r"x must have shape \(n, 3, 16, 16\)", VALUE),
            ((x,), "y must be given to a network with labels", VALUE),
        ):
            with pytest.raises(kind, match=words):
                adoption.step(*arguments)
        for name in ("t", "noise", "weights"):
            with pytest.raises(TYPE, match=f"{name} must be a tensor, got a str"):
                adoption.backward(x, y, **{name: "drawn"})
        with pytest.raises(VALUE, match="apply must follow 1 calls of backward"):
            adoption.apply()
        assert float(pipeline.optimizer.state[pipeline.model.blocks[0].mlp.fc1.bias]["step"]) == 1


AFTERWARDS: dict[str, tuple[Callable[[Pipeline], Any], str]] = {
    "moved": (lambda p: p.model.double(), r"module\..* must stay in the trainer's memory"),
    "an average moved": (lambda p: p.ema.double(), r"ema\..* must stay in the trainer's memory"),
    "another state": (
        lambda p: p.optimizer.load_state_dict(p.optimizer.state_dict()),
        "optimizer must keep its state .* load_state_dict",
    ),
    "another decay": (
        lambda p: p.optimizer.param_groups[0].update(weight_decay=0.5),
        r"optimizer must keep .*weight_decay=0.02.*, got .*weight_decay=0.5",
    ),
    "other betas": (lambda p: p.optimizer.param_groups[0].update(betas=(0.5, 0.9)), "betas=.0.5, 0.9"),
    "another rate": (lambda p: p.optimizer.param_groups[0].update(lr=-1.0), "learning_rate must be"),
}


@pytest.mark.parametrize("what", AFTERWARDS)
def test_what_may_not_change_while_it_is_adopted(pipeline: Pipeline, what: str) -> None:
    change, words = AFTERWARDS[what]
    x, y = batches(0, 1)[0][:2]
    with adopt(pipeline.model, pipeline.ema, pipeline.optimizer) as adoption:
        adoption.step(x, y)
        change(pipeline)
        before = snapshot(pipeline)
        for call in (lambda: adoption.step(x, y), lambda: adoption.backward(x, y)):
            with pytest.raises(VALUE, match=words):
                call()
        assert snapshot(pipeline) == before
        assert adoption.trainer.global_step == 2


def test_a_loaded_state_stays_when_the_module_is_released(pipeline: Pipeline) -> None:
    saved = copy.deepcopy(pipeline.optimizer.state_dict())
    with adopt(pipeline.model, pipeline.ema, pipeline.optimizer) as adoption:
        adoption.step(*batches(0, 1)[0][:2])
        pipeline.optimizer.load_state_dict(saved)
    assert float(pipeline.optimizer.state[pipeline.model.blocks[0].mlp.fc1.bias]["step"]) == 1


def test_a_module_may_load_weights_while_it_is_adopted(pipeline: Pipeline) -> None:
    x, y = batches(0, 1)[0][:2]
    with adopt(pipeline.model) as adoption:
        pipeline.model.load_state_dict(network(depth=2).state_dict())
        expected = network().x_embedder.proj.weight.detach().numpy()
        np.testing.assert_array_equal(adoption.trainer.parameters["x_embedder.proj.weight"], expected)
        adoption.step(x, y)


def test_ranks_take_the_halves_of_a_step(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler(linear, rank=0, world_size=2)
    x, y = batches(0, 1)[0][:2]
    with adopt(network(), sampler=sampler) as adoption:
        with pytest.raises(
            VALUE, match=r"step must be that of one process, got a sampler of 2; .*flat_gradients"
        ):
            adoption.step(x, y)
        adoption.backward(x, y)
        adoption.apply()
        assert sampler.step == 1
