"""The oracle's network: the DiT of Peebles and Xie 2023 in PyTorch, after facebookresearch/DiT's `models.py`.

State-dict names and shapes are the official ones, and so is the order of the operations. Labels come with
their dropout done. Any floating dtype: frequencies follow the parameters'. Nothing here calls the library.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

SIZES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}
"""The hidden size, depth and heads of each letter."""

FREQUENCIES = 256
"""The width of the sinusoidal embedding of the time step."""


def sincos_positions(hidden_size: int, side: int) -> NDArray[np.float64]:
    """Fixed positions of side² tokens in row-major order, shape (side², hidden_size).

    The first half of a row tells the token's column, the second its row; either is sines, then cosines.
    """
    count = hidden_size // 4
    frequencies = 1 / 10000 ** (np.arange(count, dtype=np.float64) / count)
    rows, columns = np.divmod(np.arange(side * side), side)
    waves = [np.outer(place, frequencies) for place in (columns, rows)]
    return np.concatenate([part for wave in waves for part in (np.sin(wave), np.cos(wave))], axis=1)


def timestep_frequencies(t: Tensor, dtype: torch.dtype, shift: float = 0.0) -> Tensor:
    """The sinusoidal embedding of time steps, shape (n, 256): cosines first. diffusers has a shift of 1."""
    count = FREQUENCIES // 2
    exponents = torch.arange(count, dtype=dtype, device=t.device) / (count - shift)
    angles = t[:, None].to(dtype) * torch.exp(-math.log(10000) * exponents)
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=1)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


def plain_norm(hidden_size: int) -> nn.LayerNorm:
    return nn.LayerNorm(hidden_size, elementwise_affine=False, eps=1e-6)


class PatchEmbedder(nn.Module):
    def __init__(self, in_channels: int, hidden_size: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, hidden_size, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class TimestepEmbedder(nn.Module):
    def __init__(self, hidden_size: int, frequency_shift: float = 0.0) -> None:
        super().__init__()
        self.frequency_shift = frequency_shift
        self.mlp = nn.Sequential(
            nn.Linear(FREQUENCIES, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size)
        )

    def forward(self, t: Tensor) -> Tensor:
        return self.mlp(timestep_frequencies(t, self.mlp[0].weight.dtype, self.frequency_shift))


class LabelEmbedder(nn.Module):
    def __init__(self, rows: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(rows, hidden_size)

    def forward(self, y: Tensor) -> Tensor:
        return self.embedding_table(y)


class Attention(nn.Module):
    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.proj = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, hidden_size = x.shape
        heads = self.qkv(x).reshape(n, tokens, 3, self.num_heads, hidden_size // self.num_heads)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(n, tokens, hidden_size))


class Perceptron(nn.Module):
    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(hidden_size, width)
        self.act = nn.GELU(approximate="tanh")
        self.fc2 = nn.Linear(width, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    """A transformer block with adaLN-Zero."""

    def __init__(self, hidden_size: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = plain_norm(hidden_size)
        self.attn = Attention(hidden_size, num_heads)
        self.norm2 = plain_norm(hidden_size)
        self.mlp = Perceptron(hidden_size, int(hidden_size * mlp_ratio))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden_size, 6 * hidden_size))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp = self.adaLN_modulation(c).chunk(6, 1)
        x = x + gate_msa.unsqueeze(1) * self.attn(modulate(self.norm1(x), shift_msa, scale_msa))
        return x + gate_mlp.unsqueeze(1) * self.mlp(modulate(self.norm2(x), shift_mlp, scale_mlp))


class FinalLayer(nn.Module):
    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.norm_final = plain_norm(hidden_size)
        self.linear = nn.Linear(hidden_size, width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden_size, 2 * hidden_size))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(c).chunk(2, 1)
        return self.linear(modulate(self.norm_final(x), shift, scale))


class DiT(nn.Module):
    """x_t (n, c, h, w), t (n,) and labels (n,) to (n, c or 2c, h, w). Without classes: no `y_embedder`."""

    def __init__(
        self,
        hidden_size: int,
        depth: int,
        num_heads: int,
        patch_size: int,
        mlp_ratio: float = 4.0,
        frequency_shift: float = 0.0,
        *,
        input_size: int = 32,
        in_channels: int = 4,
        num_classes: int | None = 1000,
        learn_sigma: bool = True,
        class_dropout_prob: float = 0.1,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.side = input_size // patch_size
        self.out_channels = 2 * in_channels if learn_sigma else in_channels
        self.x_embedder = PatchEmbedder(in_channels, hidden_size, patch_size)
        self.t_embedder = TimestepEmbedder(hidden_size, frequency_shift)
        self.y_embedder = None
        if num_classes is not None:
            self.y_embedder = LabelEmbedder(num_classes + (class_dropout_prob > 0), hidden_size)
        positions = torch.from_numpy(sincos_positions(hidden_size, self.side)).float()
        self.pos_embed = nn.Parameter(positions[None], requires_grad=False)
        self.blocks = nn.ModuleList(Block(hidden_size, num_heads, mlp_ratio) for _ in range(depth))
        self.final_layer = FinalLayer(hidden_size, patch_size * patch_size * self.out_channels)

    @classmethod
    def named(cls, name: str, **options: Any) -> DiT:
        """One of the published sizes: "DiT-S/2" … "DiT-XL/8"."""
        letter, patch_size = name.removeprefix("DiT-").split("/")
        return cls(*SIZES[letter], int(patch_size), **options)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        x = self.x_embedder(x) + self.pos_embed
        c = self.t_embedder(t)
        if self.y_embedder is not None:
            c = c + self.y_embedder(y)
        for block in self.blocks:
            x = block(x, c)
        return self.unpatchify(self.final_layer(x, c))

    def unpatchify(self, x: Tensor) -> Tensor:
        """Tokens of (row, column, channel) in a patch to an image."""
        n, side, patch = len(x), self.side, self.patch_size
        x = x.reshape(n, side, side, patch, patch, self.out_channels)
        return x.permute(0, 5, 1, 3, 2, 4).reshape(n, self.out_channels, side * patch, side * patch)


def twin(trainer: Any, dtype: torch.dtype = torch.float64, *, ema: bool = False, **options: Any) -> DiT:
    """The same network as a trainer's, with its weights. `class_dropout_prob` where it is not the default."""
    config = trainer.config
    model = DiT(
        config.hidden_size,
        config.depth,
        config.num_heads,
        config.patch_size,
        config.mlp_ratio,
        config.frequency_shift,
        input_size=trainer.input_size,
        in_channels=trainer.in_channels,
        num_classes=trainer.num_classes,
        learn_sigma=trainer.learn_sigma,
        **options,
    )
    positions = model.pos_embed.detach().clone()
    model.load_state_dict({name: torch.from_numpy(v) for name, v in trainer.state_dict(ema=ema).items()})
    torch.testing.assert_close(model.pos_embed.detach(), positions, rtol=0, atol=1e-6)
    return model.to(dtype)


def random_weights(model: DiT, seed: int) -> dict[str, NDArray[np.float32]]:
    """Normal numbers for every trained parameter, so large that attention is uneven and no gradient is 0.

    The output is well below 1: far from the data the decoder's likelihood has no digits left in float32.
    """
    random = np.random.default_rng(seed)
    result = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            inputs = math.prod(parameter.shape[1:])
            scale = 0.05 if parameter.ndim == 1 else min(1.5 / math.sqrt(inputs), 0.15)
            if name == "final_layer.linear.weight":
                scale = 0.3 / math.sqrt(inputs)
            result[name] = random.normal(0, scale, tuple(parameter.shape)).astype(np.float32)
    return result


def randomize(trainer: Any, seed: int = 0, **options: Any) -> None:
    """Gives a trainer `random_weights`; its EMA has others."""
    model = twin(trainer, torch.float32, **options)
    for arrays, number in ((trainer.parameters, 2 * seed), (trainer.ema_parameters, 2 * seed + 1)):
        values = random_weights(model, number)
        assert set(arrays) == set(values)
        for name, value in values.items():
            arrays[name][...] = value
