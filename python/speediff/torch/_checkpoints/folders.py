"""Folders of diffusers: a DiT or a pipeline with one, with sharded weights and variants."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import SpeeDiffFileError

if TYPE_CHECKING:
    from pathlib import Path

_CLASS = "DiTTransformer2DModel"

_WANTED = {
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "dropout": 0.0,
    "norm_elementwise_affine": False,
    "norm_eps": 1e-5,
    "norm_type": "ada_norm_zero",
    "upcast_attention": False,
}
"""Options of a diffusers DiT with the values that the trainer supports, which are also the defaults."""

_WHOLE = re.compile(r"diffusion_pytorch_model(?:\.([^.]+))?\.(safetensors|bin)")
_INDEX = re.compile(
    r"diffusion_pytorch_model(?:\.([^.]+))??\.(safetensors|bin)(?:\.([^.]+))??\.index(?:\.([^.]+))?\.json"
)
_SHARD = re.compile(r"-\d{5}-of-\d{5}")


class Folder(NamedTuple):
    """A diffusers DiT folder."""

    path: Path
    num_heads: int
    positions: tuple[int, ...]
    """The shape of the position embedding, which is not saved."""
    files: list[Path]
    """The weight files."""
    names: frozenset[str]
    """The tensors that the files must hold together; empty: no list."""


class _Weights(NamedTuple):
    path: Path
    variant: str | None
    kind: str
    is_index: bool


def open_folder(path: Path, variant: str | None) -> Folder:
    """Reads the configuration and finds the weights.

    Args:
        path: The folder of a model or pipeline.
        variant: As in `from_pretrained`, such as "fp16"; None: the plain weights, or the only ones.

    Raises:
        SpeeDiffFileError: If the model is unsupported or files are missing.
    """
    if not (path / "config.json").exists() and (path / "transformer" / "config.json").exists():
        path /= "transformer"
    config = _config(path)
    name = config.get("_class_name")
    # The former class name of DiTs, still used on the Hub.
    if name == "Transformer2DModel" and config.get("norm_type") == _WANTED["norm_type"]:
        name = _CLASS
    if name != _CLASS:
        raise SpeeDiffFileError(
            f"{path} must hold a {_CLASS}, or a Transformer2DModel with norm_type = 'ada_norm_zero', "
            f"got {name!r}"
        )
    for option, value in _WANTED.items():
        if config.get(option, value) != value:
            raise SpeeDiffFileError(f"{path} must have {option} = {value!r}, got {config[option]!r}")
    try:
        heads, size, patch = (
            int(config[key]) for key in ("num_attention_heads", "sample_size", "patch_size")
        )
        positions = (1, (size // patch) ** 2, heads * int(config["attention_head_dim"]))
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise SpeeDiffFileError(
            f"{path} must have a config.json of a DiT, got one that fails with {error!r}"
        ) from error
    weights = _weights(path, variant)
    if not weights.is_index:
        return Folder(path, heads, positions, [weights.path], frozenset())
    files = _shards(weights.path)
    return Folder(
        path, heads, positions, [path / file for file in sorted(set(files.values()))], frozenset(files)
    )


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads((path / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SpeeDiffFileError(
            f"{path} must be a diffusers folder with a config.json, or a pipeline folder with a transformer, "
            f"got: {reason}"
        ) from error
    return config if isinstance(config, dict) else {}


def _weights(path: Path, variant: str | None) -> _Weights:
    found = [each for file in sorted(path.iterdir()) if (each := _known(file)) is not None]
    variants = {each.variant for each in found}
    if variant is None and None not in variants and len(variants) == 1:
        variant = next(iter(variants))
    fitting = [each for each in found if each.variant == variant]
    if not fitting:
        wanted = f"diffusion_pytorch_model{f'.{variant}' if variant else ''}.safetensors or .bin"
        have = ", ".join(each.path.name for each in found) or "no weights"
        raise SpeeDiffFileError(
            f"{path} must have {wanted}, or their index of shards, got {have}"
            + ("; choose one with variant=" if found else "")
        )
    return min(fitting, key=lambda each: (each.kind == "bin", each.is_index))


def _known(file: Path) -> _Weights | None:
    """Parses a file name; None if it is not a weight file."""
    whole, index = _WHOLE.fullmatch(file.name), _INDEX.fullmatch(file.name)
    if whole is not None and not _SHARD.search(file.name):
        return _Weights(file, whole[1], whole[2], is_index=False)
    if index is not None:
        # Its position depends on the version of diffusers.
        return _Weights(file, index[1] or index[3] or index[4], index[2], is_index=True)
    return None


def _shards(index: Path) -> dict[str, str]:
    """The file of each tensor."""
    try:
        found = json.loads(index.read_bytes())["weight_map"]
        names = {str(name): str(file) for name, file in found.items()}
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise SpeeDiffFileError(f"{index} must be an index with a weight_map, got: {error!r}") from error
    if outside := [file for file in names.values() if "/" in file or "\\" in file or file in ("", ".", "..")]:
        raise SpeeDiffFileError(f"{index} must name files in its own folder, got {outside[0]!r}")
    return names
