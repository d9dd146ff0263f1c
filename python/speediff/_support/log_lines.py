"""Progress lines for logs, at regular intervals even during a long step."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import messages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECONDS = 20.0
"""Seconds between two lines."""


class LogLines:
    """A replacement for tqdm's bar that writes lines to stderr."""

    def __init__(
        self,
        items: Sequence[Any] | None = None,
        *,
        label: str,
        total: int | None = None,
        initial: int = 0,
        unit: str = "",
        is_main: bool = False,
        delay: float = 0.0,
    ) -> None:
        """Takes the arguments of `progress.bar`.

        Args:
            items: The items to iterate over, if any.
            label: The name of the task.
            total: The number of units; None: the number of items, or unknown.
            initial: Units done before the start.
            unit: The name of a unit.
            is_main: Also write a line at the start.
            delay: Write no final line if the task takes fewer seconds.
        """
        self.n = self._initial = initial
        self._items = items
        self._label = label
        self.total = len(items) if total is None and items is not None else total
        """As in tqdm, it may change."""
        self._unit = unit
        self._delay = delay
        self._note = ""
        self._begun = time.monotonic()
        if is_main:
            self._write()
        _clock.begin(self)

    def __iter__(self) -> Iterator[Any]:
        with self:
            for item in self._items or ():
                yield item
                self.update()

    def update(self, n: int = 1) -> None:
        """Adds finished units."""
        self.n += n

    def set_postfix_str(self, text: str, refresh: bool = False) -> None:
        """Sets a text for the following lines."""
        self._note = text

    def close(self) -> None:
        """Ends the task. Writes a final line unless the task was short."""
        if _clock.end(self) and time.monotonic() - self._begun >= self._delay:
            self._write()

    def __enter__(self) -> LogLines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self) -> None:
        _clock.last = time.monotonic()
        messages.tell(self._text())

    def _text(self) -> str:
        """As `training: 1200/8000 steps (15%), loss 0.0412, 512 images/s, 0:02:30, 0:14:10 left`."""
        elapsed = time.monotonic() - self._begun
        if self.total is None:
            return f"{self._label}: {_duration(elapsed)}"
        parts = [f"{self._label}: {self.n}/{self.total} {self._unit}s ({self.n / max(self.total, 1):.0%})"]
        if self._note:
            parts.append(self._note)
        parts.append(_duration(elapsed))
        done = self.n - self._initial
        if done and self.n < self.total:
            parts.append(f"{_duration(elapsed / done * (self.total - self.n))} left")
        return ", ".join(parts)


class _Clock:
    """Makes the innermost active task write a line after a long silence."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        """The time of the last line, or of the program's start."""
        self._works: list[LogLines] = []
        self._ended = threading.Event()

    def begin(self, work: LogLines) -> None:
        """Registers a task. Tasks may nest."""
        self._works.append(work)
        if len(self._works) == 1:
            self._ended = threading.Event()
            thread = threading.Thread(
                target=self._run, args=(self._ended,), name="speediff.progress", daemon=True
            )
            with suppress(RuntimeError):  # No thread can start: the log shows only the start and the end.
                thread.start()

    def end(self, work: LogLines) -> bool:
        """Removes a task; returns False if it had already ended."""
        if work not in self._works:
            return False
        self._works.remove(work)
        if not self._works:
            self._ended.set()
        return True

    def _run(self, ended: threading.Event) -> None:
        while not ended.wait(max(0.0, self.last + SECONDS - time.monotonic())):
            work = self._works[-1:]
            if work and time.monotonic() - self.last >= SECONDS:
                work[0]._write()


_clock = _Clock()


def _duration(seconds: float) -> str:
    """As 1:02:03."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"
