"""The supported PyTorch networks: their shapes, and the place of each tensor in the trainer's memory."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from ...errors import SpeeDiffTypeError, SpeeDiffValueError
from .._adoption.places import Part, some
from .shapes import POSITIONS, Hints, Shape, shape_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import torch

    from .._adoption.places import Size


class Architecture(ABC):
    """A supported network class."""

    class_name: str
    origin: str
    """The library of the class."""
    version = 0
    """The MDT version; 0 for a DiT."""

    def fixed(self, part: Part) -> bool:
        """Whether a tensor is a constant that the trainer already has."""
        return part.name == POSITIONS

    @abstractmethod
    def part(self, name: str) -> Part | None:
        """The place of a tensor; None if the network has no tensor of this name."""

    @abstractmethod
    def hints(self, module: Any) -> Hints:
        """Settings from the module's attributes. Raises AttributeError if one is missing."""

    @abstractmethod
    def run(self, module: Any, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        """Calls the module."""

    def parts(self, what: str, names: Collection[str]) -> dict[str, Part]:
        """The place of each tensor.

        Raises:
            SpeeDiffValueError: If a name is not in the network.
        """
        found = {name: self.part(name) for name in names}
        unknown = [name for name, part in found.items() if part is None]
        if unknown:
            raise SpeeDiffValueError(
                f"{what} must have only the tensors of {self.origin} {self.class_name}, got {some(unknown)}"
            )
        return {name: part for name, part in found.items() if part is not None}

    def shape(self, what: str, sizes: Mapping[str, Size], hints: Hints) -> Shape:
        """The network's shape, from its tensors' shapes."""
        whole: dict[str, Size] = {}
        for name, part in self.parts(what, sizes).items():
            size = sizes[name]
            whole[part.name] = (size[0] * part.pieces, *size[1:]) if size else ()
        return shape_of(what, whole, hints)


_ENDS = r"pos_embed|y_embedder\.embedding_table\.weight"
_LAYERS = r"x_embedder\.proj|t_embedder\.mlp\.[02]|final_layer\.(linear|adaLN_modulation\.1)"
_OF_BLOCK = r"attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2|adaLN_modulation\.1"
_DIT = re.compile(rf"{_ENDS}|({_LAYERS}|blocks\.\d+\.({_OF_BLOCK}))\.(weight|bias)")


class OfficialDiT(Architecture):
    """Has the trainer's names and shapes."""

    class_name = "DiT"
    origin = "facebookresearch/DiT's"
    names = _DIT

    def part(self, name: str) -> Part | None:
        return Part(name) if self.names.fullmatch(name) else None

    def hints(self, module: Any) -> Hints:
        labels = module.y_embedder
        hints = Hints(int(module.blocks[0].attn.num_heads))
        return hints if labels is None else hints._replace(**_label_hints(labels))

    def run(self, module: Any, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        output: torch.Tensor = module(x, t, y)
        return output


_TRAINED = r"decoder_pos_embed|mask_token"
_BIASES = r"attn\.rel_pos_bias\.relative_position_"
_MDT = re.compile(
    rf"{_ENDS}|{_TRAINED}|({_LAYERS}|(blocks|en_inblocks|en_outblocks|de_blocks|sideblocks)\.\d+"
    rf"\.({_OF_BLOCK}|skip_linear))\.(weight|bias)|[a-z_]+\.\d+\.{_BIASES}(bias_table|index)"
)


class OfficialMDT(OfficialDiT):
    """Has the trainer's names and shapes; the position embedding is trained."""

    class_name = "MDT"
    origin = "sail-sg/MDT's"
    names = _MDT
    version = 1

    def fixed(self, part: Part) -> bool:
        return part.name.endswith("relative_position_index")

    def hints(self, module: Any) -> Hints:
        if module.mask_ratio is None:
            raise SpeeDiffValueError(
                "module must have a mask_ratio, because MDT is trained with masks, got None; set "
                "module.mask_ratio = 0.3 and module.mask_token.requires_grad_(True) first"
            )
        masking = (self.version, int(module.decode_layer), float(module.mask_ratio))
        labels = module.y_embedder
        return Hints(None, None, None, 0.0, *masking)._replace(
            **({} if labels is None else _label_hints(labels))
        )


class OfficialMDTv2(OfficialMDT):
    """Its encoder has long skips."""

    class_name = "MDTv2"
    version = 2


def _label_hints(embedder: Any) -> dict[str, Any]:
    """Settings of the authors' or diffusers' label embedder."""
    return {"num_classes": int(embedder.num_classes), "class_dropout_prob": float(embedder.dropout_prob)}


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
    """Has separate queries, keys and values, and embedders in each block."""

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
        labels = _label_hints(embedders[0].class_embedder)
        shift = float(embedders[0].time_proj.downscale_freq_shift)
        return Hints(int(module.config.num_attention_heads), frequency_shift=shift, **labels)

    def run(self, module: Any, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        output: torch.Tensor = module(x, timestep=t, class_labels=y, return_dict=False)[0]
        return output


_BY_CLASS: dict[str, Architecture] = {
    each.class_name: each for each in (OfficialDiT(), OfficialMDT(), OfficialMDTv2(), DiffusersDiT())
}
_BY_TENSOR = {"transformer_blocks.": "DiTTransformer2DModel", "de_blocks.": "MDTv2", "sideblocks.": "MDT"}
"""Name prefixes and the class that each identifies."""


def of_module(module: torch.nn.Module) -> Architecture:
    """The architecture of a module, by class name.

    Raises:
        SpeeDiffTypeError: If the trainer does not support the class.
    """
    name = type(module).__name__
    if name in _BY_CLASS:
        return _BY_CLASS[name]
    known = ", ".join(f"{each.origin} {each.class_name}" for each in _BY_CLASS.values())
    raise SpeeDiffTypeError(f"module must be one of {known}, got a {name}")


def of_names(names: Collection[str]) -> Architecture:
    """The architecture of a state dict."""
    for beginning, class_name in _BY_TENSOR.items():
        if any(name.startswith(beginning) for name in names):
            return _BY_CLASS[class_name]
    return _BY_CLASS["DiT"]


def _renamed(name: str, table: Mapping[str, str]) -> str | None:
    """The name with its prefix replaced; None if no prefix of the table matches."""
    for before, after in table.items():
        rest = name.removeprefix(before)
        if rest != name and (not rest or rest in ("weight", "bias")):
            return after + rest
    return None
