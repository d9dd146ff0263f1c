"""Reads the checkpoints of others."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from .. import _extras
from ..errors import SpeeDiffFileError, SpeeDiffTypeError
from ._shapes import Hints

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._places import Size

    State = dict[str, torch.Tensor]

_WRAPPERS = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put before names."""

_DIFFUSERS = {
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "dropout": 0.0,
    "norm_elementwise_affine": False,
    "norm_eps": 1e-5,
    "norm_type": "ada_norm_zero",
    "upcast_attention": False,
}
"""What a DiT of diffusers has, unless its configuration says otherwise, and what the trainer has."""


class Contents(NamedTuple):
    """What a checkpoint holds."""

    path: str
    model: State
    ema: State | None = None
    optimizer: object = None
    hints: Hints = Hints()
    more_sizes: Mapping[str, Size] = {}
    """Of tensors that are not saved."""


def read(path: str | os.PathLike[str]) -> Contents:
    """Reads a file or a folder.

    Raises:
        SpeeDiffFileError: If it cannot be read, or is no checkpoint.
    """
    try:
        place = Path(os.fspath(path))
    except TypeError:
        raise SpeeDiffTypeError(f"path must be a string or a path, got {path!r}") from None
    if place.is_dir():
        return _read_folder(place)
    if place.suffix == ".safetensors":
        return Contents(str(place), _state(place, _load_safetensors(place)))
    return _read_pickle(place)


def group(path: str, saved: object) -> dict[str, Any]:
    """The parameter group of an optimizer's state."""
    groups = saved.get("param_groups") if isinstance(saved, dict) else None
    if not (
        isinstance(groups, list)
        and len(groups) == 1
        and isinstance(groups[0], dict)
        and "params" in groups[0]
    ):
        raise SpeeDiffFileError(
            f'{path} must have the state of an AdamW with one parameter group as "opt", got something else'
        )
    found: dict[str, Any] = groups[0]
    return found


def _read_pickle(path: Path) -> Contents:
    try:
        # DiT's train.py saves its arguments, too.
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise SpeeDiffFileError(
            f"{path} must be a checkpoint that PyTorch can load, got: {reason}"
        ) from error
    if not isinstance(loaded, dict):
        raise SpeeDiffFileError(f"{path} must hold a state dict, got a {type(loaded).__name__}")
    if not {"model", "ema"} & loaded.keys():
        return Contents(str(path), _state(path, loaded))
    model = _state(path, loaded.get("model", loaded.get("ema")))
    ema = _state(path, loaded["ema"]) if {"model", "ema"} <= loaded.keys() else None
    return Contents(str(path), model, ema, loaded.get("opt") if "model" in loaded else None)


def _read_folder(path: Path) -> Contents:
    try:
        config = json.loads((path / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise SpeeDiffFileError(
            f"{path} must be a folder of diffusers with a config.json, got: {error}"
        ) from error
    name = config.get("_class_name") if isinstance(config, dict) else None
    if name != "DiTTransformer2DModel":
        raise SpeeDiffFileError(f"{path} must hold a DiTTransformer2DModel, got {name!r}")
    for option, value in _DIFFUSERS.items():
        if config.get(option, value) != value:
            raise SpeeDiffFileError(f"{path} must have {option} = {value!r}, got {config[option]!r}")
    try:
        heads, size, patch = (
            int(config[key]) for key in ("num_attention_heads", "sample_size", "patch_size")
        )
        width = heads * int(config["attention_head_dim"])
        tokens = (size // patch) ** 2
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise SpeeDiffFileError(f"{path} must have a config.json of a DiT, got one with {error!r}") from error
    files = [path / f"diffusion_pytorch_model.{kind}" for kind in ("safetensors", "bin")]
    file = next((each for each in files if each.is_file()), files[0])
    model = (
        _state(file, _load_safetensors(file)) if file.suffix == ".safetensors" else _read_pickle(file).model
    )
    return Contents(
        str(path),
        model,
        hints=Hints(heads, frequency_shift=1.0),
        more_sizes={"pos_embed.pos_embed": (1, tokens, width)},
    )


def _load_safetensors(path: Path) -> State:
    loader = _extras.load("safetensors.torch", f"reading {path.name}", install="safetensors")
    try:
        # load_file maps the file, and a mapped file that another program shortens ends the process.
        state: State = loader.load(path.read_bytes())
    except Exception as error:
        raise SpeeDiffFileError(f"{path} must be a safetensors file, got: {error}") from error
    if any(name.startswith("exp_avg.") for name in state):
        raise SpeeDiffFileError(
            f"{path} must be a state dict, got a checkpoint of SpeeDiff; speediff.Trainer.load reads it"
        )
    return state


def _state(path: Path, state: object) -> State:
    """A state dict, without what wrappers put before its names."""
    if not isinstance(state, dict) or not state:
        raise SpeeDiffFileError(f"{path} must hold a state dict, got a {type(state).__name__}")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise SpeeDiffFileError(
                f"{path} must hold tensors by name, got a {type(tensor).__name__} as {name!r}"
            )
    for wrapper in (*_WRAPPERS, *_WRAPPERS):
        if all(name.startswith(wrapper) for name in state):
            state = {name.removeprefix(wrapper): tensor for name, tensor in state.items()}
    return state
