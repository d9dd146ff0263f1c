"""A process that trains runs of an experiment, one after another.

It reads jobs from its input and writes events to its output, both as lines of JSON. It ends when its input
ends, at once and in the midst of a step if need be: all files are replaced atomically.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._runs import training_loop
from .._runs.folders import TakenFolder
from .._runs.interrupt import Stopped
from .._runs.run import open_run
from .._runs.step_log import StepLog
from .._support import progress
from ..errors import SpeeDiffBusyError, SpeeDiffError, SpeeDiffNonFiniteError
from . import results, sample_rows
from .job import Job
from .meter import Meter
from .results import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._runs.interrupt import StopRequest
    from .._runs.run import Run

    Tell = Callable[[dict[str, Any]], None]

RUNS, MEASURES, TIMES = "runs", "measures.csv", "times.csv"
PATIENCE = 30.0
"""Seconds to wait for a run's folder: the process of a killed experiment may be about to end."""
EVENT_SECONDS = 0.2


class Training:
    """Trains and measures one run, and writes its files."""

    def __init__(
        self,
        folder: Path,
        source: str,
        meter: Meter,
        job: Job,
        *,
        draws: bool,
        tell: Tell,
        names: Sequence[str] | None = None,
    ) -> None:
        """Stores what to do; `names` are the measures that are wanted, None for all."""
        self._folder, self._source, self._meter, self._job = folder, source, meter, job
        self._names = names
        self._draws, self._tell, self._told = draws, tell, 0.0
        self._is_measuring = False

    def run(self, *, checkpoint_every: int, every: int, threads: int) -> None:
        """Trains to the end, or until the training diverges, from the checkpoint if there is one.

        Raises:
            Stopped: After a checkpoint, on a stop request.
        """
        job, meter = self._job, self._meter
        place = self._folder / RUNS / job.key
        with taken(place):
            run = open_run(
                place,
                self._source,
                job.settings,
                threads=threads,
                resume=True,
                load=meter.load,
                files=[MEASURES, TIMES],
            )
            with run.trainer:
                self._log, self._times = (
                    StepLog(place / MEASURES, meter.columns),
                    StepLog(place / TIMES, results.TIMES),
                )
                run.keep(self._log)
                run.keep(self._times)
                self._every = every
                self._tell({"event": "begun", "step": run.step})
                diverged = None
                try:
                    training_loop.train(
                        run, checkpoint_every=checkpoint_every, after_step=self._after_step, quiet=True
                    )
                except SpeeDiffNonFiniteError:
                    diverged = run.step if self._is_measuring else run.step + 1
                self._write(run, is_finished=True, diverged_at=diverged)
        self._tell({"event": "ended", "diverged_at": diverged})

    def _after_step(self, run: Run, stop: StopRequest) -> None:
        if time.monotonic() - self._told > EVENT_SECONDS:
            self._told = time.monotonic()
            self._tell({"event": "step", "step": run.step})
        is_due = run.step % self._every == 0 or run.step >= run.settings["steps"]
        if is_due and not (self._log.rows and self._log.rows[-1][0] >= run.step):
            begun, self._is_measuring = time.perf_counter(), True
            numbers = stop.unless_made(lambda: self._measured(run))
            if numbers is not None:
                self._log.append(run.step, *numbers)
                self._times.append(run.step, round(run.seconds, 3), round(time.perf_counter() - begun, 3))
                run.save()
                self._write(run, is_finished=False)
                named = dict(zip(self._meter.columns, numbers, strict=True))
                self._tell({"event": "measured", "step": run.step, "numbers": named})
            self._is_measuring = False

    def _measured(self, run: Run) -> list[float | None]:
        numbers = self._meter.measure(run, self._names)
        if self._draws and sample_rows.is_due(run.step, self._every, run.settings["steps"]):
            sample_rows.write(self._folder, self._job, run.step, self._meter, run)
        return numbers

    def _write(self, run: Run, *, is_finished: bool, diverged_at: int | None = None) -> None:
        result = Result(
            run.settings,
            self._meter.columns,
            self._log.rows,
            self._times.rows,
            is_finished,
            diverged_at,
            self._meter.data_of(run),
        )
        results.write(self._folder, self._job, result)


def taken(place: Path) -> TakenFolder:
    """The run's folder, once it is free.

    Raises:
        SpeeDiffBusyError: If another process keeps it.
    """
    begun = time.monotonic()
    while True:
        try:
            return TakenFolder(place)
        except SpeeDiffBusyError:
            if time.monotonic() - begun > PATIENCE:
                raise
            time.sleep(0.1)


def main() -> None:
    """The process: reads what all jobs share, then a job a line."""
    code = 1
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What a library prints is no event.

    def tell(event: dict[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    try:
        _work(_lines(), tell)
        code = 0
    except KeyboardInterrupt:
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        # Python's own exit would wait for the thread that reads the input.
        os._exit(code)


def _work(lines: queue.Queue[str], tell: Tell) -> None:
    """Does jobs until one fails or is stopped."""
    shared = json.loads(lines.get())
    folder, measuring = Path(shared["folder"]), shared["measuring"]
    if shared["is_quiet"]:
        progress.hide()
    else:
        progress.hide_bars()
    try:
        meter = Meter(folder, shared["source"], shared["settings"], measuring)
        while True:
            given = json.loads(lines.get())
            job = Job(**given["job"])
            training = Training(
                folder,
                shared["source"],
                meter,
                job,
                names=[shared["tuned_by"]] if job.is_tuning else None,
                draws=given["draws"],
                tell=tell,
            )
            training.run(
                checkpoint_every=shared["checkpoint_every"],
                every=measuring["measure_every"],
                threads=measuring["threads"],
            )
    except Stopped:
        tell({"event": "stopped"})
    except (SpeeDiffError, MemoryError) as error:
        tell({"event": "failed", "message": str(error) or type(error).__name__})
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        tell({"event": "failed", "message": message})


def _lines() -> queue.Queue[str]:
    """The lines of the input. Its end ends the process: whoever started it is gone, or needs it no more."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, name="speediff.jobs", daemon=True).start()
    return lines
