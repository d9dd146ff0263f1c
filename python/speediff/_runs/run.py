"""A training run in a folder: its parts, its steps and its files.

    run.json             settings and data, written once, before the first step
    run.safetensors      the last checkpoint, with a copy of run.json
    loss.csv             step, loss and seconds of training

Each file is replaced atomically. The checkpoint is written last, so the logs always cover its steps, even
after a power cut.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .. import distributed
from .._data import datasets
from .._support import progress, replacement
from .._trainer import steps
from ..errors import SpeeDiffValueError
from ..training import Trainer
from . import description, run_settings, schedule_flags
from .batches import Batches
from .step_log import StepLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from .._data.datasets import Dataset
    from .description import Description
    from .run_settings import Settings

CHECKPOINT, LOSSES = "run.safetensors", "loss.csv"
BY_SETTINGS = "to_emphasis"
"""The method with a nested sampler, which no checkpoint describes in full."""


class Run:
    """A trainer, its data and its output folder."""

    def __init__(
        self, folder: Path, settings: Settings, data: Dataset, source: str, trainer: Trainer
    ) -> None:
        """Stores the parts. `open_run` creates them from flags or from the folder."""
        self.folder = folder
        self.settings = settings
        self.data = data
        self.trainer = trainer
        self.description = description.describe(settings, data, source)
        """The content of `run.json`."""
        self.losses = StepLog(folder / LOSSES, ("loss", "seconds"))
        self.logs = [self.losses]
        """Logs that `save` writes beside the checkpoint."""
        self.saved_step: int | None = None
        """The step of the checkpoint on disk; None without one."""
        self.seconds = 0.0
        """Total training time so far, in seconds."""
        self.is_stopping = False
        """Whether a process of the run asked to stop after the last step."""
        self._batches = Batches(data, settings["batch_size"], seed=settings["seed"], flip=settings["flip"])

    @property
    def step(self) -> int:
        """The number of completed optimizer steps."""
        return self.trainer.global_step

    @property
    def group(self) -> distributed.Group:
        """The processes that share the run. Each creates its own `Run`; only rank 0 writes."""
        return self.trainer.group

    @property
    def checkpoint(self) -> Path:
        """The path of the checkpoint."""
        return self.folder / CHECKPOINT

    def advance(self, stop: Callable[[], bool] = lambda: False) -> float:
        """Does one optimizer step and returns its loss.

        Args:
            stop: Returns whether this process asks to stop after this step; sets `is_stopping`.
        """
        begun, total = time.perf_counter(), self.settings["batch_size"]
        x, y = self._batches.batch(self.step, self.group.part(total))
        loss, self.is_stopping = steps.step(self.trainer, x, y, total=total, stop=stop)
        self.seconds += time.perf_counter() - begun
        self.losses.append(self.step, loss, round(self.seconds, 3))
        return loss

    def save(self) -> None:
        """Writes the logs, then the checkpoint."""
        self.group.together("logs", self._write_logs)
        self.trainer._save(self.checkpoint, self.description)
        self.saved_step = self.step

    def _write_logs(self) -> None:
        if self.group.rank == 0:
            for log in self.logs:
                log.write()

    def keep(self, log: StepLog) -> None:
        """Writes another log with each checkpoint. Keeps the log's rows up to this step."""
        if self.saved_step is not None:
            log.read(self.step)
        self.logs.append(log)


def load_data(source: str, settings: Settings, out: Path) -> Dataset:
    """Loads the training data for these settings. Prints a summary to stderr.

    Args:
        source: As in `speediff._data.datasets.load`.
        settings: The run's settings.
        out: The output folder; its files are not data.
    """
    data = datasets.load(
        source, input_size=settings["input_size"], background=settings["background"], out=out
    )
    for line in data.summary:
        progress.note(line)
    return data.without_labels() if settings["unconditional"] else data


