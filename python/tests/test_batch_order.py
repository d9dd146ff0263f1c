"""The order of the data: a pure function of seed and step, against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from speediff._data.datasets import Dataset
from speediff._runs.batches import Batches, permutation, random_bits


def numbered(count: int) -> Dataset:
    """Latents whose entry i is i on the left and -i on the right, labelled i."""
    values = np.arange(count, dtype=np.float32)[:, None, None, None] * np.array(
        [[1, -1], [1, -1]], np.float32
    )
    return Dataset(values, np.arange(count), count)


def order(batches: Batches, steps: range) -> list[int]:
    return np.concatenate([batches.indices(step) for step in steps]).tolist()


@pytest.mark.parametrize(("count", "batch_size"), [(10, 3), (10, 10), (7, 16), (1, 5), (64, 1)])
def test_every_epoch_sees_each_entry_once_in_an_order_of_its_own(count: int, batch_size: int) -> None:
    seen = order(Batches(numbered(count), batch_size, seed=4), range(12 * count))
    epochs = [seen[begin : begin + count] for begin in range(0, len(seen) - count, count)]
    for number, epoch in enumerate(epochs):
        assert sorted(epoch) == list(range(count))
        assert epoch == permutation(4, number, count).tolist()
    if count >= 10:
        assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_any_step_gives_the_batch_of_its_turn() -> None:
    data = numbered(23)
    in_turn = [Batches(data, 5, seed=1, flip=True).batch(step) for step in range(40)]
    for step in (39, 0, 4, 5, 22, 23, 4):
        x, y = Batches(data, 5, seed=1, flip=True).batch(step)
        assert (x == in_turn[step][0]).all()
        assert (y == in_turn[step][1]).all()


def test_seeds_have_orders_of_their_own() -> None:
    orders = {
        tuple(permutation(seed, epoch, 20).tolist()) for seed in (0, 1, 2**64 - 1) for epoch in range(5)
    }
    assert len(orders) == 15


def test_half_of_the_pictures_are_mirrored_whatever_they_are() -> None:
    batches = Batches(numbered(50), 20, seed=9, flip=True)
    mirrored = []
    for step in range(200):
        x, y = batches.batch(step)
        left = x[:, 0, 0, 0]
        assert (abs(left) == y).all()
        mirrored.extend(left[y > 0] < 0)
    # 3920 coins: five standard deviations.
    assert abs(np.mean(mirrored) - 0.5) < 5 * 0.5 / np.sqrt(len(mirrored))
    x, y = Batches(numbered(50), 20, seed=9).batch(3)
    assert (x[:, 0, 0, 0] == y).all()


def test_mirroring_leaves_the_order_alone() -> None:
    plain, flipped = (Batches(numbered(50), 20, seed=9, flip=flip) for flip in (False, True))
    assert order(plain, range(9)) == order(flipped, range(9))


def test_the_bits_are_those_of_philox_as_numpy_documents_it() -> None:
    """The key is (seed, index); the counter begins at (0, 0, 0, purpose), and is incremented first."""
    expected = [word for block in (1, 2) for word in philox4x64((block, 0, 0, 3), (7, 11))]
    assert random_bits(7, 11, 3, 8).tolist() == expected


def philox4x64(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Philox4x64-10 of Salmon et al. 2011."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    mask = 2**64 - 1
    for _ in range(10):
        p0, p1 = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (p1 >> 64) ^ c1 ^ k0, p1 & mask, (p0 >> 64) ^ c3 ^ k1, p0 & mask
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & mask, (k1 + 0xBB67AE8584CAA73B) & mask
    return c0, c1, c2, c3


def test_orders_are_even() -> None:
    """Each entry comes first, and follows each other one, about as often: χ² over 6000 epochs."""
    orders = np.array([permutation(3, epoch, 6) for epoch in range(6000)])
    for place in range(6):
        counts = np.bincount(orders[:, place], minlength=6)
        assert ((counts - 1000) ** 2 / 1000).sum() < 25  # p = 1e-4 at five degrees of freedom.
    pairs = np.bincount(orders[:, 0] * 6 + orders[:, 1], minlength=36)
    pairs = pairs[[i * 6 + j for i in range(6) for j in range(6) if i != j]]
    assert ((pairs - 200) ** 2 / 200).sum() < 65
