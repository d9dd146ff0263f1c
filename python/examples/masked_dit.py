"""MDT, the masked diffusion transformer (Gao et al., ICCV 2023), version 1, after its paper.

A DiT whose training has a second pass, in which the encoder sees only some of the image's tokens and
must leave the others to be guessed from their surroundings:

    full    patches + positions ──────────────► encoder ──────────────────────────► decoder ► patches
    masked  patches + positions ► kept tokens ► encoder ► side-interpolater ──────► decoder ► patches

The side-interpolater is one block; it exists for the masked pass alone, and costs nothing when
images are generated. Shapes in comments: n images, L tokens, K of them kept, D channels of a token.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Adaptive layer norm's shift and scale, (n, D) each, of all tokens of an image."""
    return x * (1 + scale[:, None]) + shift[:, None]


def sinusoids(positions: Tensor, channels: int, max_period: float = 10_000) -> Tensor:
    """Sines and cosines of ``positions`` (m,) at geometric frequencies: (m, channels)."""
    half = channels // 2
    exponents = torch.arange(half, dtype=torch.float32, device=positions.device) / half
    angles = positions.float()[:, None] * max_period**-exponents
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def grid_sinusoids(side: int, channels: int) -> Tensor:
    """The usual start of positions on a square grid: half the channels for either coordinate."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    halves = [sinusoids(axis.flatten(), channels // 2) for axis in (columns, rows)]
    return torch.cat(halves, dim=1)[None]  # (1, side², channels)


def kept_tokens(scores: Tensor, mask_ratio: float) -> Tensor:
    """Which tokens the encoder sees: those with the smallest ``scores``.

    Args:
        scores: Random numbers (n, L), drawn by the caller, so that the masks of a step are a
            function of its number.
        mask_ratio: The share of tokens to leave out, in [0, 1).

    Returns:
        Indices (n, K) in ascending order, K = int(L·(1 - mask_ratio)) as in MDT's code, at least 1.
    """
    count = max(1, int(scores.shape[1] * (1 - mask_ratio)))
    return scores.argsort(dim=1)[:, :count].sort(dim=1).values


class RelativePositionBias(nn.Module):
    """One learned number per head and per offset between two tokens, added to their attention."""

    def __init__(self, side: int, heads: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros((2 * side - 1) ** 2, heads))
        rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        offsets = [(axis.flatten()[:, None] - axis.flatten()) + side - 1 for axis in (rows, columns)]
        self.register_buffer("index", offsets[0] * (2 * side - 1) + offsets[1], persistent=False)

    def forward(self, keep: Tensor | None) -> Tensor:
        """The bias (1, heads, L, L), or (n, heads, K, K) between the kept tokens."""
        if keep is None:
            return self.table[self.index].permute(2, 0, 1)[None]
        pairs = self.index[keep[:, :, None], keep[:, None, :]]  # (n, K, K)
        return self.table[pairs].permute(0, 3, 1, 2)


class Block(nn.Module):
    """A transformer block with adaLN-Zero, as DiT's, and MDT's relative positions."""

    def __init__(self, side: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(hidden, elementwise_affine=False, eps=1e-6)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.bias = RelativePositionBias(side, heads)
        self.out = nn.Linear(hidden, hidden)
        self.norm2 = nn.LayerNorm(hidden, elementwise_affine=False, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(hidden, 4 * hidden), nn.GELU(approximate="tanh"), nn.Linear(4 * hidden, hidden)
        )
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 6 * hidden))

    def forward(self, x: Tensor, condition: Tensor, keep: Tensor | None = None) -> Tensor:
        """``x`` (n, L, D), or (n, K, D) with the places ``keep`` (n, K) of its tokens."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(condition).chunk(6, dim=1)
        x = x + gate1[:, None] * self.attention(modulate(self.norm1(x), shift1, scale1), keep)
        return x + gate2[:, None] * self.mlp(modulate(self.norm2(x), shift2, scale2))

    def attention(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Multi-head self-attention."""
        n, tokens, hidden = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, hidden // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (n, heads, tokens, hidden / heads) each
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.bias(keep))
        return self.out(mixed.transpose(1, 2).reshape(n, tokens, hidden))


class MaskedDiT(nn.Module):
    """MDT version 1: encoder, side-interpolater, decoder.

    Args:
        image_size: Pixels along a side.
        patch: Pixels along a token's side.
        channels: Of the image.
        hidden: Channels of a token; a multiple of 4 and of ``heads``.
        depth: Blocks of encoder and decoder together; the side-interpolater comes on top.
        decode_layers: How many of them are the decoder; below ``depth``.
        heads: Attention heads.
        classes: Labels are in [0, classes]; the last one stands for "no class given".
        learn_variance: Predict the variance of each pixel, too, in as many channels more.
    """

    def __init__(
        self,
        image_size: int = 28,
        patch: int = 4,
        channels: int = 1,
        hidden: int = 96,
        depth: int = 5,
        decode_layers: int = 1,
        heads: int = 3,
        classes: int = 10,
        learn_variance: bool = False,
    ) -> None:
        super().__init__()
        side = image_size // patch
        self.hidden, self.patch, self.side = hidden, patch, side
        self.out_channels = channels * (2 if learn_variance else 1)
        self.patches = nn.Conv2d(channels, hidden, kernel_size=patch, stride=patch)
        self.time = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.label = nn.Embedding(classes + 1, hidden)
        self.pos_embed = nn.Parameter(grid_sinusoids(side, hidden))
        self.decoder_pos_embed = nn.Parameter(grid_sinusoids(side, hidden))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, hidden))
        blocks = [Block(side, hidden, heads) for _ in range(depth)]
        self.encoder = nn.ModuleList(blocks[: depth - decode_layers])
        self.side_interpolater = Block(side, hidden, heads)
        self.decoder = nn.ModuleList(blocks[depth - decode_layers :])
        self.norm_final = nn.LayerNorm(hidden, elementwise_affine=False, eps=1e-6)
        self.adaLN_final = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 2 * hidden))
        self.linear_final = nn.Linear(hidden, patch * patch * self.out_channels)
        self.initialize()

    @property
    def tokens(self) -> int:
        """L, the tokens of an image."""
        return self.side**2

    def initialize(self) -> None:
        """As DiT and MDT do: every block starts as the identity, the output as zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, RelativePositionBias):
                nn.init.trunc_normal_(module.table, std=0.02)
        nn.init.xavier_uniform_(self.patches.weight.view(self.hidden, -1))
        nn.init.zeros_(self.patches.bias)
        for tensor in (self.label.weight, self.time[0].weight, self.time[2].weight, self.mask_token):
            nn.init.normal_(tensor, std=0.02)
        zero = [block.adaLN_modulation[-1] for block in self.modules() if isinstance(block, Block)]
        for layer in (*zero, self.adaLN_final[-1], self.linear_final):
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, keep: Tensor | None = None) -> Tensor:
        """What the network predicts, (n, out_channels, height, width).

        Args:
            x: Noisy images (n, channels, height, width).
            t: Time steps (n,).
            labels: Classes (n,).
            keep: For the masked pass: the tokens that the encoder sees, from :func:`kept_tokens`.
        """
        condition = self.time(sinusoids(t, self.hidden)) + self.label(labels)
        x = self.patches(x).flatten(2).transpose(1, 2) + self.pos_embed  # (n, L, D)
        if keep is not None:
            places = keep[:, :, None].expand(-1, -1, self.hidden)
            x = x.gather(1, places)  # (n, K, D)
        for block in self.encoder:
            x = block(x, condition, keep)
        if keep is not None:
            x = self.mask_token.expand(len(x), self.tokens, -1).scatter(1, places, x)
        x = x + self.decoder_pos_embed
        if keep is not None:
            x = self.interpolate(x, condition, keep)
        for block in self.decoder:
            x = block(x, condition)
        shift, scale = self.adaLN_final(condition).chunk(2, dim=1)
        return self.unpatchify(self.linear_final(modulate(self.norm_final(x), shift, scale)))

    def interpolate(self, x: Tensor, condition: Tensor, keep: Tensor) -> Tensor:
        """The side-interpolater: guesses the masked tokens, and leaves the others as they are."""
        seen = torch.zeros(len(x), self.tokens, 1, dtype=torch.bool, device=x.device)
        seen = seen.scatter(1, keep[:, :, None], True)
        return torch.where(seen, x, self.side_interpolater(x, condition))

    def unpatchify(self, x: Tensor) -> Tensor:
        """(n, L, patch² · out_channels) to (n, out_channels, height, width)."""
        x = x.reshape(len(x), self.side, self.side, self.patch, self.patch, self.out_channels)
        return x.permute(0, 5, 1, 3, 2, 4).reshape(
            len(x), self.out_channels, self.side * self.patch, self.side * self.patch
        )


