"""What measures the runs of an experiment: its data and its instruments, made once per process."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .._runs import validation
from .._support import extras, processor, replacement, text_names
from .._trainer import sample_sets
from ..errors import SpeeDiffNonFiniteError
from . import measures
from .arms import folder_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .._data.datasets import Dataset
    from .._runs.run import Run
    from .._runs.run_settings import Settings

REFERENCE = "reference"
"""The folder of the reference's features, which are extracted once for all processes."""
FLOOR = "results/floor.json"
PICTURE_CHANNELS = (1, 3)


class Meter:
    """Measures runs. All arms of an experiment have the same one."""

    def __init__(self, folder: Path, source: str, settings: Settings, measuring: Mapping[str, Any]) -> None:
        """Stores what determines the measurements; data and instruments are made when they are needed.

        Args:
            folder: The experiment's folder. Its files are not data.
            source: The data, as in `speediff train`.
            settings: The settings that all arms share.
            measuring: Values for the names in `plan.MEASURING`.
        """
        self._folder, self._source, self._settings, self._measuring = folder, source, settings, measuring
        self._names: list[str] = measuring["measure"]
        self._questions: dict[tuple[Any, ...], validation.ValidationSet] = {}
        self.columns = measures.columns(self._names)
        """The names of the numbers."""

    @cached_property
    def parts(self) -> tuple[Dataset, Dataset]:
        """Training data and validation data."""
        return validation.split(self._source, self._settings, self._folder)

    def load(self, _source: str, _settings: Settings, _folder: Path) -> Dataset:
        """The training data, for `open_run`."""
        return self.parts[0]

    @property
    def draws_samples(self) -> bool:
        """Whether rows of samples are drawn: if they are wanted, and the data are pictures."""
        data = self.parts[0]
        return (
            bool(self._measuring["samples"]) and data.is_images and data.values.shape[1] in PICTURE_CHANNELS
        )

    @property
    def row_length(self) -> int:
        """The images of a row of samples."""
        length: int = self._measuring["samples"]
        return length

    def prepare(self) -> None:
        """Extracts the reference's features and measures the floor, unless a former call has.

        Raises:
            SpeeDiffError: If a package is missing, or the data do not suit the measures.
        """
        floors: dict[str, Any] = {}
        for text, names in self._extractors().items():
            kept = self._kept(text)
            instrument = self._instrument(text, names, self.parts[0])
            floor = instrument.floor(self._measuring["images"])
            kept.parent.mkdir(exist_ok=True)
            features = instrument.reference.features
            replacement.replace(kept, lambda file, values=features: np.save(file, values))  # type: ignore[misc]
            extractor = instrument.extractor
            floors[text] = {
                "distance": extractor.distance_name,
                "extractor": extractor.label,
                "resize": extractor.resize,
                "reference_images": instrument.reference.n,
                "floor": None if floor is None else {"n": floor.n, "of": floor.what, **floor.values},
            }
        if floors:
            (self._folder / FLOOR).parent.mkdir(exist_ok=True)
            replacement.replace_text(self._folder / FLOOR, text_names.to_json(floors))

    @property
    def is_prepared(self) -> bool:
        """Whether `prepare` has nothing to do."""
        texts = self._extractors()
        return not texts or (
            all(self._kept(text).exists() for text in texts) and (self._folder / FLOOR).exists()
        )

    def data_of(self, run: Run) -> dict[str, Any]:
        """What the result files say of the data and of the schedule."""
        questions = self._validation(run)
        areas = {area.name: [area.first, area.last] for area in questions.process.areas if area.steps}
        return {
            "data": run.data.fingerprint,
            "validation_images": len(questions),
            "timesteps": questions.process.steps,
            "areas": areas,
            "processor": processor.name(),
        }

    def measure(self, run: Run, names: Sequence[str] | None = None) -> list[float | None]:
        """The numbers of a run as it is now, one per column.

        Args:
            run: The run.
            names: The measures that are wanted; None: all. The columns of others are None.

        Raises:
            SpeeDiffNonFiniteError: If one is not finite: the training has diverged.
        """
        wanted = self._names if names is None else names
        found: dict[str, float | None] = dict.fromkeys(self.columns)
        if "loss" in wanted:
            errors = self._validation(run).measure(run.trainer, run.settings["batch_size"])
            found.update(zip(validation.COLUMNS, errors, strict=True))
        instruments = [each for each in self._instruments if set(each.measures) & set(wanted)]
        if instruments:
            samples = self.samples(run, self._measuring["images"], like=self.parts[0].labels)
            for instrument in instruments:
                found.update(instrument.measure(samples.images, samples.labels))
        kept = measures.columns(wanted)
        numbers = [found[column] if column in kept else None for column in self.columns]
        for column, number in zip(self.columns, numbers, strict=True):
            if number is not None and not np.isfinite(number):
                raise SpeeDiffNonFiniteError(f"{column} must be finite, got {number}")
        return numbers

    def samples(self, run: Run, count: int, *, like: Any = None) -> sample_sets.SampleSet:
        """Generated images: image i from the seed i, for all runs. See `sample_sets.generate`."""
        return sample_sets.generate(
            run.trainer,
            count,
            like=like,
            steps=self._measuring["sample_steps"],
            cfg_scale=self._measuring["cfg_scale"] if run.settings["label_dropout"] > 0 else 1.0,
            progress=False,
        )

    def _validation(self, run: Run) -> validation.ValidationSet:
        schedule, prediction = run.trainer.schedule, run.settings["prediction"]
        key = (prediction, schedule.alphas_cumprod.tobytes())
        if key not in self._questions:
            count = self._measuring["validation_images"]
            self._questions[key] = validation.ValidationSet(self.parts[1], schedule, prediction, count)
        return self._questions[key]

    def _extractors(self) -> dict[str, list[str]]:
        """Measures of samples by the text of their extractor."""
        found: dict[str, list[str]] = {}
        for name in measures.of_samples(self._names):
            text = self._measuring["features"].get(name, measures.CLASSIFIER)
            found.setdefault(text, []).append(name)
        return found

    def _kept(self, text: str) -> Path:
        return self._folder / REFERENCE / f"{folder_name(text)}.npy"

    @cached_property
    def _instruments(self) -> list[Any]:
        """An instrument for each extractor, on the features that `prepare` kept."""
        made = []
        for text, names in self._extractors().items():
            extras.load("torch", "--measure", install=extras.EVALUATE).set_num_threads(
                self._measuring["threads"]
            )
            features = np.load(self._kept(text))
            reference = extras.load_own(
                "torch._evaluation.reference", "--measure", install=extras.EVALUATE
            ).Reference(len(features), features, None, shape=self.parts[0].values.shape[1:])
            made.append(self._instrument(text, names, reference))
        return made

    def _instrument(self, text: str, names: list[str], reference: Any) -> Any:
        """An instrument of the package's part for PyTorch, which nothing else imports."""
        purpose = f"--measure {','.join(names)}"
        module = extras.load_own("torch._evaluation.instrument", purpose, install=extras.EVALUATE)
        extractor = extras.load_own(
            "torch._evaluation.extractors", purpose, install=extras.EVALUATE
        ).extractor(text)
        limit = self._measuring["reference_images"]
        return module.Instrument(reference, self.parts[1], extractor, names, reference_images=limit)
