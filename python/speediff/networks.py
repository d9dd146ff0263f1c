"""The networks that a `Trainer` trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _arguments
from . import _c_training as c
from .errors import SpeeDiffTypeError

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class DiT:
    """The shape of a Diffusion Transformer (Peebles and Xie 2023), apart from its data.

    Args:
        hidden_size: Floats of a token: a multiple of 4 and of `num_heads`, at most 2¹⁶.
        depth: Blocks, in [1, 4096].
        num_heads: Attention heads of a block.
        patch_size: Pixels, or latents, along a patch's side.
        mlp_ratio: Hidden floats of a block's MLP over `hidden_size`, in (0, 64].
        frequency_shift: s in the frequencies 10000^(-i/(128-s)) of the time step's embedding, in [0, 1]: 0
            in the authors' code, 1 in that of diffusers.
    """

    hidden_size: int = 1152
    depth: int = 28
    num_heads: int = 16
    patch_size: int = 2
    mlp_ratio: float = 4.0
    frequency_shift: float = 0.0

    @classmethod
    def named(cls, name: str) -> Self:
        """The shape of an official network.

        Args:
            name: "DiT-S/2" … "DiT-XL/8": S, B, L or XL with patches of 2, 4 or 8.

        Raises:
            SpeeDiffValueError: If there is no such network; the message names the nearest.
        """
        if not isinstance(name, str):
            raise SpeeDiffTypeError(f"model must be a name or a speediff.DiT, got {name!r}")
        config = c.DiTConfig()
        # C would stop at a null character.
        encoded = name.replace("\0", "\\0").encode(errors="backslashreplace")
        c.speediff_dit_config_set_name(config, encoded)
        return cls(config.hidden_size, config.depth, config.num_heads, config.patch_size)

    def native(
        self, input_size: int, in_channels: int, num_classes: int | None, learn_sigma: bool, dropout: float
    ) -> c.DiTConfig:
        """The shape for some data, as the library takes it."""
        return c.DiTConfig(
            _arguments.integer("input_size", input_size),
            _arguments.integer("patch_size", self.patch_size),
            _arguments.integer("in_channels", in_channels),
            _arguments.integer("hidden_size", self.hidden_size),
            _arguments.integer("depth", self.depth),
            _arguments.integer("num_heads", self.num_heads),
            _arguments.real("mlp_ratio", self.mlp_ratio),
            0 if num_classes is None else _arguments.integer("num_classes", num_classes, least=1),
            _arguments.real("class_dropout_prob", dropout),
            _arguments.flag("learn_sigma", learn_sigma),
            _arguments.real("frequency_shift", self.frequency_shift),
        )