def check_run(
    folder: Path, given: Mapping[str, Any], *, resume: bool, files: Iterable[str] | None = ()
) -> tuple[Settings, Description | None]:
    """Checks what `open_run` can check without the data.

    Args:
        folder: The run's folder. It exists.
        given: Settings by name; None where the user gave none.
        resume: Continue the run in the folder, if there is one.
        files: Names of other files to write to the folder; None: the run writes nothing.

    Returns:
        The settings, and the description of the run to resume, if there is one.
    """
    checkpoint = folder / CHECKPOINT
    if checkpoint.exists() and not resume:
        raise SpeeDiffValueError(f"{checkpoint} exists: add --resume, or choose another --out")
    saved = description.read(checkpoint) if checkpoint.exists() else None
    settings = run_settings.resolve(given, None if saved is None else saved["settings"])
    if saved is None:
        run_settings.make_sampler(settings, run_settings.make_schedule(settings)).close()
    if files is not None:
        for name in (CHECKPOINT, description.NAME, LOSSES, *files):
            replacement.check(folder / name)
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
    files: Iterable[str] = (),
) -> Run:
    """Starts a run, or resumes the one in the folder.

    Args:
        folder: The output folder. Rank 0 holds its lock.
        source: The data, as in `speediff._data.datasets.load`.
        given: Settings by name; None where the user gave none.
        threads: The trainer's threads; None: the processors available to this process.
        resume: Continue the run in the folder, if there is one.
        load: Reads the data. It must ignore files in the folder.
        group: The processes that share the run. All call this within `Group.together`. None: this process
            alone.
        files: Names of other files to write to the folder.

    Raises:
        SpeeDiffError: If the folder holds a run and `resume` is False; if its settings or data differ; if
            the processes disagree.
        OSError: If a file cannot be read or written.
    """
    group = group or distributed.one()
    settings, saved = check_run(folder, given, resume=resume, files=files if group.rank == 0 else None)
    with progress.task(f"reading {source}"):
        data = load(source, settings, folder)
    if settings["flip"] and not data.is_images:
        raise SpeeDiffValueError(f"--flip must not be given with latents, got {source}")
    flags = {schedule_flags.flag(name): value for name, value in settings.items()}
    group.agree({**flags, "data": data.fingerprint, "a run to resume": saved is not None})
    if saved is None:
        with progress.task("making the network"):
            trainer = run_settings.make_trainer(settings, data, threads=threads, group=group)
        run = Run(folder, {**settings, "precision": trainer.precision}, data, source, trainer)
    else:
        if data.fingerprint != saved["data"]["fingerprint"]:
            raise SpeeDiffValueError(
                f"--resume needs the data of the run: {saved['data']['source']} "
                f"({saved['data']['fingerprint']}), got {source} ({data.fingerprint})"
            )
        trainer = load_trainer(folder / CHECKPOINT, settings, threads=threads, group=group)
        run = Run(folder, settings, data, saved["data"]["source"], trainer)
        _resume(run)
    if group.rank == 0:
        description.write(folder, run.description)
    return run


def load_trainer(
    checkpoint: Path,
    settings: Settings | None,
    *,
    threads: int | None,
    precision: str | None = None,
    group: distributed.Group | None = None,
) -> Trainer:
    """The trainer of a checkpoint. The settings recreate a sampler that the checkpoint cannot describe."""
    sampler = None
    if settings is not None and BY_SETTINGS in settings["method"]:
        sampler = run_settings.make_sampler(settings, run_settings.make_schedule(settings))
    with progress.task(f"reading {checkpoint}"):
        return Trainer.load(checkpoint, sampler=sampler, threads=threads, precision=precision, group=group)


def _resume(run: Run) -> None:
    """Checks that the checkpoint belongs to the described run, and reads its logs."""
    trainer, data = run.trainer, run.data
    own = (trainer.seed, trainer.num_classes, trainer.in_channels, trainer.input_size)
    if own != (run.settings["seed"], data.num_classes, *data.values.shape[1:3]):
        raise SpeeDiffValueError(
            f"{run.checkpoint} must belong to the run in {description.NAME}, got another run's checkpoint"
        )
    if run.group.rank == 0:
        run.losses.read(run.step)
    run.seconds = run.losses.last("seconds")
    run.saved_step = run.step
