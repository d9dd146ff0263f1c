"""The instrument: measures sets of images against one reference, again and again.

    instrument = Instrument(training_data, test_data, extractor("classifier"), ("fd", "kid", "accuracy"))
    instrument.measure(images, labels)      # {"fd": 12.3, "kid": 0.0045, "kid_std": 0.0004, "accuracy": 0.91}
    instrument.floor(1000).values           # the same for 1,000 test images: a perfect generator's numbers

The features of the reference are extracted once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..._support import arguments, messages
from ..._support.random_numbers import permutation
from ...errors import SpeeDiffTypeError, SpeeDiffValueError
from . import metrics
from .clip import CLIP
from .reference import Reference, captions_of
from .sample import Sample, check_labels

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from ..._data.datasets import Dataset
    from ..._data.raw import Labels
    from .extractor import Bytes, Extractor
    from .metrics import Array

MEASURES = {
    "fd": ("fd",),
    "kid": ("kid", "kid_std"),
    "is": ("is", "is_std"),
    "prc": ("precision", "recall"),
    "accuracy": ("accuracy",),
    "clip_score": ("clip_score",),
}
"""Each measure with the names of its values."""
OF_LOGITS = ("is", "accuracy")
OF_FEATURES = ("kid", "prc")
"""Measures that need the reference's features; its mean and covariance are not enough."""
SPLITS, LEAST_IN_A_SPLIT = 10, 10
"""Parts of the Inception Score, fewer for fewer images. The score of one image alone is 1."""
TEST, HALVES, NEIGHBORS = 1, 2, 4
"""Indices of permutations."""


class Floor(NamedTuple):
    """What real images reach."""

    values: dict[str, float]
    n: int
    """The number of real images that were measured."""
    what: str
    """Which images against which, in words."""


