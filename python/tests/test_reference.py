"""The oracle itself: known answers, the committed fixture, and exact fractions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import reference

FIXTURE = json.loads((Path(__file__).parent / "fixtures" / "first_draws.json").read_text())


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        (["00000000"] * 4, ["00000000"] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        (["ffffffff"] * 4, ["ffffffff"] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            ["243f6a88", "85a308d3", "13198a2e", "03707344"],
            ["a4093822", "299f31d0"],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_known_answers_of_its_authors(
    counter: list[str], key: list[str], answer: str
) -> None:
    low, high = (int(word, 16) for word in key)
    words = reference.philox([int(word, 16) for word in counter], (low, high))
    assert " ".join(f"{int(word):08x}" for word in words) == answer


def test_philox_is_elementwise() -> None:
    blocks = np.arange(5, dtype=np.uint64)
    together = reference.philox((blocks, 1, 2, 3), (4, 5))
    for block in range(5):
        alone = reference.philox((block, 1, 2, 3), (4, 5))
        assert [int(word[block]) for word in together] == [int(word) for word in alone]


def test_any_slice_of_the_words_is_the_same_words() -> None:
    whole = reference.words(7, 3, reference.DRAW, 0, 40)
    for first in range(9):
        assert (reference.words(7, 3, reference.DRAW, first, 11) == whole[first : first + 11]).all()


def test_every_purpose_step_and_seed_has_words_of_its_own() -> None:
    seen = {
        tuple(reference.words(seed, step, purpose, 0, 4).tolist())
        for seed in (0, 1, 2**32, 2**64 - 1)
        for step in (0, 1, 2**32)
        for purpose in range(5)
    }
    assert len(seen) == 4 * 3 * 5


def test_the_reference_reproduces_the_committed_draws() -> None:
    asymmetric = reference.boundaries(reference.asymmetric(1000, 5, 700))
    assert [f"{int(value):016x}" for value in reference.bits(0, 0, 0, 64)] == FIXTURE["bits"]
    drawn = {
        "uniform": reference.draw(0, 0, 64, reference.boundaries(reference.uniform(1000))),
        "asymmetric": reference.draw(0, 0, 64, asymmetric),
        "stratified": reference.draw_stratified(0, 0, 64, asymmetric),
        "low_discrepancy": reference.draw_low_discrepancy(0, 0, 64, asymmetric),
        "official": reference.draw_official(0, 0, 64, asymmetric, 642),
    }
    assert {name: values.tolist() for name, values in drawn.items()} == FIXTURE["timesteps"]


def test_the_reference_inverts_as_fractions_do() -> None:
    inner = reference.boundaries(reference.uniform(1000))
    u = reference.bits(5, 6, 0, 2000)
    exact = [int(value) * 1000 >> 64 for value in u]
    assert reference.invert(u, inner).tolist() == exact


def test_the_reference_shuffles() -> None:
    for total in (1, 2, 3, 63, 64, 65, 81, 82, 90, 91, 1000):
        assert sorted(reference.order(1, 2, total)) == list(range(total))
