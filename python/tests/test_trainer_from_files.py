"""Checkpoints as people have them: names that wrappers changed, narrow floats, folders of the Hub."""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from diffusers.training_utils import EMAModel
from diffusers_dit import converted
from pipelines import RATE, Pipeline, batches, network
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel

import speediff
from speediff import SpeeDiffFileError, SpeeDiffTypeError, SpeeDiffValueError
from speediff.torch import trainer_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from speediff import NoiseSchedule, Trainer

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")

State = dict[str, "Tensor"]


def loads(path: Path, expected: State, ema: State | None = None, **options: Any) -> None:
    """The trainer has exactly these values."""
    with trainer_from(path, **{"num_heads": 3, **options}) as trainer:
        assert_has(trainer, expected)
        assert_has(trainer, expected if ema is None else ema, ema=True)


def assert_has(trainer: Trainer, expected: State, *, ema: bool = False) -> None:
    found = trainer.state_dict(ema=ema)
    for name, value in expected.items():
        if name != "pos_embed":
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def refuses(path: Any, words: str, kind: type[Exception] = SpeeDiffFileError, **options: Any) -> str:
    with pytest.raises(speediff.SpeeDiffError, match=words) as caught:
        trainer_from(path, **{"num_heads": 3, **options})
    assert type(caught.value) is kind, repr(caught.value)
    return str(caught.value)


def state() -> State:
    found: State = network().state_dict()
    return found


def average() -> State:
    return {name: value if name == "pos_embed" else value + 0.25 for name, value in state().items()}


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


# ---- Folders of diffusers ------------------------------------------------------------------------


def folder(path: Path, **options: Any) -> Path:
    converted(network()).save_pretrained(path, **options)
    return path


def test_the_class_that_the_hub_names(tmp_path: Path) -> None:
    folder(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["_class_name"] = "Transformer2DModel"
    (tmp_path / "config.json").write_text(json.dumps(config))
    loads(tmp_path, state())
    config["norm_type"] = "layer_norm"
    (tmp_path / "config.json").write_text(json.dumps(config))
    refuses(tmp_path, "Transformer2DModel with norm_type = 'ada_norm_zero', got 'Transformer2DModel'")


def test_the_folder_of_a_pipeline(tmp_path: Path) -> None:
    folder(tmp_path / "transformer")
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "DiTPipeline"}))
    loads(tmp_path, state())


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("size", ["10GB", "100KB"])
def test_all_that_diffusers_saves(tmp_path: Path, safe: bool, variant: str | None, size: str) -> None:
    folder(tmp_path, safe_serialization=safe, variant=variant, max_shard_size=size)
    assert (len([*tmp_path.iterdir()]) > 2) == (size == "100KB")
    loads(tmp_path, state())
    loads(tmp_path, state(), variant=variant)


@pytest.mark.parametrize("name", ["safetensors.index.fp16.json", "safetensors.fp16.index.json"])
def test_where_versions_of_diffusers_put_the_variant(tmp_path: Path, name: str) -> None:
    folder(tmp_path, max_shard_size="100KB")
    (tmp_path / "diffusion_pytorch_model.safetensors.index.json").rename(
        tmp_path / f"diffusion_pytorch_model.{name}"
    )
    loads(tmp_path, state(), variant="fp16")


def test_the_plain_weights_go_before_variants(tmp_path: Path) -> None:
    folder(tmp_path)
    plain = tmp_path / "diffusion_pytorch_model.safetensors"
    narrow = {name: value.half() for name, value in load_file(plain).items()}
    for variant in ("fp16", "other"):
        save_file(narrow, tmp_path / f"diffusion_pytorch_model.{variant}.safetensors")
    loads(tmp_path, state())
    expected = {name: value.half().double() for name, value in state().items()}
    loads(tmp_path, expected, variant="fp16")
    refuses(tmp_path, r"must have diffusion_pytorch_model\.bf16\.safetensors .*, got .*fp16", variant="bf16")
    plain.unlink()
    refuses(tmp_path, "got .*fp16.safetensors, .*other.safetensors; variant tells which")


def test_a_variant_that_is_not_one(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "x.pt")
    refuses(tmp_path / "x.pt", "variant must be given only for a folder", SpeeDiffValueError, variant="fp16")
    refuses(tmp_path, "variant must be a string, got 16", SpeeDiffTypeError, variant=16)


