"""Metrics of features, all by torch-fidelity. Nothing here has a formula.

Features are NumPy arrays (n, d), and go to torch-fidelity in the precision that they have.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ..._support import extras
from ...errors import SpeeDiffError, SpeeDiffNonFiniteError, SpeeDiffValueError
from . import torchvision_stand_in

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

NEIGHBORS = 3
"""Precision and recall: the neighbor whose distance is the radius of a point's ball."""
PART = 1000
"""Rows of a table of distances that are held at once."""
LEAST = 2
"""A covariance needs two images."""


def library(module: str, purpose: str) -> Any:
    """Imports a module that itself imports torchvision but needs nothing of it.

    Raises:
        SpeeDiffError: If it is missing; the error says how to install it.
    """
    known = sys.modules.get(module)
    if known is not None:  # To look for torchvision again could take a second, in vain.
        return known
    with torchvision_stand_in.importable():
        return extras.load(module, purpose, install=extras.EVALUATE)


def check() -> None:
    """Raises SpeeDiffError if torch-fidelity is missing. Called before any work."""
    library("torch_fidelity", "an evaluation")


class Statistics(NamedTuple):
    """What the Fréchet distance needs of a set of features."""

    mu: Array
    """The mean, (d,)."""
    sigma: Array
    """The covariance, float64 (d, d)."""
    n: int
    """The number of features."""


def statistics(features: Array) -> Statistics:
    """Mean and covariance.

    Raises:
        SpeeDiffValueError: If there are fewer than two features.
        SpeeDiffNonFiniteError: If one is not finite.
    """
    _check(features)
    found = library("torch_fidelity.metric_fid", "the Fréchet distance").fid_features_to_statistics(
        torch.from_numpy(features)
    )
    return Statistics(found["mu"], found["sigma"], len(features))


def frechet_distance(first: Statistics, second: Statistics) -> float:
    """The Fréchet distance between two normal distributions (Heusel et al. 2017).

    Raises:
        SpeeDiffError: If the eigenvalues do not converge.
    """
    module = library("torch_fidelity.metric_fid", "the Fréchet distance")
    if first.mu.dtype != second.mu.dtype:  # Statistics of other programs hold float64.
        first, second = (s._replace(mu=s.mu.astype("float64")) for s in (first, second))
    plain = [{"mu": s.mu, "sigma": s.sigma} for s in (first, second)]
    try:
        return float(module.fid_statistics_to_metric(*plain, False)[module.KEY_METRIC_FID])
    except ArithmeticError as error:
        raise SpeeDiffError(f"the Fréchet distance has no value for these features: {error}") from None


def kernel_distance(
    first: Array, second: Array, *, seed: int, subsets: int = 100, subset_size: int = 1000
) -> tuple[float, float]:
    """KID (Bińkowski et al. 2018): mean and standard deviation over random subsets.

    Args:
        first: Features, (n, d).
        second: Features, (m, d).
        seed: Of the subsets, in [0, 2³²).
        subsets: Their number.
        subset_size: Features of each set in a subset, at most n and m.
    """
    _check(first)
    _check(second)
    module = library("torch_fidelity.metric_kid", "KID")
    found = module.kid_features_to_metric(
        torch.from_numpy(first),
        torch.from_numpy(second),
        kid_subsets=subsets,
        kid_subset_size=subset_size,
        rng_seed=seed,
        verbose=False,
    )
    return found[module.KEY_METRIC_KID_MEAN], found[module.KEY_METRIC_KID_STD]


def inception_score(logits: Array, *, seed: int, splits: int = 10) -> tuple[float, float]:
    """The Inception Score (Salimans et al. 2016): mean and standard deviation over splits.

    Args:
        logits: (n, classes), unnormalized.
        seed: Of the order of images, in [0, 2³²).
        splits: The number of parts, at most n.
    """
    _check(logits, "logits")
    module = library("torch_fidelity.metric_isc", "the Inception Score")
    found = module.isc_features_to_metric(torch.from_numpy(logits), splits, True, seed)
    return found[module.KEY_METRIC_ISC_MEAN], found[module.KEY_METRIC_ISC_STD]


def precision_recall(generated: Array, reference: Array) -> tuple[float, float]:
    """Precision and recall by k nearest neighbors (Kynkäänniemi et al. 2019), k = 3.

    Raises:
        SpeeDiffValueError: If one of the sets has fewer than k + 1 features.
    """
    for features in (generated, reference):
        _check(features, least=NEIGHBORS + 1)
    module = library("torch_fidelity.metric_prc", "precision and recall")
    found = module.prc_features_to_metric(
        torch.from_numpy(generated),
        torch.from_numpy(reference),
        prc_neighborhood=NEIGHBORS,
        prc_batch_size=PART,
        save_cpu_ram=True,
        verbose=False,
    )
    return found[module.KEY_METRIC_PRECISION], found[module.KEY_METRIC_RECALL]


def _check(features: Array, name: str = "features", least: int = LEAST) -> None:
    if len(features) < least:
        raise SpeeDiffValueError(f"images must be at least {least}, got {len(features)}")
    finite = np.isfinite(features)
    if not finite.all():
        row = int(finite.all(axis=1).argmin())
        value = features[row][~finite[row]][0]
        raise SpeeDiffNonFiniteError(f"{name} must be finite, got {value} for image {row}")
