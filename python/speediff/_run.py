"""A training run in a folder: what it is made of, one step after another, and its files.

    run.json             settings and data, written once
    run.safetensors      the last checkpoint, of which the trainer takes care
    loss.csv             step, loss and seconds of training

Each is replaced as a whole. The checkpoint comes last, so that logs never lack what it holds.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from . import (
    __version__,
    _datasets,
    _names,
    _progress,
    _schedule_flags,
    _shared_step,
    _training_settings,
    distributed,
)
from ._batches import Batches
from ._replacement import replace_text
from ._step_log import StepLog
from .errors import SpeeDiffValueError
from .training import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ._datasets import Dataset
    from ._training_settings import Settings

CHECKPOINT, DESCRIPTION = "run.safetensors", "run.json"
BY_SETTINGS = "to_emphasis"
"""The method that has a sampler in it, which no checkpoint describes in full."""


class Run:
    """A trainer, its data, and the folder that both are written to."""

    def __init__(self, folder: Path, settings: Settings, data: Dataset, trainer: Trainer) -> None:
        """Takes the parts. `open_run` makes them from flags or from the folder."""
        self.folder = folder
        self.settings = settings
        self.data = data
        self.trainer = trainer
        self.losses = StepLog(folder / "loss.csv", ("loss", "seconds"))
        self.logs = [self.losses]
        """What `save` writes beside the checkpoint."""
        self.saved_step: int | None = None
        """The step of the checkpoint on the disk; None where there is none."""
        self.seconds = 0.0
        """How long the steps so far took together."""
        self.is_stopping = False
        """Whether a process of the run wanted its last step to be the last one."""
        self._batches = Batches(data, settings["batch_size"], seed=settings["seed"], flip=settings["flip"])

    @property
    def step(self) -> int:
        """How many optimizer steps are done."""
        return self.trainer.global_step

    @property
    def group(self) -> distributed.Group:
        """The processes that share the run. Each of them makes one, and rank 0 alone writes."""
        return self.trainer.group

    @property
    def checkpoint(self) -> Path:
        """The file from which the run can go on."""
        return self.folder / CHECKPOINT

    def advance(self, stop: Callable[[], bool] = lambda: False) -> float:
        """Does one optimizer step, and gives its loss.

        Args:
            stop: Whether this process wants it to be the last one; for `is_stopping`.
        """
        begun, total = time.perf_counter(), self.settings["batch_size"]
        x, y = self._batches.batch(self.step, self.group.part(total))
        if self.group.world_size == 1:
            loss, self.is_stopping = self.trainer.step(x, y), stop()
        else:
            loss, self.is_stopping = _shared_step.step(self.trainer, x, y, total=total, stop=stop)
        self.seconds += time.perf_counter() - begun
        self.losses.append(self.step, loss, round(self.seconds, 3))
        return loss

    def save(self) -> None:
        """Writes the logs, then the checkpoint."""
        self.group.together("logs", self._write_logs)
        self.trainer.save(self.checkpoint)
        self.saved_step = self.step

    def _write_logs(self) -> None:
        if self.group.rank == 0:
            for log in self.logs:
                log.write()

    def keep(self, log: StepLog) -> None:
        """Has another log written with each checkpoint; takes over what it holds up to this step."""
        log.read(self.step)
        self.logs.append(log)


def load_data(source: str, settings: Settings, out: Path) -> Dataset:
    """All data that there are to train on, as the settings want them; says on stderr what was read.

    Args:
        source: As `speediff._datasets.load` takes it.
        settings: Of the run.
        out: Where runs are written; nothing in it is data.
    """
    data = _datasets.load(
        source, input_size=settings["input_size"], background=settings["background"], out=out
    )
    for line in data.summary:
        _progress.note(line)
    return data.without_labels() if settings["unconditional"] else data


def check_run(
    folder: Path, given: Mapping[str, Any], *, resume: bool
) -> tuple[Settings, dict[str, Any] | None]:
    """What `open_run` can tell of a run without its data.

    Returns:
        Its settings; and its description, if it is there to be resumed.
    """
    checkpoint = folder / CHECKPOINT
    if checkpoint.exists() and not resume:
        raise SpeeDiffValueError(f"{checkpoint} exists: add --resume, or take another --out")
    saved = read_description(folder / DESCRIPTION) if checkpoint.exists() else None
    settings = _training_settings.resolve(given, None if saved is None else saved["settings"])
    if saved is None:
        _training_settings.make_sampler(settings, _training_settings.make_schedule(settings)).close()
    return settings, saved


def open_run(
    folder: Path,
    source: str,
    given: Mapping[str, Any],
    *,
    threads: int | None,
    resume: bool,
    load: Callable[[str, Settings, Path], Dataset] = load_data,
    group: distributed.Group | None = None,
) -> Run:
    """Starts a run, or takes up the one that the folder holds.

    Args:
        folder: Made if it is missing.
        source: The data, as `speediff._datasets.load` takes it.
        given: Settings by name; None where the user gave none.
        threads: Of the trainer; None: the processors that this process may use.
        resume: Continue the run in the folder, if there is one.
        load: What reads the data, but not from the folder.
        group: The processes that share the run, all of which open it within `Group.together`; None: this
            one alone.

    Raises:
        SpeeDiffError: If there is a run and it is not to be resumed, or has other settings or data; if
            processes differ.
        OSError: If a file cannot be read or written.
    """
    group = group or distributed.one()
    settings, saved = check_run(folder, given, resume=resume)
    data = load(source, settings, folder)
    if settings["flip"] and not data.is_images:
        raise SpeeDiffValueError(f"--flip must not be given with latents, got {source}")
    flags = {_schedule_flags.flag(name): value for name, value in settings.items()}
    group.agree({**flags, "data": data.fingerprint, "a run to resume": saved is not None})
    if saved is None:
        trainer = _training_settings.make_trainer(settings, data, threads=threads, group=group)
        run = Run(folder, settings, data, trainer)
        _describe(run, source)
        return run
    if data.fingerprint != saved["data"]["fingerprint"]:
        raise SpeeDiffValueError(
            f"--resume must have the data of the run: {saved['data']['source']} "
            f"({saved['data']['fingerprint']}), got {source} ({data.fingerprint})"
        )
    run = _resume(folder, settings, data, threads, group)
    if settings != saved["settings"]:
        _describe(run, saved["data"]["source"])
    return run


def load_trainer(
    checkpoint: Path,
    settings: Settings | None,
    *,
    threads: int | None,
    group: distributed.Group | None = None,
) -> Trainer:
    """The trainer of a checkpoint; its settings help where its sampler cannot be made from it alone."""
    sampler = None
    if settings is not None and BY_SETTINGS in settings["method"]:
        sampler = _training_settings.make_sampler(settings, _training_settings.make_schedule(settings))
    return Trainer.load(checkpoint, sampler=sampler, threads=threads, group=group)


def _resume(
    folder: Path, settings: Settings, data: Dataset, threads: int | None, group: distributed.Group
) -> Run:
    trainer = load_trainer(folder / CHECKPOINT, settings, threads=threads, group=group)
    run = Run(folder, settings, data, trainer)
    own = (run.trainer.seed, run.trainer.num_classes, run.trainer.in_channels, run.trainer.input_size)
    described = (settings["seed"], data.num_classes, *data.values.shape[1:3])
    if own != described:
        raise SpeeDiffValueError(f"{run.checkpoint} must be of the run in {DESCRIPTION}, got another one")
    run.losses.read(run.step)
    run.seconds = run.losses.last("seconds")
    run.saved_step = run.step
    return run


def _describe(run: Run, source: str) -> None:
    """Writes what must be the same for the run to go on, and what its pictures need."""
    if run.group.rank > 0:
        return
    run.folder.mkdir(parents=True, exist_ok=True)
    data = {
        "source": source,
        "fingerprint": run.data.fingerprint,
        "kind": "images" if run.data.is_images else "latents",
        "class_names": run.data.class_names,
    }
    description = {"speediff": __version__, "settings": run.settings, "data": data}
    replace_text(run.folder / DESCRIPTION, _names.to_json(description))


def read_description(path: Path) -> dict[str, Any]:
    """What `speediff train` wrote about a run: `settings` and `data`."""
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        settings, data = description["settings"], description["data"]
        names, method = data["class_names"], settings["method"]
        if (
            # An earlier version may have had fewer.
            settings.keys() <= _training_settings.DEFAULTS.keys()
            and {"source", "fingerprint", "kind"} <= data.keys()
            and all(isinstance(name, str) for name in (method, *(names or ())))
        ):
            return {**description, "settings": {**_training_settings.DEFAULTS, **settings}}
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise SpeeDiffValueError(f"{path} must be as `speediff train` wrote it")