def test_shards_that_are_not_all_there(tmp_path: Path) -> None:
    folder(tmp_path, max_shard_size="100KB")
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    content = json.loads(index.read_text())

    def changed(words: str, weight_map: object) -> None:
        index.write_text(json.dumps({"weight_map": weight_map}))
        refuses(tmp_path, words)

    changed(
        "got none of another", {**content["weight_map"], "another": content["weight_map"]["proj_out_1.bias"]}
    )
    changed(r"must name files beside it, got '\.\./x'", {"a": "../x"})
    changed("must be an index with a weight_map", [1])
    index.write_text("{")
    refuses(tmp_path, "must be an index with a weight_map")
    index.write_text(json.dumps(content))
    next(tmp_path.glob("*-00001-of-*")).unlink()
    refuses(tmp_path, "-00001-of-.* must be a safetensors file, got: No such file")


# ---- Another network -----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda **args: argparse.Namespace(**args), dict])
def test_a_checkpoint_of_sit_is_no_dit(tmp_path: Path, make: Any) -> None:
    """Its names and shapes are those of DiT."""
    for args, said in (
        ({"model": "SiT-XL/2", "path_type": "Linear", "prediction": "velocity"}, "prediction = 'velocity'"),
        ({"model": "SiT-XL/2", "path_type": "VP", "prediction": "noise"}, "path_type = 'VP'"),
        ({"prediction": "score"}, "prediction = 'score'"),
    ):
        torch.save({"model": state(), "ema": average(), "args": make(**args)}, tmp_path / "x.pt")
        refuses(tmp_path / "x.pt", f"whose args say .*{said}.*: it takes a time in")
    torch.save({"model": state(), "args": make(model="DiT-XL/2", image_size=256)}, tmp_path / "x.pt")
    loads(tmp_path / "x.pt", state())


# ---- What is no checkpoint -----------------------------------------------------------------------

OBJECTS: dict[str, tuple[Any, str]] = {
    "a path": (argparse.Namespace(out=Path("x")), r"pathlib\.(\w+\.)?PosixPath"),
    "a number of NumPy": (np.float64(1.5), r"numpy\.\w*\.?multiarray\.scalar"),
    "an array": (np.ones(3), r"numpy\.ndarray"),
    "a module": (torch.nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear"),
    "a function": (print, r"builtins\.print"),
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("what", OBJECTS)
def test_a_refused_pickle_says_what_it_holds(tmp_path: Path, what: str, zipped: bool) -> None:
    thing, found = OBJECTS[what]
    path = tmp_path / "x.pt"
    torch.save({"model": state(), "more": thing}, path, _use_new_zipfile_serialization=zipped)
    # Of its older format PyTorch names the first class alone.
    words = found if zipped else ".*"
    said = refuses(path, rf"alone, got .*{words}.*, which is not loaded .*; .*save its state dicts alone")
    assert "\n" not in said
    assert "\x1b" not in said
    assert "weights_only" not in said


def test_an_archive_of_torchscript(tmp_path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(tmp_path / "x.pt")
    said = refuses(tmp_path / "x.pt", r"got a TorchScript archive; save the module's state_dict\(\) instead")
    assert "\n" not in said


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_files_that_are_no_checkpoint(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    for content, found in (
        (b"", "got an empty file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
            "got a pointer of Git LFS .*git lfs pull",
        ),
        (b"<!doctype html>\n<html>", "got a web page"),
    ):
        path.write_bytes(content)
        refuses(path, f"must be a .*, {found}")
    path.unlink()
    refuses(path, "got: No such file or directory")
    os.mkfifo(path)
    refuses(path, "got no ordinary file")


@pytest.mark.parametrize("zipped", [True, False])
def test_each_cut_of_a_pickle_is_one_line(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "x.pt"
    torch.save({"model": state()}, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    for part in (1, 2, 7, 8, 100, 1000, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:part])
        said = refuses(
            path, "must be a checkpoint that PyTorch can load, got one that is cut short or damaged"
        )
        assert not re.search("\n|\x1b|weights_only|[Rr]e-running", said), said
