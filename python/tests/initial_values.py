"""How official networks start: zeros, Xavier's uniform numbers, and normal ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def xavier_bound(shape: tuple[int, ...]) -> float:
    return math.sqrt(6 / (shape[0] + math.prod(shape[1:])))


def is_zero(name: str) -> bool:
    return name.endswith("bias") or "adaLN_modulation" in name or name == "final_layer.linear.weight"


def is_normal(name: str) -> bool:
    return "t_embedder" in name or "y_embedder" in name or name.endswith(("mask_token", "bias_table"))


def assert_official_start(parameters: Mapping[str, NDArray[np.float32]]) -> None:
    """Zeros, bounds, and the first moments within 5 of their standard deviations."""
    for name, value in parameters.items():
        if is_zero(name):
            assert not value.any(), name
            continue
        size, values = value.size, value.astype(np.float64)
        if is_normal(name):
            deviation, spread_of_square = 0.02, math.sqrt(2)
            assert np.abs(values).max() < 0.02 * 6, name
            assert np.abs(values).max() > 0.02 * (2 if size > 100 else 1), name
        else:
            bound = xavier_bound(value.shape)
            deviation, spread_of_square = bound / math.sqrt(3), math.sqrt(0.8)
            assert np.abs(values).max() <= bound * (1 + 1e-6), name
            assert np.abs(values).max() > bound * (1 - 20 / size), name
        assert abs(values.mean()) < 5 * deviation / math.sqrt(size), name
        square = (values / deviation) ** 2
        assert abs(square.mean() - 1) < 5 * spread_of_square / math.sqrt(size), name


def assert_no_two_alike(parameters: Mapping[str, NDArray[np.float32]]) -> None:
    """No two tensors start with the same numbers, but for zeros."""
    random = [value.ravel()[:5].tobytes() for name, value in parameters.items() if not is_zero(name)]
    assert len(set(random)) == len(random)
