"""The instrument: what it measures against what, and the floor beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from evaluation_sets import Projection, dataset, images

import speediff
from speediff._data.datasets import Dataset
from speediff.torch._evaluation import metrics
from speediff.torch._evaluation.instrument import MEASURES, Instrument
from speediff.torch._evaluation.reference import Reference

ALL = ("fd", "kid", "is", "prc", "accuracy")


def test_the_values_are_the_metrics_of_the_extracted_features() -> None:
    real, made = dataset(300, 0), dataset(200, 1, brightness=200)
    extractor = Projection()
    instrument = Instrument(real, None, extractor, ALL, seed=5, kid_subsets=7, kid_subset_size=50)
    found = instrument.measure(made.values, made.labels)
    first, second = extractor.features(made.values), extractor.features(real.values)
    logits = extractor.logits(made.values)
    assert tuple(found) == instrument.columns == tuple(name for one in ALL for name in MEASURES[one])
    assert found["fd"] == metrics.frechet_distance(metrics.statistics(first), metrics.statistics(second))
    kid = metrics.kernel_distance(first, second, seed=5, subsets=7, subset_size=50)
    assert (found["kid"], found["kid_std"]) == kid
    assert (found["is"], found["is_std"]) == metrics.inception_score(logits, seed=5)
    assert found["accuracy"] == (logits.argmax(axis=1) == made.labels).mean()
    assert 0 <= found["precision"] <= 1


def test_the_reference_is_extracted_once() -> None:
    extractor = Projection()
    instrument = Instrument(dataset(300, 0), dataset(60, 2), extractor, ("fd", "kid"), kid_subset_size=50)
    for seed in (1, 2):
        instrument.measure(images(40, seed))
    instrument.floor(40)
    assert extractor.calls == [300, 40, 40, 40]


def test_measuring_again_gives_the_same_numbers_and_the_seed_matters() -> None:
    real, made = dataset(300, 0), images(100, 1)
    options: Any = {"measures": ("kid",), "kid_subsets": 3, "kid_subset_size": 20}
    first = Instrument(real, None, Projection(), seed=1, **options)
    assert first.measure(made) == first.measure(made)
    assert first.measure(made) != Instrument(real, None, Projection(), seed=2, **options).measure(made)


def test_the_floor_is_of_test_images_against_the_training_split() -> None:
    real, test = dataset(300, 0), dataset(80, 3)
    instrument = Instrument(real, test, Projection(), ("fd", "accuracy"))
    floor = instrument.floor(1000)
    assert floor is not None
    assert (floor.n, floor.what) == (80, "test images")
    assert floor.values["fd"] == pytest.approx(instrument.measure(test.values, test.labels)["fd"], rel=1e-5)
    assert instrument.floor(30).n == 30  # type: ignore[union-attr]


def test_without_test_images_the_floor_is_of_one_half_against_the_other() -> None:
    real = dataset(300, 0)
    floor = Instrument(real, None, Projection(), ALL, kid_subset_size=50).floor(1000)
    assert floor is not None
    assert floor.n == 150
    assert floor.what == "one half of the reference against the other half, 150 images"
    # Two halves of one set are nearer than a set that is darker.
    instrument = Instrument(real, None, Projection(), ("fd",))
    assert floor.values["fd"] < instrument.measure(images(150, 1, brightness=200))["fd"]


def test_a_part_of_the_reference_is_chosen_by_the_seed() -> None:
    real = dataset(300, 0)
    first, again, other = (Reference.of_images(real, Projection(), limit=50, seed=seed) for seed in (0, 0, 1))
    assert first.n == len(first.features) == 50  # type: ignore[arg-type]
    assert (first.features == again.features).all()
    assert (first.features != other.features).any()


def test_few_images_get_a_warning_that_the_covariance_is_singular(capsys: pytest.CaptureFixture[str]) -> None:
    instrument = Instrument(dataset(300, 0), None, Projection(13), ("fd",))
    value = instrument.measure(images(13, 1))["fd"]
    assert np.isfinite(value)
    err = capsys.readouterr().err
    assert "13 images are at most as many as a feature has numbers (13)" in err
    assert "covariance is singular" in err


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (images(1, 0), "SpeeDiffValueError", "images must be at least 2, got 1"),
        (images(5, 0, size=9), "SpeeDiffValueError", r"must have the shape \(1, 8, 8\) of the reference's"),
        (images(5, 0, channels=3), "SpeeDiffValueError", r"got \(3, 8, 8\)"),
        (images(5, 0)[:, 0], "SpeeDiffValueError", r"must have the shape \(n, c, h, w\)"),
        (images(5, 0) / 255, "SpeeDiffTypeError", "images must be a uint8 array, got float64"),
        ([1, 2], "SpeeDiffTypeError", "images must be a uint8 array, got list"),
    ],
)
def test_other_images_than_the_reference_has_are_refused(value: Any, error: str, message: str) -> None:
    instrument = Instrument(dataset(300, 0), None, Projection(), ("fd",))
    with pytest.raises(getattr(speediff, error), match=message):
        instrument.measure(value)


def test_measures_that_fit_neither_extractor_nor_reference_are_refused_before_any_work() -> None:
    class Silent(Projection):
        has_logits = False

        def features(self, images: Any) -> Any:
            raise AssertionError

    real = dataset(30, 0)
    with pytest.raises(speediff.SpeeDiffValueError, match="measures must be one of accuracy, clip_score, fd"):
        Instrument(real, None, Silent(), ("fid",))
    with pytest.raises(speediff.SpeeDiffValueError, match="measure is needs classes"):
        Instrument(real, None, Silent(), ("is",))
    known = Reference(30, known_statistics=metrics.statistics(Projection().features(real.values)))
    with pytest.raises(speediff.SpeeDiffValueError, match="measure kid needs the reference's images"):
        Instrument(known, None, Silent(), ("kid",))
    latents = Dataset(np.zeros((9, 4, 8, 8), np.float32))
    with pytest.raises(speediff.SpeeDiffTypeError, match="the reference must be uint8 images, got float32"):
        Instrument(latents, None, Silent(), ("fd",))
    with pytest.raises(speediff.SpeeDiffValueError, match="the reference must have at least 2 images, got 1"):
        Instrument(dataset(1, 0), None, Silent(), ("fd",))


def test_the_accuracy_needs_labels() -> None:
    instrument = Instrument(dataset(30, 0), None, Projection(), ("accuracy",))
    with pytest.raises(speediff.SpeeDiffValueError, match="labels must be given for the accuracy"):
        instrument.measure(images(9, 0))


def test_the_accuracy_needs_a_classifier_of_these_classes() -> None:
    real = dataset(30, 0)
    others = Dataset(real.values, real.labels, 3, ("ant", "cow", "bee"))
    more = Dataset(real.values, real.labels, 4)
    unnamed = Dataset(real.values, real.labels, 3)
    for data in (others, more):
        with pytest.raises(speediff.SpeeDiffValueError, match="needs a classifier of the classes"):
            Instrument(data, None, Projection(), ("accuracy",))
    Instrument(unnamed, None, Projection(), ("accuracy",))
