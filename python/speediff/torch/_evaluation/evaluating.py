"""One evaluation, from names and paths to numbers. All checks come before the work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._data import datasets
from ..._support import messages, progress, replacement
from ...errors import SpeeDiffValueError
from ...evaluation import Evaluation
from . import metrics, saved_features, statistics_files, subjects
from .clip import CLIP
from .extractors import extractor as make_extractor
from .instrument import MEASURES, OF_FEATURES, Floor, Instrument
from .reference import Reference, captions_of, check_images
from .sample import check_labels
from .saved_features import SavedFeatures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..._data.datasets import Dataset
    from ..._data.raw import Labels
    from .extractor import Extractor
    from .subjects import Subject


class Against(NamedTuple):
    """What is compared with, before any features are extracted."""

    name: str
    data: Dataset | None = None
    """Real images."""
    test: Dataset | None = None
    """Other real images, for the floor."""
    reference: Reference | None = None
    """Features or statistics, where there are no images."""
    floor: Floor | None = None
    """The floor of saved statistics."""

    @property
    def has_features(self) -> bool:
        """Whether more than statistics will be known."""
        return self.reference is None or self.reference.features is not None


def evaluate(
    what: object,
    against: object,
    *,
    features: str,
    measures: Sequence[str] | None,
    n: int | None,
    labels: Labels | None,
    captions: Sequence[str] | None,
    input_size: int | None,
    reference_images: int | None,
    statistics: str | os.PathLike[str] | None,
    kid_subsets: int,
    kid_subset_size: int,
    seed: int,
    generation: Mapping[str, Any],
) -> Evaluation:
    """Does what `speediff.evaluate` says."""
    progress.check()
    metrics.check()
    if statistics is not None:
        replacement.check(Path(statistics))
    network = make_extractor(features)
    subject = subjects.subject(
        what, n=n, labels=labels, input_size=input_size, seed=seed, generation=generation
    )
    if isinstance(network, SavedFeatures):
        network.check_count(subject.n)
    real = _against(against, network, input_size)
    _check_shapes(subject, real)
    if captions is not None and len(captions) != subject.n:
        raise SpeeDiffValueError(f"captions must be one for each of {subject.n} images, got {len(captions)}")
    names = subject.class_names or (None if real.data is None else real.data.class_names)
    is_captioned = captions is not None or (names is not None and subject.has_labels)
    if measures is None:
        measures = _possible(network, real, subject, is_captioned=is_captioned)
    _check_measures(measures, network, subject, is_captioned=is_captioned)
    instrument = Instrument(
        real.data if real.reference is None else real.reference,  # type: ignore[arg-type]
        real.test,
        network,
        measures,
        seed=seed,
        reference_images=reference_images,
        kid_subsets=kid_subsets,
        kid_subset_size=kid_subset_size,
    )
    made = subject.images(real.data)
    if captions is None:
        captions = captions_of(made.labels, names)
    values = instrument.measure(made.images, made.labels, captions)
    floor = real.floor or instrument.floor(subject.n)
    if statistics is not None:
        _save(Path(statistics), instrument, real, floor)
    return Evaluation(
        values=values,
        floor={} if floor is None else floor.values,
        what=subject.name,
        n=subject.n,
        against=real.name,
        reference_n=instrument.reference.n,
        floor_what="unknown: there are no real images to measure" if floor is None else floor.what,
        floor_n=0 if floor is None else floor.n,
        extractor=network.label,
        distance_name=network.distance_name,
        resize=network.resize,
        dimension=network.dimension,
        seed=seed,
        settings={**subject.settings, **instrument.settings(subject.n)},
    )


def _against(against: object, network: Extractor, input_size: int | None) -> Against:
    if isinstance(against, (str, os.PathLike)):
        path = Path(against)
        if statistics_files.is_one(path):
            saved = statistics_files.read(path, network)
            told = saved.about.get("floor")
            floor = None if told is None else Floor({"fd": told["fd"]}, told["n"], told["what"])
            return Against(str(saved.about.get("data", path)), reference=saved.reference, floor=floor)
        if isinstance(network, SavedFeatures):
            rows = saved_features.read(str(path))
            if rows.shape[1] != network.dimension:
                raise SpeeDiffValueError(
                    f"{path} must hold features of {network.dimension} numbers, as {network.label}, "
                    f"got {rows.shape[1]}"
                )
            return Against(str(path), reference=Reference.of_features(rows))
    elif isinstance(network, SavedFeatures):
        raise SpeeDiffValueError("against must be a .npy file of features, or a .npz file of statistics")
    data = subjects.images(against, input_size, "against")
    for line in data.summary:
        messages.tell(line)
    check_images(data, "the reference")
    network.check(data)
    if not isinstance(against, (str, os.PathLike)):
        return Against("an array", data)
    return Against(os.fspath(against), data, datasets.load_test(os.fspath(against), input_size=input_size))


def _check_shapes(subject: Subject, real: Against) -> None:
    for data, name in ((real.data, real.name), (real.test, f"the test images of {real.name}")):
        if data is not None and data.values.shape[1:] != subject.shape:
            channels, height, width = data.values.shape[1:]
            own, rows, columns = subject.shape
            raise SpeeDiffValueError(
                f"{subject.name} must have images of {channels}×{height}×{width} (channels, height, width), "
                f"as {name} has, got {own}×{rows}×{columns}"
            )


def _possible(network: Extractor, real: Against, subject: Subject, *, is_captioned: bool) -> list[str]:
    """All measures that these images, this reference and this extractor allow."""
    lacking: set[str] = set()
    lacking |= set() if real.has_features else set(OF_FEATURES)
    lacking |= set() if network.has_logits else {"is"}
    lacking |= (
        set() if network.knows_classes(real.data) and _has_classes_of(network, subject) else {"accuracy"}
    )
    lacking |= set() if isinstance(network, CLIP) and is_captioned else {"clip_score"}
    return [measure for measure in MEASURES if measure not in lacking]


def _has_classes_of(network: Extractor, subject: Subject) -> bool:
    """Whether the images have labels, and a trainer as many classes as the logits."""
    trainer = subject.trainer
    return subject.has_labels and (trainer is None or trainer.num_classes == len(network.classes or ()))


def _check_measures(
    measures: Sequence[str], network: Extractor, subject: Subject, *, is_captioned: bool
) -> None:
    """Raises where a measure lacks what only the evaluated images could tell."""
    if not measures:
        raise SpeeDiffValueError("measures must be at least one, got none")
    if "accuracy" in measures:
        if subject.given is not None or not subject.has_labels:
            check_labels(None if subject.given is None else subject.given.labels, network, subject.name)
        elif not _has_classes_of(network, subject):
            raise SpeeDiffValueError(
                f"measure accuracy needs a classifier of the classes of {subject.name}, got {network.label}"
            )
    if "clip_score" in measures and not is_captioned:
        raise SpeeDiffValueError(f"captions must be given for the CLIP score of {subject.name}")


def _save(path: Path, instrument: Instrument, real: Against, floor: Floor | None) -> None:
    about: dict[str, Any] = {"extractor": instrument.extractor.label, "data": real.name}
    if floor is not None and "fd" in floor.values:
        about["floor"] = {"fd": floor.values["fd"], "n": floor.n, "what": floor.what}
    statistics_files.write(path, instrument.reference.statistics, about)
