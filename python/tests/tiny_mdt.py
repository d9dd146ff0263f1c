"""Tiny MDTs of the oracle with random weights in float64, and what they are given."""

from __future__ import annotations

from typing import Any

import torch
from reference_mdt import MDT, random_weights
from reference_mdt_training import kept_tokens

SHAPE: dict[str, Any] = {"hidden_size": 8, "num_heads": 2, "patch_size": 2, "mlp_ratio": 2.0}
DATA: dict[str, Any] = {"input_size": 8, "in_channels": 3, "num_classes": 5}
VERSIONS: dict[int, dict[str, Any]] = {
    1: {"version": 1, "depth": 3, "decode_layer": 1},
    2: {"version": 2, "depth": 6, "decode_layer": 2},
}
TOKENS = 16

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
T = torch.tensor([0, 999, 400, 3])
LABELS = torch.tensor([0, 5, 2, 2])
KEPT = torch.from_numpy(kept_tokens(3, 0, 0, 4, TOKENS, 10))
"""Ten of each image's tokens, in random order."""


def create(version: int, **more: Any) -> MDT:
    model = MDT(**SHAPE, **{**DATA, **VERSIONS[version], **more})
    weights = {name: torch.from_numpy(value) for name, value in random_weights(model, version).items()}
    model.load_state_dict({**model.state_dict(), **weights})
    return model.double()
