"""Each metric is torch-fidelity's to the last digit, and an independent formula's to 1e-6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from evaluation_sets import torch

import speediff
from speediff.torch._evaluation import metrics

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

SEED = 11


@pytest.fixture(scope="module")
def generated() -> Array:
    return np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def real() -> Array:
    generator = np.random.default_rng(1)
    mixed = generator.standard_normal((500, 16)) @ generator.standard_normal((16, 16)) / 4
    return (mixed + 0.3).astype(np.float32)


def direct(real: Array, generated: Array, **options: Any) -> dict[str, float]:
    """torch-fidelity's own path, from a data set to the metrics, with features as images."""
    fidelity = metrics.library("torch_fidelity", "the test")
    registry = metrics.library("torch_fidelity.registry", "the test")
    base = metrics.library("torch_fidelity.feature_extractor_base", "the test").FeatureExtractorBase

    class Identity(base):  # type: ignore[misc, valid-type]
        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str]:
            return ("rows",)

        @staticmethod
        def get_default_feature_layer_for_metric(_metric: str) -> str:
            return "rows"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, rows: Any) -> tuple[Any]:
            return (rows,)

    class Rows(torch.utils.data.Dataset):  # type: ignore[misc, name-defined]
        def __init__(self, rows: Array) -> None:
            self.rows = torch.from_numpy(rows)

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, index: int) -> Any:
            return self.rows[index]

    registry.FEATURE_EXTRACTORS_REGISTRY.pop("rows", None)
    fidelity.register_feature_extractor("rows", Identity)
    found: dict[str, float] = fidelity.calculate_metrics(
        input1=Rows(generated), input2=Rows(real), feature_extractor="rows", cuda=False, cache=False,
        verbose=False, save_cpu_ram=True, rng_seed=SEED, **options,
    )  # fmt: skip
    return found


def test_all_metrics_are_those_of_torch_fidelity_called_directly(real: Array, generated: Array) -> None:
    expected = direct(real, generated, fid=True, kid=True, isc=True, prc=True, kid_subsets=20,
                      kid_subset_size=100)  # fmt: skip
    statistics = [metrics.statistics(features) for features in (generated, real)]
    kid = metrics.kernel_distance(generated, real, seed=SEED, subsets=20, subset_size=100)
    assert metrics.frechet_distance(*statistics) == expected["frechet_inception_distance"]
    assert kid[0] == expected["kernel_inception_distance_mean"]
    assert kid[1] == expected["kernel_inception_distance_std"]
    score = metrics.inception_score(generated, seed=SEED)
    assert score == (expected["inception_score_mean"], expected["inception_score_std"])
    both = metrics.precision_recall(generated, real)
    assert both == (expected["precision"], expected["recall"])


def test_the_frechet_distance_is_that_of_the_formula(real: Array, generated: Array) -> None:
    linalg = pytest.importorskip("scipy.linalg")
    first, second = (features.astype(np.float64) for features in (generated, real))
    covariances = [np.cov(features, rowvar=False) for features in (first, second)]
    shift = first.mean(axis=0) - second.mean(axis=0)
    root = linalg.sqrtm(covariances[0] @ covariances[1])
    expected = shift @ shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.trace(root.real)
    statistics = [metrics.statistics(features) for features in (generated, real)]
    assert metrics.frechet_distance(*statistics) == pytest.approx(expected, rel=1e-6)


def test_the_kernel_distance_is_that_of_the_formula(real: Array, generated: Array) -> None:
    """All features of the smaller set, so that one subset of it is known without its random numbers."""
    first, second = (features[:400].astype(np.float64) for features in (generated, real))

    def kernel(x: Array, y: Array) -> Array:
        result: Array = (x @ y.T / x.shape[1] + 1) ** 3
        return result

    n = len(first)
    within = sum((k := kernel(x, x)).sum() - np.trace(k) for x in (first, second)) / (n * (n - 1))
    expected = within - 2 * kernel(first, second).mean()
    found, spread = metrics.kernel_distance(generated, real[:400], seed=0, subsets=1, subset_size=n)
    assert found == pytest.approx(expected, abs=1e-6)
    assert spread == 0


def test_the_inception_score_is_that_of_the_formula(generated: Array) -> None:
    logits = generated.astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = np.exp((p * (np.log(p) - np.log(p.mean(axis=0)))).sum(axis=1).mean())
    assert metrics.inception_score(generated, seed=0, splits=1)[0] == pytest.approx(expected, abs=1e-6)


def test_precision_and_recall_are_shares_of_points_within_balls(real: Array, generated: Array) -> None:
    def inside(points: Array, others: Array) -> float:
        points, others = points.astype(np.float64), others.astype(np.float64)
        within = np.linalg.norm(others[:, None] - others[None], axis=2)
        radius = np.sort(within, axis=1)[:, metrics.NEIGHBORS]
        return float((np.linalg.norm(points[:, None] - others[None], axis=2) <= radius).any(axis=1).mean())

    found = metrics.precision_recall(generated, real)
    assert found == pytest.approx((inside(generated, real), inside(real, generated)), abs=1e-6)


def test_features_that_have_no_metric_are_refused(real: Array) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match="images must be at least 2, got 1"):
        metrics.statistics(real[:1])
    with pytest.raises(speediff.SpeeDiffValueError, match="images must be at least 4, got 3"):
        metrics.precision_recall(real[:3], real)
    broken = real.copy()
    broken[3, 2] = np.nan
    with pytest.raises(speediff.SpeeDiffNonFiniteError, match="features must be finite, got nan for image 3"):
        metrics.statistics(broken)


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, real: Array
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch_fidelity.metric_fid", None)
    with pytest.raises(
        speediff.SpeeDiffError, match=r"the Fréchet distance needs torch_fidelity.*\[evaluate"
    ):
        metrics.statistics(real)
