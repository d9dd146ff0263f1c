"""The result files of a run: small text files that can be committed. The report needs nothing else.

seed-0.json          settings and how the run ended
seed-0.csv           its measurements
seed-0.times.csv     when they were made: the only numbers that differ when the run is repeated
seed-0.000500.png    a row of samples after step 500, of the experiment's first seed
runs.jsonl           all of the above but the pictures, of runs that have no files of their own (`packed`)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._runs import run_settings
from .._runs.step_log import StepLog
from .._support import text_names
from .._support.replacement import replace_text
from .._support.version import __version__
from ..errors import SpeeDiffValueError
from . import packed as packed_runs
from .packed import RESULTS as FOLDER
from .packed import RUNNING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._runs.run_settings import Settings
    from .._runs.step_log import Row
    from .job import Job
    from .packed import Line

TIMES = ("seconds", "measuring_seconds")
"""Seconds of training so far, and those of the measurement itself."""


@dataclass(frozen=True)
class Result:
    """What is known of a run."""

    settings: Settings
    columns: tuple[str, ...]
    """The names of the measured numbers."""
    rows: Sequence[Row]
    """A step and its numbers for each measurement."""
    times: Sequence[Row]
    """The same steps with their `TIMES`."""
    is_finished: bool
    diverged_at: int | None
    """The step at which training diverged; None if it did not."""
    data: dict[str, Any]
    """The fingerprint of the training data, the number of validation images, the schedule's areas, and the
    processor that made the last steps."""

    @property
    def seconds(self) -> float:
        """What training and all measurements took."""
        training = [row[0] or 0.0 for _, row in self.times[-1:]]
        return sum(training + [row[1] or 0.0 for _, row in self.times])

    def last(self, column: str) -> float | None:
        """The last value of a column; None if the run diverged or was never measured."""
        if self.diverged_at is not None or not self.rows:
            return None
        return self.rows[-1][1][self.columns.index(column)]


def path(folder: Path, job: Job, ending: str) -> Path:
    """A file of a run's results."""
    # An arm's name and a tuned value may contain dots.
    return folder / FOLDER / Path(f"{job.key}.{ending}")


def write(folder: Path, job: Job, result: Result) -> None:
    """Writes the files, the one that says whether the run is finished last."""
    path(folder, job, "json").parent.mkdir(parents=True, exist_ok=True)
    for ending, columns, rows in (
        ("csv", result.columns, result.rows),
        ("times.csv", TIMES, result.times),
    ):
        log = StepLog(path(folder, job, ending), columns)
        log.rows = list(rows)
        log.write()
    plain = {
        "speediff": __version__,
        "arm": job.arm,
        "settings": result.settings,
        **result.data,
        "state": RUNNING
        if not result.is_finished
        else "finished"
        if result.diverged_at is None
        else "diverged",
        "diverged_at": result.diverged_at,
    }
    replace_text(path(folder, job, "json"), text_names.to_json(plain))


def read(
    folder: Path, job: Job, columns: tuple[str, ...], packed: Mapping[str, Line] | None = None
) -> Result | None:
    """What is known of a run; None without files.

    Args:
        folder: The experiment's folder.
        job: The run.
        columns: The names of the measured numbers.
        packed: The lines of the packed file by their runs' keys, for a run without files of its own.

    Raises:
        SpeeDiffValueError: If the files are damaged or of another run.
    """
    file = path(folder, job, "json")
    try:
        plain = json.loads(file.read_bytes())
    except FileNotFoundError:
        line = (packed or {}).get(job.key)
        if line is None:
            return None
        file, plain = folder / packed_runs.NAME, dict(line)
    except ValueError as error:
        raise _damaged(file, error) from None
    try:
        # An earlier version may have had fewer settings.
        settings = {**run_settings.DEFAULTS, **plain.pop("settings")}
        state, diverged = plain.pop("state"), plain.pop("diverged_at")
        if "run" in plain:
            rows, times = _packed_rows(plain, columns, settings["steps"])
        else:
            rows, times = (
                _rows(path(folder, job, ending), names, settings["steps"])
                for ending, names in (("csv", columns), ("times.csv", TIMES))
            )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(file, error) from None
    for name, value in job.settings.items():
        if settings[name] != value and name != "steps":
            raise SpeeDiffValueError(
                f"{file} must be of a run with {name} = {value}, got {settings[name]}: choose another --out"
            )
    data = {name: value for name, value in plain.items() if name not in ("speediff", "arm")}
    return Result(settings, columns, rows, times, state != RUNNING, diverged, data)


def _damaged(file: Path, error: Exception) -> SpeeDiffValueError:
    return SpeeDiffValueError(f"{file} is damaged ({error}): remove it, and --resume repeats the run")


def _packed_rows(line: Line, columns: tuple[str, ...], last_step: int) -> tuple[list[Row], list[Row]]:
    """The measurements and their times, taken out of a packed line."""
    del line["run"]
    measured = tuple(line.pop("columns"))
    if measured != columns:
        raise ValueError(f"it has the columns {measured}, not {columns}")
    rows, times = (
        [(step, tuple(values)) for step, *values in line.pop(name) if step <= last_step]
        for name in ("rows", "times")
    )
    return rows, times


def _rows(file: Path, columns: tuple[str, ...], last_step: int) -> list[Row]:
    log = StepLog(file, columns)
    log.read(last_step)
    return log.rows


def finished(result: Result | None, steps: int) -> bool:
    """Whether a run is finished: it has made this many steps, or it diverged."""
    if result is None or not result.is_finished:
        return False
    return result.diverged_at is not None or bool(result.settings["steps"] >= steps)
