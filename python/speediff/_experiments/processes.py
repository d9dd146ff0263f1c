"""The processes that train an experiment's runs side by side, as the one that started them sees them."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..errors import SpeeDiffError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .job import Job

    Event = dict[str, Any]

CODE = "import sys; sys.path[:] = {path!r}; from speediff._experiments.worker import main; main()"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
END_SECONDS = 10.0
"""Seconds to wait for a process that has nothing more to do."""


class Process:
    """One process and the job that it is at."""

    def __init__(
        self, shared: Mapping[str, Any], threads: int, events: queue.Queue[tuple[Process, Event]]
    ) -> None:
        """Starts it.

        Args:
            shared: What all jobs share.
            threads: The threads of each of its libraries.
            events: Gets its events, the last one being "closed".
        """
        self.job: Job | None = None
        self._events = events
        self._process = subprocess.Popen(
            [sys.executable, "-c", CODE.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))},
            # Ctrl-C in a terminal is for this process, which tells the others.
            start_new_session=True,
        )
        threading.Thread(target=self._read, name="speediff.events", daemon=True).start()
        self._send(shared)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def begin(self, job: Job, *, draws: bool) -> None:
        """Gives it a job."""
        self.job = job
        self._send({"job": asdict(job), "draws": draws})

    def stop(self) -> None:
        """Tells it to save and stop after its step."""
        with suppress(OSError):
            self._process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Ends it: at once, if it is at work."""
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # It has ended, which its last event says.
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.put((self, json.loads(line)))
        self._events.put((self, {"event": "closed", "code": self._process.wait()}))


def work(
    jobs: Callable[[frozenset[str]], Job | None],
    heard: Callable[[Job, Event], None],
    *,
    shared: Mapping[str, Any],
    count: int,
    threads: int,
    draws: Callable[[Job], bool],
    is_stopping: Callable[[], bool],
) -> bool:
    """Has all jobs done, several at a time.

    Args:
        jobs: The next job that is ready, other than those of the keys; None: there is none for now.
        heard: Called with each event of a job.
        shared: What all jobs share.
        count: The number of processes.
        threads: The threads of each.
        draws: Whether a job draws samples.
        is_stopping: Whether to stop: each process saves and ends.

    Returns:
        Whether all was done, or the work was stopped.

    Raises:
        SpeeDiffError: If a job failed or its process was ended; the others save and end first.
    """
    events: queue.Queue[tuple[Process, Event]] = queue.Queue()
    processes: list[Process] = []
    is_told = False
    failure: str | None = None
    try:
        while True:
            halts = failure is not None or is_stopping()
            if not halts:
                _give_out(jobs, processes, draws, lambda: _new(processes, shared, threads, events), count)
            busy = [process for process in processes if process.job is not None]
            if not busy:
                break
            if halts and not is_told:
                is_told = True
                for process in busy:
                    process.stop()
            try:
                process, event = events.get(timeout=0.2)
            except queue.Empty:
                continue
            job = process.job
            if job is None:
                continue
            if event["event"] == "failed":
                failure = failure or f"{job.title}: {event['message']}"
            elif event["event"] == "closed" and not halts:
                failure = failure or (
                    f"{job.title}: its process {process.pid} ended with code {event['code']}; "
                    "--resume continues"
                )
            heard(job, event)
            if event["event"] in ("ended", "stopped", "failed", "closed"):
                process.job = None
            if event["event"] in ("stopped", "failed", "closed"):
                processes.remove(process)
                process.end()
    finally:
        for process in processes:
            process.end()
    if failure is not None:
        raise SpeeDiffError(failure)
    return not is_stopping()


def _give_out(
    jobs: Callable[[frozenset[str]], Job | None],
    processes: list[Process],
    draws: Callable[[Job], bool],
    new: Callable[[], Process],
    count: int,
) -> None:
    """Gives jobs to processes that have none, and starts processes while there are jobs for them."""
    while True:
        free = [process for process in processes if process.job is None]
        if not free and len(processes) >= count:
            return
        job = jobs(frozenset(process.job.key for process in processes if process.job is not None))
        if job is None:
            return
        (free[0] if free else new()).begin(job, draws=draws(job))


def _new(
    processes: list[Process],
    shared: Mapping[str, Any],
    threads: int,
    events: queue.Queue[tuple[Process, Event]],
) -> Process:
    process = Process({**shared, "is_quiet": bool(processes)}, threads, events)
    processes.append(process)
    return process
