"""The networks of PyTorch that the trainer has: their shapes, and where each tensor lies in its memory."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import SpeeDiffTypeError, SpeeDiffValueError
from ..networks import DiT
from ._places import Part, some

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import torch

    from ._places import Size

POSITIONS = "pos_embed"
"""The positions of a DiT, which are part of its state dict and not trained."""

NULL_LABEL_PROBABILITY = 0.1
"""How often the authors drop labels."""


POSITION_TOLERANCE = 2e-3
"""Averaging a constant in float32, as update_ema of the authors' code does, moves it by as much."""


class Hints(NamedTuple):
    """What the shapes of tensors do not tell. None: not known."""

    num_heads: int | None = None
    num_classes: int | None = None
    """Without the null label."""
    class_dropout_prob: float | None = None
    frequency_shift: float = 0.0


@dataclass(frozen=True)
class Shape:
    """A network and its data, as `speediff.Trainer` takes them."""

    model: DiT
    data: dict[str, Any]


class Architecture(ABC):
    """One of the classes."""

    class_name: str
    origin: str
    """Whose class it is."""
    fixed: frozenset[str] = frozenset({POSITIONS})
    """Tensors that are not trained, and are the trainer's own."""

    @abstractmethod
    def part(self, name: str) -> Part | None:
        """Where a tensor lies; None: the network has none of that name."""

    @abstractmethod
    def hints(self, module: Any) -> Hints:
        """What a module says of itself. May raise AttributeError where it is built in another way."""

    @abstractmethod
    def run(self, module: Any, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        """Calls a module."""

    def parts(self, what: str, names: Collection[str]) -> dict[str, Part]:
        """Where each tensor lies.

        Raises:
            SpeeDiffValueError: If the network has none of a name.
        """
        found = {name: self.part(name) for name in names}
        unknown = [name for name, part in found.items() if part is None]
        if unknown:
            raise SpeeDiffValueError(
                f"{what} must have the tensors of {self.origin} {self.class_name} alone, got {some(unknown)}"
            )
        return {name: part for name, part in found.items() if part is not None}

    def shape(self, what: str, sizes: Mapping[str, Size], hints: Hints) -> Shape:
        """The network's shape, from those of its tensors."""
        whole: dict[str, Size] = {}
        for name, part in self.parts(what, sizes).items():
            size = sizes[name]
            whole[part.name] = (size[0] * part.pieces, *size[1:]) if size else ()
        return _dit_shape(what, whole, hints)


_OFFICIAL = re.compile(
    r"pos_embed|y_embedder\.embedding_table\.weight|(x_embedder\.proj|t_embedder\.mlp\.[02]"
    r"|blocks\.\d+\.(attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2|adaLN_modulation\.1)"
    r"|final_layer\.(linear|adaLN_modulation\.1))\.(weight|bias)"
)


class OfficialDiT(Architecture):
    """Names and shapes are the trainer's own."""

    class_name = "DiT"
    origin = "facebookresearch/DiT's"

    def part(self, name: str) -> Part | None:
        return Part(name) if _OFFICIAL.fullmatch(name) else None

    def hints(self, module: Any) -> Hints:
        heads, labels = int(module.blocks[0].attn.num_heads), module.y_embedder
        return Hints(heads, int(labels.num_classes), float(labels.dropout_prob)) if labels else Hints(heads)

    def run(self, module: Any, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        output: torch.Tensor = module(x, t, y)
        return output


_DIFFUSERS = {
    "pos_embed.pos_embed": POSITIONS,
    "pos_embed.proj.": "x_embedder.proj.",
    "proj_out_1.": "final_layer.adaLN_modulation.1.",
    "proj_out_2.": "final_layer.linear.",
}
_DIFFUSERS_BLOCK = {
    "norm1.linear.": "adaLN_modulation.1.",
    "attn1.to_out.0.": "attn.proj.",
    "ff.net.0.proj.": "mlp.fc1.",
    "ff.net.2.": "mlp.fc2.",
}
_DIFFUSERS_EMBEDDERS = {
    "norm1.emb.timestep_embedder.linear_1.": "t_embedder.mlp.0.",
    "norm1.emb.timestep_embedder.linear_2.": "t_embedder.mlp.2.",
    "norm1.emb.class_embedder.embedding_table.": "y_embedder.embedding_table.",
}


class DiffusersDiT(Architecture):
    """Queries, keys and values are apart, and each block has embedders of its own."""

    class_name = "DiTTransformer2DModel"
    origin = "diffusers'"

    def part(self, name: str) -> Part | None:
        renamed = _renamed(name, _DIFFUSERS)
        block = re.fullmatch(r"transformer_blocks\.(\d+)\.(.*)", name)
        if renamed is not None or block is None:
            return None if renamed is None else Part(renamed)
        number, rest = block.groups()
        renamed = _renamed(rest, _DIFFUSERS_EMBEDDERS)
        if renamed is not None:
            return Part(renamed)
        renamed = _renamed(rest, _DIFFUSERS_BLOCK)
        if renamed is not None:
            return Part(f"blocks.{number}.{renamed}")
        third = re.fullmatch(r"attn1\.to_([qkv])\.(weight|bias)", rest)
        return third and Part(f"blocks.{number}.attn.qkv.{third[2]}", "qkv".index(third[1]), 3)

    def hints(self, module: Any) -> Hints:
        embedders = [block.norm1.emb for block in module.transformer_blocks]
        dropouts = {float(each.class_embedder.dropout_prob) for each in embedders}
        if len(dropouts) > 1:
            raise SpeeDiffValueError(
                "module must have one dropout_prob in the class_embedder of all blocks, "
                f"got {sorted(dropouts)}"
            )
        return Hints(
            int(module.config.num_attention_heads),
            int(embedders[0].class_embedder.num_classes),
            dropouts.pop(),
            float(embedders[0].time_proj.downscale_freq_shift),
        )

    def run(self, module: Any, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        output: torch.Tensor = module(x, timestep=t, class_labels=y, return_dict=False)[0]
        return output


ARCHITECTURES: tuple[Architecture, ...] = (OfficialDiT(), DiffusersDiT())


def of_module(module: torch.nn.Module) -> Architecture:
    """The architecture of a module, by the name of its class.

    Raises:
        SpeeDiffTypeError: If the trainer has no such network.
    """
    name = type(module).__name__
    for architecture in ARCHITECTURES:
        if architecture.class_name == name:
            return architecture
    known = ", ".join(f"{each.origin} {each.class_name}" for each in ARCHITECTURES)
    raise SpeeDiffTypeError(f"module must be one of {known}, got a {name}")


def of_names(names: Collection[str]) -> Architecture:
    """The architecture of a state dict."""
    return ARCHITECTURES[any(name.startswith("transformer_blocks.") for name in names)]


def _renamed(name: str, table: Mapping[str, str]) -> str | None:
    """The name with another beginning; None: it has none of those in the table."""
    for before, after in table.items():
        rest = name.removeprefix(before)
        if rest != name and (not rest or rest in ("weight", "bias")):
            return after + rest
    return None


def _dit_shape(what: str, sizes: Mapping[str, Size], hints: Hints) -> Shape:
    hidden, channels, patch, _ = _size(what, sizes, "x_embedder.proj.weight", 4)
    tokens = _size(what, sizes, POSITIONS, 3)[1]
    planes = _size(what, sizes, "final_layer.linear.weight", 2)[0] // (patch * patch)
    mlp = _size(what, sizes, "blocks.0.mlp.fc1.weight", 2)[0]
    depth = len({name.split(".")[1] for name in sizes if name.startswith("blocks.")})
    table = "y_embedder.embedding_table.weight"
    rows = _size(what, sizes, table, 2)[0] if table in sizes else 0
    dropout = hints.class_dropout_prob
    if dropout is None:
        dropout = NULL_LABEL_PROBABILITY if rows else 0.0
    if hidden == 0 or planes not in (channels, 2 * channels) or math.isqrt(tokens) ** 2 != tokens:
        raise SpeeDiffValueError(
            f"{what} must have a square of tokens and as many or twice as many planes as its {channels}, got "
            f"{tokens} tokens and {planes} planes"
        )
    if rows and dropout > 0 and hints.num_classes == rows:
        raise SpeeDiffValueError(
            f"class_dropout_prob must be 0 where all {rows} labels of the {what} are classes, got {dropout}"
        )
    data = {
        "input_size": math.isqrt(tokens) * patch,
        "in_channels": channels,
        "num_classes": rows - (dropout > 0) if rows else None,
        "learn_sigma": planes == 2 * channels,
        "class_dropout_prob": dropout if rows else 0.0,
    }
    heads = _official_heads(hidden, depth) if hints.num_heads is None else hints.num_heads
    ratio = mlp / hidden
    # The MLP's width is the integer part of the product.
    ratio = ratio if int(hidden * ratio) == mlp else math.nextafter(ratio, math.inf)
    return Shape(DiT(hidden, depth, heads, patch, ratio, hints.frequency_shift), data)


def _size(what: str, sizes: Mapping[str, Size], name: str, rank: int) -> Size:
    if name not in sizes or len(sizes[name]) != rank:
        raise SpeeDiffValueError(
            f"{what} must have {name} with {rank} dimensions, got {sizes.get(name, 'none')}"
        )
    return sizes[name]


def _official_heads(hidden: int, depth: int) -> int:
    """The heads of the official network of this width and depth; tensors do not tell them."""
    for letter in ("S", "B", "L", "XL"):
        config = DiT.named(f"DiT-{letter}/2")
        if (config.hidden_size, config.depth) == (hidden, depth):
            return config.num_heads
    raise SpeeDiffValueError(
        f"num_heads must be given for a network that is none of the official ones, got {depth} blocks of "
        f"width {hidden}"
    )
