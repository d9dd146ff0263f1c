"""Parts of a global batch that are not of one size, and steps that are set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tiny_trainers import CLASSES, create, images, sampler

from speediff import SpeeDiffValueError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speediff import TimestepSampler

N = 7
PARTS = [[7], [1, 6], [3, 2, 2]]


def labels(n: int = N) -> NDArray[np.int64]:
    return np.arange(n, dtype=np.int64) % CLASSES


@pytest.mark.parametrize("strata", ["none", "stratified"])
@pytest.mark.parametrize("sizes", PARTS)
def test_parts_together_are_the_whole_batch(sizes: list[int], strata: str) -> None:
    """Time steps, noise, dropped labels, loss and gradients, on samplers of other ranks."""
    x, y = images(N), labels()

    def drawn_by(**layout: int) -> TimestepSampler:
        method = {"sampling": "laplace", "weighting": "min_snr", "prediction": "epsilon"}
        return sampler(**method, strata=strata, seed=4, **layout)

    with create(drawn_by(), class_dropout_prob=0.5) as whole:
        whole.global_step = 5
        loss = whole.backward(x, y)
        gradient, timesteps = whole.flat_gradients.copy(), whole.timesteps
    total, losses, seen = np.zeros_like(gradient), [], []
    for rank, size in enumerate(sizes):
        offset = sum(sizes[:rank])
        rows = slice(offset, offset + size)
        with create(drawn_by(rank=rank, world_size=len(sizes)), class_dropout_prob=0.5) as part:
            part.global_step = 5
            losses.append(part.backward(x[rows], y[rows], offset=offset, total=N))
            total += part.flat_gradients
            seen.append(part.timesteps)
    assert np.concatenate(seen).tolist() == timesteps.tolist()
    assert sum(losses) == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(total, gradient, atol=1e-6 * np.abs(gradient).max())


def test_micro_batches_may_differ_where_they_say_what_they_are() -> None:
    x, y = images(N), labels()
    with create() as whole, create(sampler(accumulation=2)) as parted:
        loss = whole.backward(x, y)
        both = parted.backward(x[:2], y[:2], offset=0, total=N)
        both += parted.backward(x[2:], y[2:], offset=2, total=N)
        assert both == pytest.approx(loss, rel=1e-6)
        assert parted.apply() == pytest.approx(whole.apply(), rel=1e-5)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"offset": 0}, "offset and total must be given together, got offset=0, total=None"),
        ({"total": 8}, "offset and total must be given together"),
        ({"offset": -1, "total": 8}, "offset must be at least 0, got -1"),
        ({"offset": 2, "total": 8}, "offset plus n = 7 must be at most total = 8, got 2"),
        ({"offset": 0, "total": 0}, "total must be at least 1, got 0"),
    ],
)
def test_a_place_that_cannot_be(place: dict[str, int], message: str) -> None:
    with create() as trainer:
        with pytest.raises(SpeeDiffValueError, match=message):
            trainer.backward(images(N), labels(), **place)
        trainer.step(images(N), labels())
        assert trainer.global_step == 1


def test_a_part_may_be_empty() -> None:
    """Its gradient is 0, first or last, and it has no losses."""
    x, y = images(N), labels()
    with create() as whole, create(sampler(accumulation=2)) as parted:
        for trainer in (whole, parted):
            trainer.step(images(4), labels(4))  # Gradients that are there from before count for nothing.
        loss = whole.backward(x, y)
        for empty_first in (True, False):
            for n in (0, N) if empty_first else (N, 0):
                part = parted.backward(x[:n], y[:n], offset=0 if n else 3, total=N)
                assert part == (pytest.approx(loss, rel=1e-6) if n else 0)
                assert (len(parted.losses), len(parted.timesteps)) == (n, n)
            np.testing.assert_allclose(parted.flat_gradients, whole.flat_gradients, atol=1e-6)
            parted.discard()
        with pytest.raises(SpeeDiffValueError, match=r"n must be in \[1, 1048576\], got 0"):
            parted.backward(x[:0], y[:0])


def test_a_step_that_is_given_up_leaves_nothing() -> None:
    with create(sampler(accumulation=2)) as whole, create(sampler(accumulation=2)) as again:
        again.backward(images(2), labels(2))
        again.discard()
        again.discard()
        again.global_step = 0
        for trainer in (whole, again):
            trainer.backward(images(4), labels(4))
            trainer.backward(images(4), labels(4))
        assert again.flat_gradients.tobytes() == whole.flat_gradients.tobytes()
        assert again.apply() == whole.apply()


def test_a_step_that_is_set_is_drawn_and_counted() -> None:
    with create() as one, create() as other:
        other.load_state_dict(one.state_dict())
        for _ in range(3):
            one.step(images(), labels(4))
        one.load_state_dict(other.state_dict())
        other.global_step = 3
        assert one.step(images(), labels(4)) == other.step(images(), labels(4))
        assert one.global_step == other.global_step == 4


def test_the_step_counts_in_the_bias_correction() -> None:
    """After k updates the moments are taken for sums of k + 1 gradients: less is added to what is little."""
    with create(learning_rate=1e-3) as first, create(learning_rate=1e-3) as later:
        later.global_step = 2
        for trainer in (first, later):
            trainer.backward(
                images(), labels(4), t=np.arange(4), noise=images(), weights=np.ones(4, np.float32)
            )
        gradient = first.gradients["final_layer.linear.bias"].copy()
        moved = []
        for trainer in (first, later):
            trainer.apply()
            moved.append(trainer.parameters["final_layer.linear.bias"].copy())
    for step, found in ((1, moved[0]), (3, moved[1])):
        mean = 0.1 * gradient / (1 - 0.9**step)
        square = 0.001 * gradient**2 / (1 - 0.999**step)
        np.testing.assert_allclose(found, -1e-3 * mean / (np.sqrt(square) + 1e-8), rtol=1e-4, atol=1e-9)


def test_a_step_that_cannot_be_set() -> None:
    with create(sampler(accumulation=2)) as trainer:
        for value in (-1, (1 << 32) + 1):
            with pytest.raises(SpeeDiffValueError, match="global_step must be"):
                trainer.global_step = value
        trainer.backward(images(), labels(4))
        with pytest.raises(SpeeDiffValueError, match="must be set between steps, got a call after 1"):
            trainer.global_step = 2
