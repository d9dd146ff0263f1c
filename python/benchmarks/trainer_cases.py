"""What `trainer.py` measures: the cases, their inputs and weights, and how many operations a step has.

NumPy alone: SpeeDiff's process, whose memory is measured, imports this too.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STEPS = 1000
LEARNING_RATE = 1e-4
EMA_DECAY = 0.9999
FREQUENCIES = 256
"""The width of the sinusoidal embedding of the timestep."""
UPDATE_BYTES = 9 * 4
"""What AdamW and EMA move per parameter: read p, g, m, v, ema; write p, m, v, ema.

The gradient's norm, and clearing it, are not counted.
"""


@dataclass(frozen=True)
class Case:
    """A network, its data and its batch."""

    name: str
    batch: int
    hidden_size: int
    depth: int
    num_heads: int
    patch_size: int
    input_size: int = 32
    in_channels: int = 4
    num_classes: int = 1000
    learn_sigma: bool = True
    decode_layer: int = 0
    """Blocks that decode; above 0 the network is an MDT of version 1, whose step has two passes."""
    mask_ratio: float = 0.3
    to_reach: float = 1.15
    """The ratio to PyTorch's fp32 eager step that was asked for."""

    @property
    def tokens(self) -> int:
        """Patches of an image."""
        return (self.input_size // self.patch_size) ** 2

    @property
    def kept(self) -> int:
        """Tokens that the encoder gets in an MDT's masked pass."""
        return int(self.tokens * (1 - self.mask_ratio))

    @property
    def passes(self) -> int:
        """How often a step goes through the network."""
        return 2 if self.decode_layer else 1

    @property
    def title(self) -> str:
        """Name and batch."""
        return f"{self.name}, batch {self.batch}"

    @property
    def data(self) -> dict[str, Any]:
        """The keyword arguments that a trainer and the reference network share."""
        names = ("input_size", "in_channels", "num_classes", "learn_sigma")
        return {name: getattr(self, name) for name in names}


def network(case: Case) -> Any:
    """Its `speediff.DiT` or `speediff.MDT`."""
    import speediff

    shape = case.hidden_size, case.depth, case.num_heads, case.patch_size
    if not case.decode_layer:
        return speediff.DiT(*shape)
    masking = {"decode_layer": case.decode_layer, "mask_ratio": case.mask_ratio}
    return speediff.MDT(*shape, version=1, **masking, min_snr_gamma=None)


CASES = {
    case.name: case
    for case in (
        Case("DiT-S/8", 16, 384, 12, 6, 8, to_reach=1.3),
        Case("DiT-S/4", 8, 384, 12, 6, 4),
        Case("DiT-S/2", 8, 384, 12, 6, 2, to_reach=1.2),
        Case("DiT-B/4", 8, 768, 12, 12, 4),
        Case("MDT-S/2", 8, 384, 12, 6, 2, decode_layer=2, to_reach=1.2),
        Case("small", 64, 128, 6, 4, 4, 28, 1, 10, learn_sigma=False),
    )
}


class Product(NamedTuple):
    """(rows × inner) by (inner × columns), `times` times in a forward pass."""

    name: str
    rows: int
    inner: int
    columns: int
    times: int
    passes: int = 3
    """C = AB forward, and dA = dC Bᵀ and dB = Aᵀ dC backward; two where A is data and needs no gradient."""

    @property
    def flops(self) -> int:
        """Of a training step: one multiplication and one addition for each of rows · inner · columns."""
        return 2 * self.rows * self.inner * self.columns * self.times * self.passes


def products(case: Case) -> list[Product]:
    """All matrix products of the official network. What an implementation computes twice counts once."""
    n, h, times = case.batch, case.hidden_size, case.passes
    rows, patch = n * case.tokens, case.patch_size**2
    out = (2 if case.learn_sigma else 1) * case.in_channels
    ends = [
        Product("x_embedder.proj", rows, case.in_channels * patch, h, times, passes=2),
        Product("t_embedder.mlp.0", n, FREQUENCIES, h, times, passes=2),
        Product("t_embedder.mlp.2", n, h, h, times),
        Product("final_layer.adaLN_modulation", n, h, 2 * h, times),
        Product("final_layer.linear", rows, h, patch * out, times),
    ]
    if not case.decode_layer:
        return ends + blocks(case, case.tokens, case.depth)
    # The full pass, the masked one's side-interpolater and decoder; then its encoder.
    full = blocks(case, case.tokens, case.depth + 1 + case.decode_layer)
    return ends + full + blocks(case, case.kept, case.depth - case.decode_layer, " of the kept")


def blocks(case: Case, tokens: int, times: int, which: str = "") -> list[Product]:
    """The products of a block for some tokens of each image."""
    n, h = case.batch, case.hidden_size
    rows, head, heads = n * tokens, h // case.num_heads, n * case.num_heads * times
    return [
        Product(f"adaLN_modulation{which}", n, h, 6 * h, times),
        Product(f"attn.qkv{which}", rows, h, 3 * h, times),
        Product(f"attention, q·kᵀ{which}", tokens, head, tokens, heads),
        Product(f"attention, p·v{which}", tokens, tokens, head, heads),
        Product(f"attn.proj{which}", rows, h, h, times),
        Product(f"mlp.fc1{which}", rows, h, 4 * h, times),
        Product(f"mlp.fc2{which}", rows, 4 * h, h, times),
    ]


def flops(case: Case) -> int:
    """Floating-point operations of the network's matrix products in a training step."""
    return sum(product.flops for product in products(case))


def attention_flops(case: Case) -> int:
    """Those that grow with the square of the tokens."""
    return sum(product.flops for product in products(case) if product.name.startswith("attention"))


class Gemm(NamedTuple):
    """C (m × n) = A (m × k) · B (k × n) in row-major order; a transposed operand is stored the other way."""

    name: str
    m: int
    n: int
    k: int
    transpose_a: bool = False
    transpose_b: bool = False

    @property
    def flops(self) -> int:
        """Of one product."""
        return 2 * self.m * self.n * self.k

    @property
    def stored_a(self) -> tuple[int, int]:
        """The shape of A in memory."""
        return (self.k, self.m) if self.transpose_a else (self.m, self.k)

    @property
    def stored_b(self) -> tuple[int, int]:
        """The shape of B in memory."""
        return (self.n, self.k) if self.transpose_b else (self.k, self.n)


SQUARE = Gemm("2048 × 2048 × 2048", 2048, 2048, 2048)


def gemms(case: Case) -> Iterator[tuple[Gemm, int]]:
    """The products of the blocks' linear layers, as y = x Wᵀ, dx = dy W and dW = dyᵀ x; how often each is."""
    for name, rows, inner, columns, times, _ in products(case):
        if name.startswith(("attn.", "mlp.")):
            yield Gemm(f"{name} forward", rows, columns, inner, transpose_b=True), times
            yield Gemm(f"{name} input gradient", rows, inner, columns), times
            yield Gemm(f"{name} weight gradient", columns, inner, rows, transpose_a=True), times


class Batch(NamedTuple):
    """A micro-batch with all that is drawn for it; the last two for an MDT."""

    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    t: np.ndarray[Any, Any]
    noise: np.ndarray[Any, Any]
    weights: np.ndarray[Any, Any]
    masked_noise: np.ndarray[Any, Any] | None = None
    kept: np.ndarray[Any, Any] | None = None


def batch(case: Case, seed: int) -> Batch:
    """The same arrays in every process. No t is 0, where float32 has few digits far from the data."""
    random = np.random.default_rng(seed)
    n = case.batch
    x, noise = random.standard_normal(
        (2, n, case.in_channels, case.input_size, case.input_size), dtype=np.float32
    )
    y, t = random.integers(0, case.num_classes, n), random.integers(1, STEPS, n)
    drawn = Batch(x, y, t, noise, random.uniform(0.5, 2, n).astype(np.float32))
    if not case.decode_layer:
        return drawn
    kept = np.argsort(random.random((n, case.tokens)), axis=1)[:, : case.kept].copy()
    return drawn._replace(masked_noise=random.standard_normal(x.shape, dtype=np.float32), kept=kept)


def fill(parameters: Mapping[str, np.ndarray[Any, Any]], seed: int) -> int:
    """Gives every parameter the same normal numbers in every process, none of them 0; counts them."""
    for name, value in parameters.items():
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        inputs = math.prod(value.shape[1:])
        scale = 0.05 if value.ndim == 1 else min(1.5 / math.sqrt(inputs), 0.15)
        if name == "final_layer.linear.weight":
            scale = 0.3 / math.sqrt(inputs)
        random.standard_normal(dtype=np.float32, out=value)
        value *= np.float32(scale)
    return sum(value.size for value in parameters.values())
