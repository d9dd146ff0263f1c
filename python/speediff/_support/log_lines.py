"""Progress in a log: a line every so often, also while a single step takes long."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import messages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECONDS = 20.0
"""Between two lines, whatever the work."""


class LogLines:
    """Has the methods of tqdm's bars that are used here, and writes lines to stderr instead."""

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
        """Takes what a bar takes.

        Args:
            items: What to iterate over, if this counts items.
            label: What is going on.
            total: How many units there are in all; None: as many as items, or no number at all.
            initial: How many were done before this began.
            unit: What is counted.
            is_main: Also writes a line when it begins.
            delay: What ends within so many seconds writes no line when it ends.
        """
        self.n = self._initial = initial
        self._items = items
        self._label = label
        self._total = len(items) if total is None and items is not None else total
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
        """Counts units that are done."""
        self.n += n

    def set_postfix_str(self, text: str, refresh: bool = False) -> None:
        """Has this text in the lines to come."""
        self._note = text

    def close(self) -> None:
        """Ends it, with a last line unless it was short."""
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
        if self._total is None:
            return f"{self._label}: {_duration(elapsed)}"
        parts = [f"{self._label}: {self.n}/{self._total} {self._unit}s ({self.n / max(self._total, 1):.0%})"]
        if self._note:
            parts.append(self._note)
        parts.append(_duration(elapsed))
        done = self.n - self._initial
        if done and self.n < self._total:
            parts.append(f"{_duration(elapsed / done * (self._total - self.n))} left")
        return ", ".join(parts)


class _Clock:
    """Has the innermost of the works that are going on write a line when there was none for long."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        """When a line was written, or the program began."""
        self._works: list[LogLines] = []
        self._ended = threading.Event()

    def begin(self, work: LogLines) -> None:
        """Is called when work begins, perhaps within other work."""
        self._works.append(work)
        if len(self._works) == 1:
            self._ended = threading.Event()
            thread = threading.Thread(
                target=self._run, args=(self._ended,), name="speediff.progress", daemon=True
            )
            with suppress(RuntimeError):  # No thread is left: the log is silent between beginning and end.
                thread.start()

    def end(self, work: LogLines) -> bool:
        """Is called when work ends; whether it had not ended before."""
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
