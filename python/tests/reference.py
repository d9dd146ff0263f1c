"""The oracle of these tests: schedules, SpeeD's tables and the draw, from their published definitions.

float64 NumPy for the tables, whole numbers and fractions for the draw. Nothing here calls the library.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Table = NDArray[np.float64]
    Timesteps = NDArray[np.int64]
    Words = NDArray[np.uint64]

# ---- Schedules -----------------------------------------------------------------------------------


def linear_betas(steps: int) -> Table:
    """Ho et al. 2020, rescaled by T as in guided-diffusion and DiT."""
    return np.linspace(1e-4, 0.02, steps) * (1000 / steps)


def quadratic_betas(steps: int, start: float = 1e-4, end: float = 0.02) -> Table:
    """DiT's `quad`; with other end points Stable Diffusion's `scaled_linear`."""
    return np.linspace(start**0.5, end**0.5, steps) ** 2


def scaled_linear_betas(steps: int) -> Table:
    return quadratic_betas(steps, 0.00085, 0.012)


def cosine_betas(steps: int) -> Table:
    """Nichol and Dhariwal 2021."""

    def alpha_bar(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    return np.array([min(1 - alpha_bar((i + 1) / steps) / alpha_bar(i / steps), 0.999) for i in range(steps)])


def jsd_betas(steps: int) -> Table:
    """1/(T-i): the last is 1, and the signal falls in equal steps to 0."""
    return 1.0 / np.linspace(steps, 1, steps)


BETAS = {
    "linear": linear_betas,
    "quadratic": quadratic_betas,
    "cosine": cosine_betas,
    "scaled_linear": scaled_linear_betas,
}

# ---- SpeeD ---------------------------------------------------------------------------------------


def asymmetric(steps: int, k: float, tau: int) -> list[Fraction]:
    """Eq. 2, in whole fractions."""
    low = 1 / (steps + tau * (Fraction(k) - 1))
    return [low * Fraction(k)] * tau + [low] * (steps - tau)


def uniform(steps: int) -> list[Fraction]:
    return [Fraction(1, steps)] * steps


def rate(alphas_cumprod: Table) -> Table:
    return np.gradient(1 - alphas_cumprod)


def change_aware(alphas_cumprod: Table, lam: float) -> Table:
    """Section 2.4: the rate, rescaled to [1-λ, λ] over all steps."""
    g = rate(alphas_cumprod)
    return (1 - lam) + (2 * lam - 1) * (g - g.min()) / (g.max() - g.min())


def convergence_start(alphas_cumprod: Table, r: float) -> int:
    """The first 1-based step t with 1/ᾱ_t > r."""
    return int(np.argmax(1 / alphas_cumprod > r)) + 1


class LinearClosedForms(NamedTuple):
    """Theorem 1 for β that increase in equal steps."""

    steps: int
    beta_0: float
    delta: float
    beta_max: float

    @classmethod
    def of(cls, betas: Table) -> LinearClosedForms:
        delta = float(betas[-1] - betas[0])
        return cls(len(betas), float(betas[0]) - delta / len(betas), delta, float(betas[-1]))

    def magnitude(self, t: Table) -> Table:
        return np.exp((self.beta_0 + self.delta * t / (2 * self.steps)) * t)

    def variance(self, t: Table) -> Table:
        return 2 - 2 / self.magnitude(t)

    def rate(self, t: Table) -> Table:
        return 2 * (self.beta_0 + self.delta * t / self.steps) / self.magnitude(t)

    def acceleration_end(self) -> float:
        return math.sqrt(self.steps / self.delta) - self.steps * self.beta_0 / self.delta

    def convergence_start(self, r: float) -> float:
        shift = self.steps * self.beta_0 / self.delta
        return math.sqrt(2 * self.steps * math.log(r) / self.delta + shift**2) - shift


# ---- The released code's pairs -------------------------------------------------------------------


def dual_center(alphas_cumprod: Table) -> int:
    """The m of the released code's duals |m - t|."""
    return int(np.argmax(np.gradient(np.sqrt(1 - alphas_cumprod)) < 1e-4)) + 1


def primaries(n: int) -> int:
    """How many of a call's n entries come from P itself."""
    return min(n // 2 + 1, n)


def official_marginal(p: Table, center: int, n: int) -> Table:
    """The distribution of an entry taken at random from a call's batch of n."""
    duals = np.zeros_like(p)
    np.add.at(duals, abs(center - np.arange(len(p))), p)
    return (primaries(n) * p + (n - primaries(n)) * duals) / n


# ---- Philox4x32-10 (Salmon et al., SC 2011) ------------------------------------------------------

LOW = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)


