"""The extractor `classifier`: the packaged classifier of Fashion-MNIST, and one in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluation_sets import images

import speediff
from speediff._data import datasets
from speediff._data.datasets import Dataset
from speediff.torch._evaluation import classified, classifier
from speediff.torch._evaluation.extractors import extractor
from speediff.torch._evaluation.instrument import Instrument


def test_its_features_and_logits_are_those_of_the_network() -> None:
    made = images(classified.PART + 70, 0, size=28)
    found, network = extractor("classifier"), classifier.load("fashion-mnist")
    assert (found.features(made) == network.features(made)).all()
    assert (found.logits(made) == network.logits(made)).all()
    assert found.dimension == found.features(made[:2]).shape[1] <= 128
    assert found.classes == datasets.FASHION_MNIST_CLASSES
    assert found.label == network.label
    assert found.distance_name == "FD (classifier)"


def test_a_file_is_a_classifier_too() -> None:
    path = Path(classifier.__file__).with_name("weights") / "fashion-mnist.safetensors"
    assert path.stat().st_size < 400_000
    made = images(70, 0, size=28)
    assert (extractor(f"classifier={path}").features(made) == extractor("classifier").features(made)).all()


def test_images_of_another_kind_are_refused_before_any_work() -> None:
    made = images(9, 0)
    with pytest.raises(speediff.SpeeDiffValueError, match=r"must have the shape \(n, 1, 28, 28\)"):
        Instrument(Dataset(made), None, extractor("classifier"), ("fd",))


@pytest.mark.skipif(not datasets.FASHION_MNIST.is_dir(), reason="needs dataset-fashion-mnist")
def test_real_images_are_near_and_noise_is_far() -> None:
    test = datasets.load_test("fashion-mnist")
    assert test is not None
    real, other = test.part(np.arange(2000)), test.part(np.arange(2000, 3000))
    measures = ("fd", "kid", "is", "prc", "accuracy")
    instrument = Instrument(real, other, extractor("classifier"), measures, kid_subsets=5)
    floor = instrument.floor(1000)
    assert floor is not None
    noise = instrument.measure(images(1000, 0, size=28), other.labels)
    assert floor.values["accuracy"] > 0.85
    assert floor.values["is"] > 5
    assert abs(floor.values["kid"]) < 0.01 < noise["kid"]
    assert 20 * floor.values["fd"] < noise["fd"]
    assert min(floor.values["precision"], floor.values["recall"]) > 0.7
    assert max(noise["precision"], noise["recall"], noise["accuracy"]) < 0.3
