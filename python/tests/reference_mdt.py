"""The oracle's masked network: the MDT of Gao et al. 2023 in PyTorch, after sail-sg/MDT's `models.py`.

Version 1 is that of the ICCV paper, version 2 is MDTv2. State-dict names, shapes and order are the official
ones. Labels come with their dropout done, and the mask as the tokens that are kept. Any floating dtype.
Nothing here calls the library.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import reference_dit
import torch
from reference_dit import (
    DiT,
    FinalLayer,
    LabelEmbedder,
    PatchEmbedder,
    TimestepEmbedder,
    modulate,
    sincos_positions,
)
from torch import nn

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

# ---- The network ---------------------------------------------------------------------------------


class RelativePositions(nn.Module):
    """A number for each head and each difference of places on a grid; three more rows are not used."""

    def __init__(self, side: int, num_heads: int) -> None:
        super().__init__()
        width = 2 * side - 1
        self.relative_position_bias_table = nn.Parameter(torch.zeros(width**2 + 3, num_heads))
        rows, columns = (torch.from_numpy(part) for part in np.divmod(np.arange(side**2), side))
        down, right = (part[:, None] - part[None, :] + side - 1 for part in (rows, columns))
        self.register_buffer("relative_position_index", down * width + right)

    def forward(self, kept: Tensor | None) -> Tensor:
        """What is added for (head, query, key) of all tokens, or with a first axis n of those kept."""
        index = self.relative_position_index
        if kept is not None:
            index = index[kept[:, :, None], kept[:, None, :]]
        return self.relative_position_bias_table[index].movedim(-1, -3)


class Attention(reference_dit.Attention):
    def __init__(self, hidden_size: int, num_heads: int, side: int) -> None:
        super().__init__(hidden_size, num_heads)
        self.rel_pos_bias = RelativePositions(side, num_heads)

    def forward(self, x: Tensor, kept: Tensor | None = None) -> Tensor:
        n, tokens, hidden_size = x.shape
        size = hidden_size // self.num_heads
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.num_heads, size).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(2, 3) / math.sqrt(size) + self.rel_pos_bias(kept)
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, tokens, hidden_size))


class Block(reference_dit.Block):
    """DiT's block with relative positions; one with `skip_linear` merges an earlier block's tokens first."""

    def __init__(
        self, hidden_size: int, num_heads: int, mlp_ratio: float, side: int, skips: bool = False
    ) -> None:
        super().__init__(hidden_size, num_heads, mlp_ratio)
        self.attn = Attention(hidden_size, num_heads, side)
        self.skip_linear = nn.Linear(2 * hidden_size, hidden_size) if skips else None

    def forward(self, x: Tensor, c: Tensor, kept: Tensor | None = None, skip: Tensor | None = None) -> Tensor:
        if self.skip_linear is not None:
            x = self.skip_linear(torch.cat([x, skip], dim=2))
        shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp = self.adaLN_modulation(c).chunk(6, 1)
        x = x + gate_msa.unsqueeze(1) * self.attn(modulate(self.norm1(x), shift_msa, scale_msa), kept)
        return x + gate_mlp.unsqueeze(1) * self.mlp(modulate(self.norm2(x), shift_mlp, scale_mlp))


class MDT(nn.Module):
    """x_t (n, c, h, w), t (n,), labels (n,) to (n, c or 2c, h, w). Without classes: no `y_embedder`."""

    unpatchify = DiT.unpatchify

    def __init__(
        self,
        hidden_size: int,
        depth: int,
        num_heads: int,
        patch_size: int,
        mlp_ratio: float = 4.0,
        *,
        version: int = 2,
        decode_layer: int = 4,
        input_size: int = 32,
        in_channels: int = 4,
        num_classes: int | None = 1000,
        learn_sigma: bool = True,
        class_dropout_prob: float = 0.1,
    ) -> None:
        super().__init__()
        self.patch_size, self.version = patch_size, version
        self.side = input_size // patch_size
        self.out_channels = 2 * in_channels if learn_sigma else in_channels
        positions = torch.from_numpy(sincos_positions(hidden_size, self.side)).float()[None]
        self.pos_embed, self.decoder_pos_embed = (nn.Parameter(positions.clone()) for _ in range(2))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, hidden_size))
        self.x_embedder = PatchEmbedder(in_channels, hidden_size, patch_size)
        self.t_embedder = TimestepEmbedder(hidden_size)
        self.y_embedder = None
        if num_classes is not None:
            self.y_embedder = LabelEmbedder(num_classes + (class_dropout_prob > 0), hidden_size)

        def blocks(count: int, skips: bool = False) -> nn.ModuleList:
            shape = (hidden_size, num_heads, mlp_ratio, self.side)
            return nn.ModuleList(Block(*shape, skips) for _ in range(count))

        if version == 1:
            self.blocks, self.encoder_depth = blocks(depth), depth - decode_layer
        else:
            half = (depth - decode_layer) // 2
            self.en_inblocks, self.en_outblocks = blocks(half), blocks(half, True)
            self.de_blocks = blocks(decode_layer, True)
        self.sideblocks = blocks(1)
        self.final_layer = FinalLayer(hidden_size, patch_size * patch_size * self.out_channels)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None, kept: Tensor | None = None) -> Tensor:
        """The full pass, or the masked one with `kept` (n, K): the tokens that the encoder is given."""
        embedded = self.x_embedder(x) + self.pos_embed
        c = self.t_embedder(t)
        if self.y_embedder is not None:
            c = c + self.y_embedder(y)
        x = embedded if kept is None else embedded.gather(1, self.rows(kept))
        x = self.encode(x, c, kept)
        x = x + self.decoder_pos_embed if kept is None else self.interpolate(x, c, kept)
        return self.unpatchify(self.final_layer(self.decode(x, c, embedded), c))

    def encode(self, x: Tensor, c: Tensor, kept: Tensor | None) -> Tensor:
        if self.version == 1:
            for block in self.blocks[: self.encoder_depth]:
                x = block(x, c, kept)
            return x
        skips = []
        for block in self.en_inblocks:
            x = block(x, c, kept)
            skips.append(x)
        for block in self.en_outblocks:
            x = block(x, c, kept, skips.pop())
        return x

    def interpolate(self, x: Tensor, c: Tensor, kept: Tensor) -> Tensor:
        """All tokens from those kept: the side block's where they were masked."""
        tokens = self.mask_token.expand(len(x), self.side**2, -1).scatter(1, self.rows(kept), x)
        tokens = tokens + self.decoder_pos_embed
        masked = kept.new_ones(tokens.shape[:2]).scatter(1, kept, 0)
        return torch.where(masked[:, :, None] > 0, self.sideblocks[0](tokens, c), tokens)

    def decode(self, x: Tensor, c: Tensor, embedded: Tensor) -> Tensor:
        """MDTv2's decoder sees all of the embedded image, also in the masked pass."""
        for block in self.blocks[self.encoder_depth :] if self.version == 1 else self.de_blocks:
            x = block(x, c, skip=embedded)
        return x

    def rows(self, kept: Tensor) -> Tensor:
        """The index (n, K, hidden_size) of the tokens kept."""
        return kept[:, :, None].expand(-1, -1, self.pos_embed.shape[2])