def philox(counter: Sequence[Words | int], key: tuple[int, int]) -> tuple[Words, ...]:
    """Ten rounds on four words, elementwise over arrays of counters."""
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    k0, k1 = key
    for _ in range(10):
        left, right = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0 = (right >> SHIFT) ^ c1 ^ np.uint64(k0)
        c2 = (left >> SHIFT) ^ c3 ^ np.uint64(k1)
        c1, c3 = right & LOW, left & LOW
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


DRAW, DRAW_REFINEMENT, STRATA_ORDER, STRATA_JITTER, STRATA_REFINEMENT = range(5)


def words(seed: int, step: int, purpose: int, first: int, count: int) -> Words:
    """The words of entries first ... first + count - 1: word i%4 of block i//4."""
    blocks = np.arange(first // 4, (first + count + 3) // 4, dtype=np.uint64)
    key, counter = (seed % 2**32, seed >> 32), (blocks, purpose, step % 2**32, step >> 32)
    return np.stack(philox(counter, key), axis=1).ravel()[first % 4 :][:count]


def bits(
    seed: int, step: int, first: int, count: int, purposes: tuple[int, int] = (DRAW, DRAW_REFINEMENT)
) -> Words:
    """64-bit whole numbers, uniform over [0, 2^64): u = bits/2^64."""
    high, low = (words(seed, step, purpose, first, count) for purpose in purposes)
    return (high << SHIFT) | low


# ---- The draw ------------------------------------------------------------------------------------


def boundaries(p: Sequence[Fraction]) -> list[int]:
    """The inner boundaries of the inverse CDF in units of 2^-64; T - 1 of them."""
    cumulative, result = Fraction(0), []
    for mass in p[:-1]:
        cumulative += mass
        result.append(round(cumulative * 2**64))
    return result


def invert(u: Words, inner: Sequence[int]) -> Timesteps:
    """The time step of each u: the number of boundaries at or below it."""
    inside = [boundary for boundary in inner if boundary < 2**64]
    return np.searchsorted(np.array(inside, np.uint64), u, side="right").astype(np.int64)


def draw(seed: int, step: int, total: int, inner: Sequence[int], first: int = 0) -> Timesteps:
    """Independent draws: the entries first ... first + total - 1 of a global batch."""
    return invert(bits(seed, step, first, total), inner)


def draw_official(
    seed: int, step: int, n: int, inner: Sequence[int], center: int, first: int = 0
) -> Timesteps:
    """The released code's pairs, within a call that takes n entries of a global batch from `first` on."""
    drawn = draw(seed, step, primaries(n), inner, first)
    return np.concatenate([drawn, abs(center - drawn)])[:n]


def order(seed: int, step: int, total: int) -> list[int]:
    """The permutation of the strata; of at most 64, Durstenfeld's shuffle."""
    if total > 64:
        return network_order(seed, step, total)
    result, random = list(range(total)), words(seed, step, STRATA_ORDER, 0, total)
    for i in range(total - 1, 0, -1):
        j = int(random[i]) * (i + 1) >> 32
        result[i], result[j] = result[j], result[i]
    return result


def network_order(seed: int, step: int, total: int) -> list[int]:
    """The permutation of more than 64 strata: the network of docs/draw.md."""
    columns = math.isqrt(total - 1) + 1
    rows = -(-total // columns)
    keys = [int(word) for word in words(seed, step, STRATA_ORDER, 0, 12)]

    def mix(x: int, key: int, size: int) -> int:
        h = (x ^ key) * 0x9E3779B1 % 2**32
        h = (h ^ h >> 15) * 0x85EBCA77 % 2**32
        return (h >> 16) * size >> 16

    def turn(place: int) -> int:
        row, column = divmod(place, columns)
        for first, second in zip(keys[::2], keys[1::2], strict=True):
            column = (column + mix(row, first, columns)) % columns
            row = (row + mix(column, second, rows)) % rows
        return row * columns + column

    result = []
    for place in range(total):
        value = turn(place)
        while value >= total:
            value = turn(value)
        result.append(value)
    return result


def draw_stratified(seed: int, step: int, total: int, inner: Sequence[int]) -> Timesteps:
    """u_i = (π(i) + U_i)/N, compared as whole numbers over N·2^64."""
    jitter = bits(seed, step, 0, total, (STRATA_JITTER, STRATA_REFINEMENT))
    places = [stratum * 2**64 + int(u) for stratum, u in zip(order(seed, step, total), jitter, strict=True)]
    return np.array([sum(boundary * total <= place for boundary in inner) for place in places])


def draw_low_discrepancy(seed: int, step: int, total: int, inner: Sequence[int]) -> Timesteps:
    """u_i = (U + π(i)/N) mod 1, compared likewise."""
    high, low = (int(word) for word in words(seed, step, STRATA_JITTER, 0, 2))
    start, one = (high * 2**32 + low) * total, total * 2**64
    places = [(start + stratum * 2**64) % one for stratum in order(seed, step, total)]
    return np.array([sum(boundary * total <= place for boundary in inner) for place in places])
