"""The oracle of MDT's training: both passes' objective, and docs/draw.md's random numbers of them.

After sail-sg/MDT's `train_util.py` and `gaussian_diffusion.py`. Nothing here calls the library.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import oracle_weightings
import reference
import torch
from reference_training import LABEL_DROPOUT, NOISE, drop_labels, losses, noise

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from reference_mdt import MDT
    from reference_training import Array, Process
    from torch import Tensor

# ---- The objective -------------------------------------------------------------------------------


def min_snr(process: Process, prediction: str, gamma: float | None) -> Array:
    """What the authors' code multiplies the squared error by, for every time step; 1 without γ.

    min(S, γ) for x₀ and min(S, γ)/S for ε are theirs. Theirs for v is that of ε; here, as everywhere in this
    project, v and the flow have what makes their loss that of ε: min(S, γ)/(S+1) and min(S, γ)/(1+√S)².
    """
    bar = process.alphas_cumprod.numpy()
    factors = [] if gamma is None else [SimpleNamespace(name="min_snr", gamma=gamma)]
    return oracle_weightings.weights(bar, factors, prediction)


class Pass(NamedTuple):
    """What one of the two passes is given besides x₀ and t; `kept` is None in the full one."""

    noise: Tensor
    labels: Tensor | None
    kept: Tensor | None = None


class Objective(NamedTuple):
    """The mean over the batch of both passes' w·min_snr·mse + vb, and each entry's sum of both mse's (n,)."""

    loss: Tensor
    mse: Tensor


def mdt_objective(
    model: MDT,
    process: Process,
    prediction: str,
    x0: Tensor,
    t: Tensor,
    passes: tuple[Pass, Pass],
    weights: Tensor,
    gamma: float | None = 5.0,
) -> Objective:
    """Trains the full and the masked pass of the same x₀ at the same t."""
    factors = weights * torch.from_numpy(min_snr(process, prediction, gamma))[t]
    terms = []
    for eps, labels, kept in passes:
        output = model(process.noised(prediction, x0, t, eps), t, labels, kept)
        terms.append(losses(process, prediction, output, x0, t, eps))
    return Objective(sum(term.objective(factors) for term in terms), sum(term.mse for term in terms))


# ---- Random numbers ------------------------------------------------------------------------------

MASK, MASKED_NOISE, MASKED_LABEL_DROPOUT, MASK_RATIO = 7, 11, 12, 13


def kept_count(seed: int, step: int, tokens: int, mask_ratio: float, version: int) -> int:
    """K of a step: version 2 masks up to 0.2 more than `mask_ratio`."""
    if version == 2:
        u = int(reference.words(seed, step, MASK_RATIO, 0, 1)[0]) / 2**32
        mask_ratio = min(mask_ratio + 0.2 * u, 1.0)
    return int(tokens * (1 - mask_ratio))


def kept_tokens(seed: int, step: int, first: int, count: int, tokens: int, kept: int) -> NDArray[np.int64]:
    """The tokens that entries first … first + count - 1 of a global batch keep, in their order (count, K)."""
    padded = -(-tokens // 4) * 4
    words = reference.words(seed, step, MASK, first * padded, count * padded)
    # Equal words in the order of their tokens.
    order = np.argsort(words.reshape(count, padded)[:, :tokens], axis=1, kind="stable")
    return order[:, :kept].astype(np.int64)


def drawn_passes(
    trainer: Any, step: int, first: int, labels: NDArray[np.int64] | None, count: int
) -> tuple[Pass, Pass]:
    """What a trainer draws for both passes of entries first … first + count - 1 of a step's global batch."""
    shape = (trainer.in_channels, trainer.input_size, trainer.input_size)
    tokens = (trainer.input_size // trainer.config.patch_size) ** 2
    seed, config = trainer.seed, trainer.config
    keep = kept_count(seed, step, tokens, config.mask_ratio, config.version)
    kept = torch.from_numpy(kept_tokens(seed, step, first, count, tokens, keep))

    def drawn(noise_purpose: int, label_purpose: int, kept: Tensor | None) -> Pass:
        eps = torch.from_numpy(noise(seed, step, first, count, shape, noise_purpose))
        if labels is None:
            return Pass(eps, None, kept)
        dropped = drop_labels(
            labels, seed, step, first, trainer.class_dropout_prob, trainer.num_classes, label_purpose
        )
        return Pass(eps, torch.from_numpy(dropped), kept)

    return drawn(NOISE, LABEL_DROPOUT, None), drawn(MASKED_NOISE, MASKED_LABEL_DROPOUT, kept)
