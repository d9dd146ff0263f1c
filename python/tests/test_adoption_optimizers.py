"""Optimizers and samplers that cannot be adopted, and what may not change while a module is."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from pipelines import Pipeline, batches, network
from refused_adoptions import TYPE, VALUE, refuses, snapshot

from speediff.torch import SigmaSampler, TimestepSampler, adopt

if TYPE_CHECKING:
    from collections.abc import Callable

    from speediff import NoiseSchedule

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")


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
        pipeline, r"only the module's parameters, got 1 others, the first of shape \(5,\)",
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
    refuses(
        pipeline, "the same number of steps for all parameters, got 1 for .* and 7 for blocks.0.mlp.fc1.bias"
    )
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
        r"optimizer must keep weight_decay = 0\.02 .*, got 0\.5",
    ),
    "other betas": (
        lambda p: p.optimizer.param_groups[0].update(betas=(0.5, 0.9)),
        r"must keep betas = .*, got \(0\.5, 0\.9\); give a scheduler",
    ),
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
            VALUE, match=r"step must run in a single process, got a sampler of 2 ranks; .*flat_gradients"
        ):
            adoption.step(x, y)
        adoption.backward(x, y)
        adoption.apply()
        assert sampler.step == 1
