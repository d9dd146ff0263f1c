"""Random numbers of the Python side: the same in every version of NumPy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Indices = np.ndarray[Any, np.dtype[np.int64]]

PERMUTATION = 0
"""The purpose of a permutation's bits. Different purposes share no bits."""


def permutation(seed: int, epoch: int, count: int) -> Indices:
    """A permutation of `count` entries: the argsort of random bits."""
    return np.argsort(random_bits(seed, epoch, PERMUTATION, count), kind="stable")


def random_bits(seed: int, index: int, purpose: int, count: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Philox4x64 words for the key (seed, index), uint64 (count,)."""
    key = np.array([seed, index], np.uint64)
    words = np.random.Philox(key=key, counter=[0, 0, 0, purpose]).random_raw(count)
    return np.asarray(words, np.uint64)


def normal(
    seed: int, index: int, purpose: int, shape: tuple[int, ...]
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Standard normal numbers by the method of Box and Muller, float32 of this shape."""
    count = math.prod(shape)
    bits = random_bits(seed, index, purpose, count + count % 2).reshape(2, -1)
    first, second = (((words >> 11) + 0.5) / 2**53 for words in bits)
    radius = np.sqrt(-2 * np.log(first))
    pair = np.concatenate((radius * np.cos(2 * np.pi * second), radius * np.sin(2 * np.pi * second)))
    return pair[:count].reshape(shape).astype(np.float32)
