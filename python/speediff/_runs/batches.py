"""The training data of each step: a pure function of seed and step, so that a run can be resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._support.random_numbers import permutation, random_bits

if TYPE_CHECKING:
    from .._data.datasets import Dataset, Floats
    from .._data.raw import Labels
    from .._support.random_numbers import Indices

FLIP = 1
"""A purpose of random bits, in addition to that of permutations."""


class Batches:
    """The global batches of a run, by step.

    Each epoch uses a new permutation and visits each entry once. A batch may span two epochs. The
    permutation depends on (seed, epoch); mirroring depends on (seed, step, place in the global batch).
    """

    def __init__(self, data: Dataset, batch_size: int, *, seed: int, flip: bool = False) -> None:
        """Stores what all steps share.

        Args:
            data: The training data.
            batch_size: The global batch of a step, micro-batches of accumulation included.
            seed: In [0, 2⁶⁴).
            flip: Mirror each picture left to right with probability ½.
        """
        self._data = data
        self._batch_size = batch_size
        self._seed = seed
        self._flip = flip
        self._orders: dict[int, Indices] = {}

    def batch(self, step: int, part: slice = slice(None)) -> tuple[Floats, Labels | None]:
        """The global batch of a step (counted from 0), or a part of it."""
        flipped = None
        if self._flip:
            flipped = (random_bits(self._seed, step, FLIP, self._batch_size) >> 63 == 1)[part]
        return self._data.batch(self.indices(step)[part], flipped)

    def indices(self, step: int) -> Indices:
        """Indices of a step's batch into the data, shape (batch_size,)."""
        count = len(self._data)
        epoch, place = divmod(step * self._batch_size, count)
        parts, missing = [], self._batch_size
        while missing:
            part = self._order(epoch)[place : place + missing]
            parts.append(part)
            missing -= len(part)
            epoch, place = epoch + 1, 0
        self._orders = {epoch - 1: self._order(epoch - 1)}
        return np.concatenate(parts)

    def _order(self, epoch: int) -> Indices:
        if epoch not in self._orders:
            self._orders[epoch] = permutation(self._seed, epoch, len(self._data))
        return self._orders[epoch]
