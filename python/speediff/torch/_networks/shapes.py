"""Infers a network's shape from its tensors' shapes and hints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import SpeeDiffValueError
from ...networks import MDT, DiT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._adoption.places import Size

POSITIONS = "pos_embed"
"""The position embedding; not trained in a DiT."""

DROPOUT = 0.1
"""The authors' label dropout."""

_TABLE = "sideblocks.0.attn.rel_pos_bias.relative_position_bias_table"
_LABELS = "y_embedder.embedding_table.weight"


class Hints(NamedTuple):
    """Settings that tensor shapes do not determine. None: unknown."""

    num_heads: int | None = None
    num_classes: int | None = None
    """The number of classes without the null label."""
    class_dropout_prob: float | None = None
    frequency_shift: float = 0.0
    mdt_version: int = 0
    """The MDT version; 0 for a DiT."""
    decode_layer: int | None = None
    mask_ratio: float | None = None


@dataclass(frozen=True)
class Shape:
    """A network and its data, as arguments of `speediff.Trainer`."""

    model: DiT | MDT
    data: dict[str, Any]


def shape_of(what: str, sizes: Mapping[str, Size], hints: Hints) -> Shape:
    """The shape.

    Args:
        what: The owner of the tensors, for errors.
        sizes: Shapes by the trainer's names.
        hints: Further settings.

    Raises:
        SpeeDiffValueError: If they do not fit a supported network.
    """
    hidden, channels, patch, _ = _size(what, sizes, "x_embedder.proj.weight", 4)
    tokens = _size(what, sizes, POSITIONS, 3)[1]
    planes = _size(what, sizes, "final_layer.linear.weight", 2)[0] // (patch * patch)
    if planes not in (channels, 2 * channels) or math.isqrt(tokens) ** 2 != tokens:
        raise SpeeDiffValueError(
            f"{what} must have a square number of tokens and {channels} or {2 * channels} output channels, "
            f"got {tokens} tokens and {planes} channels"
        )
    data = {
        "input_size": math.isqrt(tokens) * patch,
        "in_channels": channels,
        "learn_sigma": planes == 2 * channels,
        **_labels(what, sizes, hints),
    }
    if hints.mdt_version:
        return Shape(_mdt(what, sizes, hints, hidden, patch), data)
    depth = _blocks(sizes, "blocks")
    heads = _official_heads(hidden, depth) if hints.num_heads is None else hints.num_heads
    ratio = _mlp_ratio(_size(what, sizes, "blocks.0.mlp.fc1.weight", 2)[0], hidden)
    return Shape(DiT(hidden, depth, heads, patch, ratio, hints.frequency_shift), data)


def _mdt(what: str, sizes: Mapping[str, Size], hints: Hints, hidden: int, patch: int) -> MDT:
    version = hints.mdt_version
    usual = MDT.named("MDT-S/2" if version == 1 else "MDTv2-S/2")
    if version == 1:
        depth = _blocks(sizes, "blocks")
        decoded = usual.decode_layer if hints.decode_layer is None else hints.decode_layer
    else:
        decoded = _blocks(sizes, "de_blocks")
        depth = _blocks(sizes, "en_inblocks") + _blocks(sizes, "en_outblocks") + decoded
    ratio = _mlp_ratio(_size(what, sizes, "sideblocks.0.mlp.fc1.weight", 2)[0], hidden)
    masked = usual.mask_ratio if hints.mask_ratio is None else hints.mask_ratio
    heads = _size(what, sizes, _TABLE, 2)[1]
    return MDT(hidden, depth, heads, patch, ratio, version, decoded, masked, usual.min_snr_gamma)


def _labels(what: str, sizes: Mapping[str, Size], hints: Hints) -> dict[str, Any]:
    if _LABELS not in sizes:
        return {"num_classes": None, "class_dropout_prob": 0.0}
    rows = _size(what, sizes, _LABELS, 2)[0]
    dropout = DROPOUT if hints.class_dropout_prob is None else hints.class_dropout_prob
    if dropout > 0 and hints.num_classes == rows:
        raise SpeeDiffValueError(
            f"class_dropout_prob must be 0 for {what}, whose {rows} labels are all classes, got {dropout}"
        )
    return {"num_classes": rows - (dropout > 0), "class_dropout_prob": dropout}


def _blocks(sizes: Mapping[str, Size], group: str) -> int:
    return len({name.split(".")[1] for name in sizes if name.startswith(f"{group}.")})


def _mlp_ratio(width: int, hidden: int) -> float:
    # The MLP's width is int(width · ratio).
    ratio = width / hidden
    return ratio if int(hidden * ratio) == width else math.nextafter(ratio, math.inf)


def _size(what: str, sizes: Mapping[str, Size], name: str, rank: int) -> Size:
    size = sizes.get(name, ())
    if len(size) != rank or 0 in size:
        found = f"shape {size}" if name in sizes else "none"
        raise SpeeDiffValueError(f"{what} must have {name} with {rank} dimensions, got {found}")
    return size


def _official_heads(hidden: int, depth: int) -> int:
    """The heads of the official network of this width and depth. Tensors do not determine them."""
    for letter in ("S", "B", "L", "XL"):
        config = DiT.named(f"DiT-{letter}/2")
        if (config.hidden_size, config.depth) == (hidden, depth):
            return config.num_heads
    raise SpeeDiffValueError(
        f"num_heads must be given for a network of unofficial size, got {depth} blocks of width {hidden}"
    )
