"""Checkpoints as people have them: names that wrappers and programs changed, and narrow floats."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from diffusers.training_utils import EMAModel
from loaded_checkpoints import average, loads, refuses, state
from pipelines import RATE, Pipeline, batches, network
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel

from speediff import SpeeDiffValueError
from speediff.torch import trainer_from

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loaded_checkpoints import State

    from speediff import NoiseSchedule

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")


def renamed(rule: Callable[[str], str], values: State) -> State:
    return {rule(name): value for name, value in values.items()}


def within(wrapper: str) -> Callable[[str], str]:
    """A wrapper around each block."""
    return lambda name: re.sub(r"^(blocks\.\d+)", rf"\1.{wrapper}", name)


# ---- Names ---------------------------------------------------------------------------------------

RULES: dict[str, Callable[[str], str]] = {
    "DistributedDataParallel": lambda name: f"module.{name}",
    "torch.compile": lambda name: f"_orig_mod.{name}",
    "both": lambda name: f"module._orig_mod.{name}",
    "compiled blocks": within("_orig_mod"),
    "checkpointed blocks": within("_checkpoint_wrapped_module"),
    "FSDP": lambda name: (
        f"_fsdp_wrapped_module.{within('_fsdp_wrapped_module._checkpoint_wrapped_module')(name)}"
    ),
    "a training module": lambda name: f"model.{name}",
    "a training module of a wrapped one": lambda name: f"net.module.{within('_orig_mod')(name)}",
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_names_that_a_wrapper_changed(tmp_path: Path, rule: str, suffix: str) -> None:
    path, values = tmp_path / f"x.{suffix}", renamed(RULES[rule], state())
    torch.save(values, path) if suffix == "pt" else save_file(values, path)
    loads(path, state())


def test_the_wrappers_of_pytorch_itself(tmp_path: Path) -> None:
    model = network()
    compiled = copy.deepcopy(model)
    compiled.blocks[1] = torch.compile(compiled.blocks[1])
    averaged = AveragedModel(model)
    with torch.no_grad():
        for parameter in averaged.parameters():
            if parameter.requires_grad:
                parameter += 0.25
    assert "n_averaged" in averaged.state_dict()
    assert any("._orig_mod." in name for name in compiled.state_dict())
    torch.save({"model": compiled.state_dict(), "ema": averaged.state_dict()}, tmp_path / "x.pt")
    loads(tmp_path / "x.pt", state(), average())
    torch.save(averaged.state_dict(), tmp_path / "x.pt")
    loads(tmp_path / "x.pt", average())


@pytest.mark.parametrize("optimizer", ["opt", "optimizer", "optimizer_state_dict"])
def test_what_programs_call_the_optimizer(linear: NoiseSchedule, tmp_path: Path, optimizer: str) -> None:
    pipeline = Pipeline(network(), linear)
    pipeline.step(batches(0, 1)[0])
    saved = {"model": pipeline.model.state_dict(), optimizer: pipeline.optimizer.state_dict()}
    torch.save(saved, tmp_path / "x.pt")
    with trainer_from(tmp_path / "x.pt", num_heads=3) as trainer:
        assert (trainer.global_step, trainer.learning_rate) == (1, RATE)
        moment = pipeline.optimizer.state[pipeline.model.blocks[1].mlp.fc1.bias]["exp_avg"]
        np.testing.assert_array_equal(trainer.exp_avg["blocks.1.mlp.fc1.bias"], moment)


@pytest.mark.parametrize(
    ("own", "averaged"),
    [
        ("model", "ema"),
        ("state_dict", "ema_state_dict"),
        ("model_state_dict", "model_ema"),
        ("model", "ema_model"),
    ],
)
def test_what_programs_call_the_parts(tmp_path: Path, own: str, averaged: str) -> None:
    torch.save({own: state(), averaged: average(), "epoch": 3}, tmp_path / "x.pt")
    loads(tmp_path / "x.pt", state(), average())
    torch.save({averaged: average(), "epoch": 3}, tmp_path / "x.pt")
    loads(tmp_path / "x.pt", average())


def test_a_training_module_with_an_average_and_more(tmp_path: Path) -> None:
    """As Lightning saves one: all that it holds in one state dict."""
    values = {
        **renamed(lambda name: f"model.{name}", state()),
        **renamed(lambda name: f"ema.module.{name}", average()),
        "vae.decoder.weight": torch.ones(2),
    }
    torch.save({"state_dict": values, "global_step": 3}, tmp_path / "x.ckpt")
    loads(tmp_path / "x.ckpt", state(), average())
    values.update(renamed(lambda name: f"teacher.{name}", state()))
    torch.save({"state_dict": values}, tmp_path / "x.ckpt")
    refuses(tmp_path / "x.ckpt", r"must hold one network, .*got 'ema\.', 'model\.', 'teacher\.'")
    # One may stand beside the network's own names.
    torch.save({**state(), **renamed(lambda name: f"ema.{name}", average())}, tmp_path / "x.ckpt")
    loads(tmp_path / "x.ckpt", state(), average())


def test_two_tensors_of_one_name(tmp_path: Path) -> None:
    torch.save({**state(), "module.pos_embed": torch.ones(1)}, tmp_path / "x.pt")
    refuses(tmp_path / "x.pt", r"one tensor of each name, got pos_embed and module\.pos_embed")


def test_the_state_of_an_ema_model(tmp_path: Path) -> None:
    model = network()
    ema = EMAModel(model.parameters())
    ema.shadow_params = [average()[name] for name, _ in model.named_parameters()]
    torch.save({"model": model.state_dict(), "ema": ema.state_dict()}, tmp_path / "x.pt")
    loads(tmp_path / "x.pt", state(), average())
    ema.shadow_params.pop()
    torch.save({"model": model.state_dict(), "ema": ema.state_dict()}, tmp_path / "x.pt")
    refuses(tmp_path / "x.pt", "an average of each of the model's 32 parameters, got 31")


# ---- Values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_narrow_floats_are_widened_exactly(tmp_path: Path, dtype: torch.dtype, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    narrow = {name: value.to(dtype) for name, value in state().items()}
    torch.save(narrow, path) if suffix == "pt" else save_file(narrow, path)
    loads(path, {name: value.double() for name, value in narrow.items()})


def test_what_is_too_large_for_a_narrow_float_is_not_finite(tmp_path: Path) -> None:
    values = {name: (value * 1e9).half() for name, value in state().items() if name != "pos_embed"}
    torch.save({**values, "pos_embed": state()["pos_embed"]}, tmp_path / "x.pt")
    refuses(tmp_path / "x.pt", "must be finite", SpeeDiffValueError)
