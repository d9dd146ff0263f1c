"""MDTs that cannot be, masks that cannot be, and what a DiT does not take."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from tiny_trainers import CLASSES, create, images

from speediff import MDT, DiT, SpeeDiffNonFiniteError, SpeeDiffTypeError, SpeeDiffValueError

N, TOKENS = 4, 4
SHAPE = {"hidden_size": 16, "depth": 4, "num_heads": 2, "patch_size": 4}
LABELS = np.arange(N) % CLASSES


@pytest.mark.parametrize(
    ("masking", "message"),
    [
        ({"version": 0}, "version must be at least 1, got 0"),
        ({"version": 3}, "version must be below 3, got 3"),
        ({"decode_layer": -1}, "decode_layer must be in [0, depth = 4], got -1"),
        ({"decode_layer": 5}, "decode_layer must be in [0, depth = 4], got 5"),
        (
            {"decode_layer": 1},
            "decode_layer must leave an even number of the 4 blocks",
        ),
        ({"mask_ratio": -0.1}, "mask_ratio must be in [0, 1) and leave at least one of 4 tokens, got -0.1"),
        ({"mask_ratio": 0.6}, "mask_ratio must be in [0, 1) and leave at least one of 4 tokens, got 0.6"),
        (
            {"version": 1, "mask_ratio": 0.8},
            "mask_ratio must be in [0, 1) and leave at least one of 4 tokens",
        ),
        ({"mask_ratio": float("nan")}, "mask_ratio must be in [0, 1)"),
        ({"min_snr_gamma": 0.0}, "min_snr_gamma must be positive or None, got 0.0"),
        ({"min_snr_gamma": float("inf")}, "min_snr_gamma must be positive and finite, got inf"),
    ],
)
def test_an_mdt_that_cannot_be(masking: dict[str, Any], message: str) -> None:
    with pytest.raises(SpeeDiffValueError, match=re.escape(message)):
        create(model=MDT(**{**SHAPE, "decode_layer": 2, **masking}))


def test_types_of_an_mdt() -> None:
    for name in ("version", "decode_layer", "mask_ratio", "min_snr_gamma"):
        with pytest.raises(SpeeDiffTypeError, match=name):
            create(model=MDT(**SHAPE, **{name: "many"}))


def test_the_official_names() -> None:
    assert MDT.named("MDT-S/2") == MDT(384, 12, 6, 2, version=1, decode_layer=2, min_snr_gamma=None)
    assert MDT.named("MDTv2-XL/4") == MDT(1152, 28, 16, 4)
    with pytest.raises(SpeeDiffValueError, match="model must be a MDT, got 'DiT-S/2'"):
        MDT.named("DiT-S/2")
    with pytest.raises(SpeeDiffValueError, match="model must be a DiT, got 'MDT-S/2'"):
        DiT.named("MDT-S/2")
    with pytest.raises(SpeeDiffValueError, match=r"did you mean MDTv2-S/2\?"):
        MDT.named("mdtv2-s2")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kept": np.zeros((N, 5), np.int64)}, "kept_count must be in [1, 4], got 5"),
        ({"kept": np.zeros((N, 0), np.int64)}, "kept_count must be in [1, 4], got 0"),
        ({"kept": np.zeros((N, 2), np.int64)}, "kept[1] must not repeat a token of its sample, got 0"),
        ({"kept": np.full((N, 1), 4)}, "kept[0] must be in [0, 4), got 4"),
        ({"kept": np.full((N, 1), -1)}, "kept[0] must be in [0, 4), got -1"),
        ({"kept": np.zeros((3, 1), np.int64)}, "kept must have shape (4, "),
        (
            {"masked_noise": np.full((N, 2, 8, 8), np.inf, np.float32)},
            "masked_noise[0] must be finite, got inf",
        ),
        ({"masked_noise": np.zeros((N, 2, 8, 4), np.float32)}, "masked_noise must have shape (4, 2, 8, 8)"),
    ],
)
def test_what_backward_refuses(given: dict[str, Any], message: str) -> None:
    with create(model=MDT(**SHAPE, decode_layer=2)) as trainer:
        with pytest.raises(SpeeDiffValueError, match=re.escape(message)):
            trainer.backward(images(N), LABELS, **given)
        assert trainer.step(images(N), LABELS) > 0
        assert trainer.global_step == 1


@pytest.mark.parametrize("given", [{"kept": np.zeros((N, 1), np.int64)}, {"masked_noise": images(N)}])
def test_a_dit_has_no_masks(given: dict[str, Any]) -> None:
    with (
        create() as trainer,
        pytest.raises(
            SpeeDiffValueError, match=r"must not be given to a network (without masks|with one pass)"
        ),
    ):
        trainer.backward(images(N), LABELS, **given)


def test_indices_of_biases_may_be_left_out_but_not_be_others() -> None:
    with create(model=MDT(**SHAPE, decode_layer=2)) as trainer:
        state = trainer.state_dict()
        indices = [name for name in state if name.endswith("relative_position_index")]
        assert len(indices) == 5
        trainer.load_state_dict({name: value for name, value in state.items() if name not in indices})
        state[indices[0]] += 1
        with pytest.raises(SpeeDiffValueError, match="must be the grid's relative positions, got others"):
            trainer.load_state_dict(state)


def test_a_parameter_that_is_not_finite_is_found_in_either_pass() -> None:
    """A mask token that is not finite hurts the second pass alone."""
    with create(model=MDT(**SHAPE, decode_layer=2)) as trainer:
        trainer.step(images(N), LABELS)
        token = trainer.parameters["mask_token"]
        token[0, 0, 3] = np.nan
        with pytest.raises(SpeeDiffNonFiniteError, match="the parameter mask_token"):
            trainer.backward(images(N), LABELS)
        token[0, 0, 3] = 3e38
        trainer.parameters["decoder_pos_embed"][:] = 3e38
        with pytest.raises(SpeeDiffNonFiniteError, match="the output of "):
            trainer.backward(images(N), LABELS)