def variational_bound(output: Tensor, x_0: Tensor, x_t: Tensor, t: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """Learned variance's term of the loss, (n,): guided-diffusion's "vb", for the epsilon prediction.

    It is the variational bound in bits per dimension with the mean held fixed, so that it trains
    the variance alone, times T/1000 (Nichol & Dhariwal 2021, Section 3.1, L_hybrid, of which each
    term stands for all T).

    Args:
        output: Of the network, (n, 2·channels, height, width): epsilon, and v of Eq. 15 in [-1, 1].
        x_0: Clean images in [-1, 1].
        x_t: Noisy images.
        t: Time steps, int64 (n,).
        alphas_cumprod: ᾱ, (T,).
    """
    eps, v = output.chunk(2, dim=1)
    previous = functional.pad(alphas_cumprod[:-1], (1, 0), value=1.0)
    beta = 1 - alphas_cumprod / previous
    variance = beta * (1 - previous) / (1 - alphas_cumprod)  # of the posterior q(x_{t-1} | x_t, x_0)
    variance[0] = variance[1]  # it is 0 at the first step

    def at_t(table: Tensor) -> Tensor:
        return table[t].float()[:, None, None, None]

    low, high = at_t(variance.log()), at_t(beta.log())
    log_variance = low + (v + 1) / 2 * (high - low)
    a, a_previous = at_t(alphas_cumprod), at_t(previous)
    guess = (x_t - (1 - a).sqrt() * eps.detach()) / a.sqrt()
    # The means differ by their shares of x_0 alone.
    difference = a_previous.sqrt() * at_t(beta) / (1 - a) * (x_0 - guess)
    kl = 0.5 * (log_variance - low - 1 + (low - log_variance).exp() + difference**2 / log_variance.exp())
    # At t = 0: the likelihood of a pixel's byte, 2/255 wide, under the normal distribution.
    std = (0.5 * log_variance).exp()
    normal = torch.distributions.Normal(0.0, 1.0)
    upper = torch.where(x_0 > 0.999, 1.0, normal.cdf((x_0 - guess + 1 / 255) / std))
    lower = torch.where(x_0 < -0.999, 0.0, normal.cdf((x_0 - guess - 1 / 255) / std))
    decoder = -(upper - lower).clamp(min=1e-12).log()
    per_image = torch.where(t[:, None, None, None] == 0, decoder, kl).mean(dim=(1, 2, 3))
    return per_image / math.log(2) * len(alphas_cumprod) / 1000
