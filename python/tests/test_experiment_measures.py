"""Measures of generated images in an experiment, by the instrument of `speediff evaluate`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from evaluation_sets import Projection
from experiments import write_images

from speediff._experiments import plan, report, report_text
from speediff._experiments.analysis import Analysis
from speediff._experiments.experiment import Experiment
from speediff._experiments.meter import Meter
from speediff._experiments.worker import Training
from speediff._runs import run_settings
from speediff._runs.run import load_trainer
from speediff._trainer import sample_sets
from speediff.torch._evaluation import extractors
from speediff.torch._evaluation.instrument import Instrument

if TYPE_CHECKING:
    from pathlib import Path

for module in ("tqdm", "PIL", "matplotlib"):
    pytest.importorskip(module)

NETWORK = {"hidden": 16, "depth": 1, "heads": 2, "batch_size": 8, "warmup": 0, "steps": 4, "timesteps": 30}
MEASURING = {
    **plan.MEASURING,
    "measure": ["fd", "kid", "accuracy", "loss"],
    "measure_every": 2,
    "images": 12,
    "sample_steps": 3,
    "samples": 2,
    "features": {"kid": "small"},
}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """Two arms that were trained in this process, where the extractors can be replaced."""
    networks = {"classifier": Projection(6), "small": Projection(3)}
    monkeypatch.setattr(extractors, "extractor", lambda text: networks[text])
    data, folder = write_images(tmp_path), tmp_path / "out"
    folder.mkdir()
    arms = tuple(plan.Arm(name, {"method": name}) for name in ("uniform", "p2"))
    settings = {**run_settings.DEFAULTS, **NETWORK}
    experiment = Experiment(folder, plan.Plan(data, None, settings, MEASURING, (5,), arms, None))
    experiment.open()
    for job in experiment.main_jobs():
        meter = Meter(folder, data, settings, MEASURING)
        training = Training(folder, data, meter, job, draws=True, tell=lambda _: None)
        training.run(checkpoint_every=100, every=2, threads=1)
        experiment.forget(job)
    return experiment


def test_the_numbers_are_those_of_the_instrument(made: Experiment) -> None:
    """Of the same images, generated again from the checkpoint: image i from the seed i."""
    meter = Meter(made.folder, made.plan.source, made.plan.settings, MEASURING)
    training, test = meter.parts
    for job in made.main_jobs():
        result = made.finished(job)
        assert result is not None
        assert result.columns[:4] == ("fd", "kid", "kid_std", "accuracy")
        step, numbers = result.rows[-1]
        assert step == 4
        found = dict(zip(result.columns, numbers, strict=True))
        checkpoint = made.folder / "runs" / job.key / "run.safetensors"
        with load_trainer(checkpoint, job.settings, threads=1) as trainer:
            samples = sample_sets.generate(trainer, 12, like=training.labels, steps=3, progress=False)
        for network, names in ((Projection(6), ("fd", "accuracy")), (Projection(3), ("kid",))):
            instrument = Instrument(training, test, network, names)
            for name, value in instrument.measure(samples.images, samples.labels).items():
                assert found[name] == pytest.approx(value, rel=1e-12), name


def test_tuning_takes_only_the_measure_that_decides(made: Experiment) -> None:
    job = replace(made.main_jobs()[0], settings={**made.main_jobs()[0].settings, "seed": 6}, is_tuning=True)
    meter = Meter(made.folder, made.plan.source, made.plan.settings, MEASURING)
    training = Training(
        made.folder, made.plan.source, meter, job, draws=False, tell=lambda _: None, names=["kid"]
    )
    training.run(checkpoint_every=100, every=2, threads=1)
    result = made.result(job)
    assert result is not None
    for _, numbers in result.rows:
        found = dict(zip(result.columns, numbers, strict=True))
        assert {name for name, number in found.items() if number is not None} == {"kid", "kid_std"}


def test_the_reference_is_extracted_once_and_the_floor_is_in_the_report(made: Experiment) -> None:
    floors = json.loads((made.folder / "results" / "floor.json").read_text())
    assert set(floors) == {"classifier", "small"}
    assert floors["classifier"]["reference_images"] == 54
    assert floors["classifier"]["floor"]["n"] == 6
    analysis = Analysis(made)
    text = report_text.markdown(analysis)
    assert "FD (projection):" in text
    assert "KID (projection):" in text
    assert "| real images |" in text
    assert {path.name for path in report.write(analysis)} >= {"curves.png", "areas.png", "samples.png"}
    again = Meter(made.folder, made.plan.source, made.plan.settings, MEASURING)
    assert again.is_prepared
    (made.folder / "reference" / "small.npy").unlink()
    assert not again.is_prepared


def test_samples_that_are_not_finite_are_a_divergence(
    made: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = made.main_jobs()[0]
    longer = replace(job, settings={**job.settings, "steps": 6})
    meter: Any = Meter(made.folder, made.plan.source, made.plan.settings, MEASURING)
    monkeypatch.setattr(
        "speediff.training.Trainer.generate",
        lambda self, labels, **_: np.full((len(labels), 1, 8, 8), np.nan, np.float32),
    )
    events: list[dict[str, Any]] = []
    training = Training(made.folder, made.plan.source, meter, longer, draws=False, tell=events.append)
    training.run(checkpoint_every=100, every=2, threads=1)
    assert events[-1] == {"event": "ended", "diverged_at": 6}
    made.forget(longer)
    result = made.result(longer)
    assert result is not None
    assert result.diverged_at == 6
    assert [step for step, _ in result.rows] == [2, 4]