class Instrument:
    """An extractor, a reference and measures."""

    def __init__(
        self,
        reference: Dataset | Reference,
        test: Dataset | None,
        extractor: Extractor,
        measures: Sequence[str] = ("fd", "kid"),
        *,
        seed: int = 0,
        reference_images: int | None = None,
        kid_subsets: int = 100,
        kid_subset_size: int = 1000,
    ) -> None:
        """Extracts the features of the reference.

        Args:
            reference: The images to compare with, usually the training split; or one made before.
            test: Other real images, for the floor; None: half of the reference, against the other half.
            extractor: From `extractors.extractor`.
            measures: Names in `MEASURES`.
            seed: Of KID's subsets, of the Inception Score's splits, and of the choice of real images.
            reference_images: Use at most this many images of the reference. None: all.
            kid_subsets: The number of KID's subsets.
            kid_subset_size: Their size, or that of the smaller set if it has less.

        Raises:
            SpeeDiffError: If a measure is unknown or does not fit the extractor or the reference, if the data
                are latents, or if a package is missing.
        """
        metrics.check()
        self.extractor = extractor
        self.measures = tuple(measures)
        self.seed = arguments.integer("seed", seed, least=0, end=1 << 32)
        self._subsets = arguments.integer("kid_subsets", kid_subsets, least=1)
        self._subset_size = arguments.integer("kid_subset_size", kid_subset_size, least=2)
        if reference_images is not None:
            arguments.integer("reference_images", reference_images, least=metrics.LEAST)
        self._test = test
        for measure in self.measures:
            arguments.choice("measures", measure, MEASURES)
            self._check_measure(measure, reference)
        if isinstance(reference, Reference):
            self.reference = reference
        else:
            self.reference = Reference.of_images(reference, extractor, limit=reference_images, seed=self.seed)

    @property
    def _has_logits(self) -> bool:
        return any(measure in OF_LOGITS for measure in self.measures)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all values that `measure` returns, in order."""
        return tuple(name for measure in self.measures for name in MEASURES[measure])

    def measure(
        self, images: Bytes, labels: Labels | None = None, captions: Sequence[str] | None = None
    ) -> dict[str, float]:
        """Measures a set of images.

        Args:
            images: uint8 (n, c, h, w), as many channels and pixels as the reference.
            labels: The class that each image should show, int64 (n,). The accuracy needs them.
            captions: What each image should show, n texts. The CLIP score needs them.

        Returns:
            A number for each of `columns`, in that order.

        Raises:
            SpeeDiffValueError: If the images do not fit the reference, or are fewer than two.
            SpeeDiffNonFiniteError: If a feature is not finite.
        """
        self.check_images(images)
        if "accuracy" in self.measures:
            check_labels(labels, self.extractor)
        if "clip_score" in self.measures and captions is None:
            raise SpeeDiffValueError("captions must be given for the CLIP score, got None")
        sample = Sample(self.extractor, images, labels, captions, with_logits=self._has_logits)
        return self._measure(sample, self.reference)

    def floor(self, n: int) -> Floor | None:
        """Measures real images as if they were generated; None if no real images are known.

        Args:
            n: At most this many: the number of generated images, since FD depends on it.
        """
        if self._test is not None:
            chosen = self._test.part(permutation(self.seed, TEST, len(self._test))[:n])
            return Floor(self._measure_real(chosen, self.reference), len(chosen), "test images")
        if self.reference.features is None:
            return None
        order = permutation(self.seed, HALVES, self.reference.n)
        half = self.reference.n // 2
        first, second = self.reference.part(order[half:]), self.reference.part(order[:half][:n])
        what = f"one half of the reference against the other half, {first.n} images"
        return Floor(self._measure_real(second.data, first, second.features), second.n, what)

    def settings(self, n: int) -> dict[str, str]:
        """How the measures of n images are computed, by title."""
        told: dict[str, str] = {}
        if "kid" in self.measures:
            size = min(self._subset_size, n, self.reference.n)
            told["KID"] = f"{self._subsets} random subsets of {size} images, polynomial kernel of degree 3"
        if "is" in self.measures:
            told["Inception Score"] = f"{_splits(n)} splits"
        if "prc" in self.measures:
            told["precision, recall"] = (
                f"{metrics.NEIGHBORS} nearest neighbors, {min(n, self.reference.n)} images of the reference"
            )
        return told

    def check_images(self, images: object) -> None:
        """Raises unless these are images like those of the reference. Takes no time."""
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            got = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
            raise SpeeDiffTypeError(f"images must be a uint8 array, got {got}")
        if images.ndim != 4:
            raise SpeeDiffValueError(f"images must have the shape (n, c, h, w), got {images.shape}")
        if len(images) < metrics.LEAST:
            raise SpeeDiffValueError(f"images must be at least {metrics.LEAST}, got {len(images)}")
        shape = self.reference.shape
        if shape is not None and images.shape[1:] != shape:
            raise SpeeDiffValueError(
                f"images must have the shape {shape} of the reference's, got {images.shape[1:]}"
            )

    def _warn_of_few(self, measured: int, real: int) -> None:
        n = min(measured, real or measured)  # Statistics of other programs do not tell their number.
        if n <= self.extractor.dimension:
            messages.warn(
                f"{n} images are at most as many as a feature has numbers ({self.extractor.dimension}): "
                f"the covariance is singular, and {self.extractor.distance_name} can be compared only with "
                "that of as many images"
            )

    def _measure(
        self, sample: Sample, reference: Reference, without: Container[str] = ()
    ) -> dict[str, float]:
        values: dict[str, float] = {}
        for measure in self.measures:
            if measure not in without:
                found = getattr(self, f"_{measure}")(sample, reference)
                values.update(zip(MEASURES[measure], found, strict=True))
        return values

    def _measure_real(
        self, data: Dataset | None, reference: Reference, features: Array | None = None
    ) -> dict[str, float]:
        """Measures real images, without what their data do not tell."""
        images, labels = (None, None) if data is None else (data.values, data.labels)
        captions = None if data is None else captions_of(labels, data.class_names)
        lacking = {*(OF_LOGITS if images is None else ())}
        lacking |= {"accuracy"} if labels is None else set()
        lacking |= {"clip_score"} if captions is None else set()
        sample = Sample(
            self.extractor, images, labels, captions, features=features, with_logits=self._has_logits
        )
        return self._measure(sample, reference, without=lacking)

    def _fd(self, sample: Sample, reference: Reference) -> list[float]:
        self._warn_of_few(len(sample.features), reference.n)
        return [metrics.frechet_distance(metrics.statistics(sample.features), reference.statistics)]

    def _kid(self, sample: Sample, reference: Reference) -> list[float]:
        assert reference.features is not None
        size = min(self._subset_size, len(sample.features), reference.n)
        return [
            *metrics.kernel_distance(
                sample.features,
                reference.features,
                seed=self.seed,
                subsets=self._subsets,
                subset_size=size,
            )
        ]

    def _is(self, sample: Sample, _: Reference) -> list[float]:
        splits = _splits(len(sample.logits))
        return [*metrics.inception_score(sample.logits, seed=self.seed, splits=splits)]

    def _prc(self, sample: Sample, reference: Reference) -> list[float]:
        assert reference.features is not None
        rows = permutation(self.seed, NEIGHBORS, reference.n)[: len(sample.features)]
        return [*metrics.precision_recall(sample.features, reference.features[rows])]

    def _accuracy(self, sample: Sample, _: Reference) -> list[float]:
        return [float((sample.logits.argmax(axis=1) == sample.labels).mean())]

    def _clip_score(self, sample: Sample, _: Reference) -> list[float]:
        assert isinstance(self.extractor, CLIP)
        assert sample.captions is not None
        return [float(self.extractor.cosines(sample.features, sample.captions).mean())]

    def _check_measure(self, measure: str, reference: Dataset | Reference) -> None:
        """Raises if a measure fits neither the extractor nor the reference."""
        if measure in OF_LOGITS and not self.extractor.has_logits:
            raise SpeeDiffValueError(
                f"measure {measure} needs classes: use the extractor classifier or inception, "
                f"got {self.extractor.name}"
            )
        data = reference.data if isinstance(reference, Reference) else reference
        if measure == "accuracy" and not self.extractor.knows_classes(data):
            raise SpeeDiffValueError(
                "measure accuracy needs a classifier of the classes of the reference, "
                f"got {self.extractor.label}"
            )
        if measure == "clip_score" and not isinstance(self.extractor, CLIP):
            raise SpeeDiffValueError(
                f"measure clip_score needs the extractor clip=FOLDER, got {self.extractor.name}"
            )
        is_known = not isinstance(reference, Reference) or reference.features is not None
        if measure in OF_FEATURES and not is_known:
            raise SpeeDiffValueError(
                f"measure {measure} needs the reference's images or features, got only their statistics"
            )


def _splits(n: int) -> int:
    return max(1, min(SPLITS, n // LEAST_IN_A_SPLIT))
