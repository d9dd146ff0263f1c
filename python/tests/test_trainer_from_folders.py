"""Folders of diffusers: of the Hub, of a pipeline, in shards, of another precision."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from diffusers_dit import converted
from loaded_checkpoints import loads, refuses, state
from pipelines import network
from safetensors.torch import load_file, save_file

from speediff import SpeeDiffTypeError, SpeeDiffValueError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")


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
    refuses(tmp_path, "got .*fp16.safetensors, .*other.safetensors; choose one with variant=")


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
    changed(r"must name files in its own folder, got '\.\./x'", {"a": "../x"})
    changed("must be an index with a weight_map", [1])
    index.write_text("{")
    refuses(tmp_path, "must be an index with a weight_map")
    index.write_text(json.dumps(content))
    next(tmp_path.glob("*-00001-of-*")).unlink()
    refuses(tmp_path, "-00001-of-.* must be a safetensors file, got: No such file")
