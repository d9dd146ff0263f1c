"""Reads checkpoints of other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._support import extras
from ...errors import SpeeDiffFileError, SpeeDiffTypeError, SpeeDiffValueError
from .._adoption.places import some
from .._networks.shapes import Hints
from .folders import open_folder
from .pickles import check_beginning, load_pickle
from .run_arguments import check_arguments
from .unwrapping import networks, unwrapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from .._adoption.places import Size

    State = dict[str, torch.Tensor]

_MODELS = ("model", "state_dict", "model_state_dict")
_AVERAGES = ("ema", "ema_state_dict", "model_ema", "ema_model")
_OPTIMIZERS = ("opt", "optimizer", "optimizer_state_dict")
"""The names that programs give to the parts of a checkpoint."""


class Contents(NamedTuple):
    """The content of a checkpoint."""

    path: str
    model: State
    ema: State | None = None
    optimizer: object = None
    hints: Hints = Hints()
    more_sizes: Mapping[str, Size] = {}
    """The shapes of tensors that are not saved."""


def read(path: str | os.PathLike[str], variant: str | None = None) -> Contents:
    """Reads a checkpoint file or folder.

    Raises:
        SpeeDiffFileError: If it cannot be read or is not a checkpoint.
        SpeeDiffValueError: If a variant is given for a file.
    """
    try:
        place = Path(os.fspath(path))
    except TypeError:
        raise SpeeDiffTypeError(f"path must be a string or a path, got {path!r}") from None
    if variant is not None and not isinstance(variant, str):
        raise SpeeDiffTypeError(f"variant must be a string, got {variant!r}")
    if place.is_dir():
        return _read_folder(place, variant)
    if variant is not None:
        raise SpeeDiffValueError(f"variant must be given only for a folder of diffusers, got {variant!r}")
    if place.suffix == ".safetensors":
        model, ema = networks(place, unwrapped(place, _load_safetensors(place)))
        return Contents(str(place), model, ema)
    return _read_pickle(place)


def group(path: str, saved: object) -> dict[str, Any]:
    """The single parameter group of an optimizer's state."""
    groups = saved.get("param_groups") if isinstance(saved, dict) else None
    if not (
        isinstance(groups, list)
        and len(groups) == 1
        and isinstance(groups[0], dict)
        and "params" in groups[0]
    ):
        raise SpeeDiffFileError(
            f"{path} must hold the state of an AdamW with one parameter group, or no optimizer, got another "
            "state"
        )
    found: dict[str, Any] = groups[0]
    return found


def _read_pickle(path: Path) -> Contents:
    loaded = load_pickle(path)
    if not isinstance(loaded, dict):
        raise SpeeDiffFileError(f"{path} must hold a state dict, got a {type(loaded).__name__}")
    check_arguments(path, loaded.get("args"))
    own, averaged, optimizer = (_first(loaded, names) for names in (_MODELS, _AVERAGES, _OPTIMIZERS))
    if own is None and averaged is None:
        model, ema = networks(path, unwrapped(path, loaded))
        return Contents(str(path), model, ema)
    if own is None:
        return Contents(str(path), networks(path, unwrapped(path, averaged))[0])
    model, ema = networks(path, unwrapped(path, own))
    if averaged is not None:
        ema = networks(path, _by_name(path, averaged, model))[0]
    return Contents(str(path), model, ema, optimizer)


def _first(loaded: Mapping[str, object], names: tuple[str, ...]) -> object:
    return next((loaded[name] for name in names if name in loaded), None)


def _by_name(path: Path, average: object, model: State) -> State:
    """The average as a state dict. diffusers' `EMAModel` saves a list in parameter order."""
    shadow = average.get("shadow_params") if isinstance(average, dict) else None
    if not isinstance(shadow, list):
        return unwrapped(path, average)
    names = [name for name, tensor in model.items() if tensor.is_floating_point()]
    if len(names) != len(shadow):
        raise SpeeDiffFileError(
            f"{path} must have an average of each of the model's {len(names)} parameters, got {len(shadow)}"
        )
    return unwrapped(path, dict(zip(names, shadow, strict=True)))


def _read_folder(path: Path, variant: str | None) -> Contents:
    folder = open_folder(path, variant)
    model: State = {}
    for file in folder.files:
        loaded = _load_safetensors(file) if file.suffix == ".safetensors" else load_pickle(file)
        model.update(unwrapped(file, loaded))
    if missing := folder.names - model.keys():
        raise SpeeDiffFileError(
            f"{folder.path} must have all tensors of its index, got none of {some(missing)}"
        )
    hints = Hints(folder.num_heads, frequency_shift=1.0)
    return Contents(
        str(folder.path), model, hints=hints, more_sizes={"pos_embed.pos_embed": folder.positions}
    )


def _load_safetensors(path: Path) -> State:
    check_beginning(path, "a safetensors file")
    loader = extras.load("safetensors.torch", f"reading {path.name}", install="safetensors")
    try:
        # load_file maps the file. If another program truncates a mapped file, the process dies of SIGBUS.
        state: State = loader.load(path.read_bytes())
    except Exception as error:
        raise SpeeDiffFileError(
            f"{path} must be a safetensors file, got a truncated or damaged one: {error}"
        ) from error
    if any(name.startswith("exp_avg.") for name in state):
        raise SpeeDiffFileError(
            f"{path} must be a state dict, got a SpeeDiff checkpoint; load it with speediff.Trainer.load"
        )
    return state
