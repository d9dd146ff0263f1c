"""The networks that a `Trainer` trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from ._native import c_training as c
from ._support import arguments
from .errors import SpeeDiffTypeError, SpeeDiffValueError

_Kind = TypeVar("_Kind", bound="Network")


@dataclass(frozen=True)
class Network:
    """The fields that `DiT` and `MDT` share."""

    hidden_size: int = 1152
    depth: int = 28
    num_heads: int = 16
    patch_size: int = 2
    mlp_ratio: float = 4.0

    def native(
        self, input_size: int, in_channels: int, num_classes: int | None, learn_sigma: bool, dropout: float
    ) -> c.NetworkConfig:
        """The shape for some data, as the library takes it."""
        return c.NetworkConfig(
            arguments.integer("input_size", input_size),
            arguments.integer("patch_size", self.patch_size),
            arguments.integer("in_channels", in_channels),
            arguments.integer("hidden_size", self.hidden_size),
            arguments.integer("depth", self.depth),
            arguments.integer("num_heads", self.num_heads),
            arguments.real("mlp_ratio", self.mlp_ratio),
            0 if num_classes is None else arguments.integer("num_classes", num_classes, least=1),
            arguments.real("class_dropout_prob", dropout),
            arguments.flag("learn_sigma", learn_sigma),
        )


@dataclass(frozen=True)
class DiT(Network):
    """The shape of a Diffusion Transformer (Peebles and Xie 2023), without its data's shape.

    Args:
        hidden_size: The width of a token: a multiple of 4 and of `num_heads`, at most 2¹⁶.
        depth: The number of blocks, in [1, 4096].
        num_heads: Attention heads per block.
        patch_size: The side of a patch, in pixels or latents.
        mlp_ratio: The hidden width of a block's MLP over `hidden_size`, in (0, 64].
        frequency_shift: s in the frequencies 10000^(-i/(128-s)) of the timestep embedding, in [0, 1]. The
            authors' code has 0, diffusers has 1.
    """

    frequency_shift: float = 0.0

    @staticmethod
    def named(name: str) -> DiT:
        """The shape of an official network.

        Args:
            name: "DiT-S/2" … "DiT-XL/8": S, B, L or XL with patches of 2, 4 or 8.

        Raises:
            SpeeDiffValueError: If there is no such network; the message names the nearest.
        """
        return _named(DiT, name)

    def native(
        self, input_size: int, in_channels: int, num_classes: int | None, learn_sigma: bool, dropout: float
    ) -> c.NetworkConfig:
        """The shape for some data, as the library takes it."""
        config = super().native(input_size, in_channels, num_classes, learn_sigma, dropout)
        config.frequency_shift = arguments.real("frequency_shift", self.frequency_shift)
        return config


@dataclass(frozen=True)
class MDT(Network):
    """The shape and masking of a Masked Diffusion Transformer (Gao et al. 2023), without its data's shape.

    A training step has two passes with the same timesteps and weights. The first has all tokens. In the
    second the encoder gets some of them, and one more block, the side-interpolater, predicts the others.

    Args:
        hidden_size: The width of a token: a multiple of 4 and of `num_heads`, at most 2¹⁶.
        depth: The number of blocks in encoder and decoder together, in [1, 4096].
        num_heads: Attention heads per block.
        patch_size: The side of a patch, in pixels or latents.
        mlp_ratio: The hidden width of a block's MLP over `hidden_size`, in (0, 64].
        version: 1: a row of blocks, the last of which decode (Gao et al. 2023). 2: MDTv2, with long skips
            within the encoder and from its input to the decoder (Gao et al. 2024).
        decode_layer: How many of the blocks decode, in [0, depth]. In version 2 the number of other blocks
            must be even.
        mask_ratio: The share of tokens that are masked from the encoder in the second pass, in [0, 1).
            Version 2 draws it for each step from [mask_ratio, mask_ratio + 0.2].
        min_snr_gamma: γ of a Min-SNR factor, in the form of the sampler's prediction. It multiplies the
            squared errors of both passes, along with the sampler's weights. None: no such factor.
    """

    version: int = 2
    decode_layer: int = 4
    mask_ratio: float = 0.3
    min_snr_gamma: float | None = 5.0

    @staticmethod
    def named(name: str) -> MDT:
        """The shape of an official network.

        Args:
            name: "MDT-S/2" … "MDT-XL/8" are the paper's, with 2 decoding blocks and no Min-SNR.
                "MDTv2-S/2" … "MDTv2-XL/8" are those of the authors' code, with 4 decoding blocks and
                Min-SNR-5.

        Raises:
            SpeeDiffValueError: If there is no such network; the message names the nearest.
        """
        return _named(MDT, name)

    def native(
        self, input_size: int, in_channels: int, num_classes: int | None, learn_sigma: bool, dropout: float
    ) -> c.NetworkConfig:
        """The shape for some data, as the library takes it."""
        config = super().native(input_size, in_channels, num_classes, learn_sigma, dropout)
        config.mdt_version = arguments.integer("version", self.version, least=1, end=3)
        config.decode_layer = arguments.integer("decode_layer", self.decode_layer)
        config.mask_ratio = arguments.real("mask_ratio", self.mask_ratio)
        config.min_snr_gamma = arguments.positive_or_none("min_snr_gamma", self.min_snr_gamma)
        return config


def network(model: str | Network) -> Network:
    """The network itself, or the one that the name stands for."""
    return model if isinstance(model, Network) else _network_named(model)


def network_of(config: c.NetworkConfig) -> DiT | MDT:
    """The shape that the library gives."""
    shape = (config.hidden_size, config.depth, config.num_heads, config.patch_size, config.mlp_ratio)
    if config.mdt_version == 0:
        return DiT(*shape, config.frequency_shift)
    masking = (config.mdt_version, config.decode_layer, config.mask_ratio, config.min_snr_gamma or None)
    return MDT(*shape, *masking)


def _network_named(name: object) -> DiT | MDT:
    if not isinstance(name, str):
        raise SpeeDiffTypeError(f"model must be a name, a speediff.DiT or a speediff.MDT, got {name!r}")
    config = c.NetworkConfig(mlp_ratio=Network.mlp_ratio)
    # C would stop at a null character.
    c.speediff_network_config_set_name(config, name.replace("\0", "\\0").encode(errors="backslashreplace"))
    return network_of(config)


def _named(kind: type[_Kind], name: str) -> _Kind:
    found = _network_named(name)
    if not isinstance(found, kind):
        raise SpeeDiffValueError(f"model must be a {kind.__name__}, got {name!r}")
    return found
