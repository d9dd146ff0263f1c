"""Combining the weights of a batch with its losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .._support import arguments
from ..errors import SpeeDiffTypeError, SpeeDiffValueError

if TYPE_CHECKING:
    from collections.abc import Mapping


def combine(terms: Mapping[str, torch.Tensor], weights: torch.Tensor, on: str = "mse") -> torch.Tensor:
    """The weighted loss of each sample, from the terms of guided-diffusion's `training_losses`.

    SpeeD, P2 and Min-SNR weight only the mean squared error, not the variational term of a learned variance.
    guided-diffusion's own contract, `losses["loss"] * weights`, weights both. `sampler.weighs` gives the
    choice of the methods' authors.

    Args:
        terms: "mse" and, for a learned variance, "vb", each (n,). With on="loss", "loss" alone is enough, as
            for a variational bound.
        weights: (n,), as returned by `sample`.
        on: "mse" for w·mse + vb, "loss" for w·(mse + vb).

    Returns:
        The losses, (n,). Minimize their mean.

    Raises:
        SpeeDiffValueError: If a term is missing, or shapes or devices differ.
        SpeeDiffTypeError: If a term is not a tensor.
    """
    arguments.choice("on", on, ("mse", "loss"))
    first = "loss" if on == "loss" and "mse" not in terms else "mse"
    if first not in terms:
        raise SpeeDiffValueError(f"terms must contain 'mse', or 'loss' with on='loss', got {sorted(terms)}")
    mse, vb = terms[first], terms.get("vb") if first == "mse" else None
    for name, value in ((f"terms['{first}']", mse), ("weights", weights), ("terms['vb']", vb)):
        if value is None:
            continue
        if not isinstance(value, torch.Tensor):
            raise SpeeDiffTypeError(f"{name} must be a tensor, got {type(value).__name__}")
        if value.shape != mse.shape or value.ndim != 1:
            raise SpeeDiffValueError(
                f"{name} must have one entry per sample, (n,), like terms['{first}'] of shape "
                f"{tuple(mse.shape)}, got {tuple(value.shape)}"
            )
        if value.device != mse.device:
            raise SpeeDiffValueError(
                f"{name} must be on {mse.device} like terms['{first}'], got {value.device}"
            )
    if vb is None:
        return weights * mse
    return weights * mse + vb if on == "mse" else weights * (mse + vb)