# ---- A trainer's network -------------------------------------------------------------------------


def load(model: MDT, arrays: dict[str, NDArray[Any]]) -> None:
    """Loads a state dict; the indices of relative positions may be left out, but not be others."""
    own = model.state_dict()
    indices = {name: value for name, value in own.items() if not value.is_floating_point()}
    assert set(own) - set(indices) <= set(arrays) <= set(own), set(own) ^ set(arrays)
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
    for name in set(indices) & set(arrays):
        torch.testing.assert_close(tensors[name], indices[name], rtol=0, atol=0)
    model.load_state_dict({**indices, **tensors})


def twin(trainer: Any, dtype: torch.dtype = torch.float64, *, ema: bool = False, **options: Any) -> MDT:
    """The same network as a trainer's, with its weights. `class_dropout_prob` where it is not the default."""
    config = trainer.config
    model = MDT(
        config.hidden_size,
        config.depth,
        config.num_heads,
        config.patch_size,
        config.mlp_ratio,
        version=config.version,
        decode_layer=config.decode_layer,
        input_size=trainer.input_size,
        in_channels=trainer.in_channels,
        num_classes=trainer.num_classes,
        learn_sigma=trainer.learn_sigma,
        **options,
    )
    load(model, trainer.state_dict(ema=ema))
    return model.to(dtype)


def random_weights(model: MDT, seed: int) -> dict[str, NDArray[np.float32]]:
    """Those of DiT, and larger ones for what tells places apart."""
    result, random = reference_dit.random_weights(model, seed), np.random.default_rng([seed, 1])
    for name, value in result.items():
        if name.endswith(("pos_embed", "mask_token", "bias_table")):
            value[...] = random.normal(0, 0.5, value.shape)
    return result


def randomize(trainer: Any, seed: int = 0, **options: Any) -> None:
    """Gives a trainer `random_weights`; its EMA has others."""
    model = twin(trainer, torch.float32, **options)
    for arrays, number in ((trainer.parameters, 2 * seed), (trainer.ema_parameters, 2 * seed + 1)):
        values = random_weights(model, number)
        assert set(arrays) == set(values)
        for name, value in values.items():
            arrays[name][...] = value
