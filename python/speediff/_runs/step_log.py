"""A CSV log of numbers per training step. A resumed run continues it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._support import messages
from .._support.replacement import replace_text

if TYPE_CHECKING:
    from pathlib import Path

    Row = tuple[int, tuple[float | None, ...]]


class StepLog:
    """Rows of a step and its numbers, with increasing steps. None is a missing number."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self.path = path
        self.columns = columns
        """The names of the numbers; the first column of the file is `step`."""
        self.rows: list[Row] = []

    def append(self, step: int, *values: float | None) -> None:
        """Adds a row in memory; `write` saves it."""
        self.rows.append((step, values))

    def last(self, column: str) -> float:
        """The column's last number; 0 without rows."""
        value = self.rows[-1][1][self.columns.index(column)] if self.rows else None
        return 0.0 if value is None else value

    def write(self) -> None:
        """Replaces the file; numbers keep every digit."""
        lines = [self._header, *(",".join(map(_text, (step, *values))) for step, values in self.rows)]
        replace_text(self.path, "".join(f"{line}\r\n" for line in lines))

    def read(self, last_step: int) -> None:
        """Reads the file's rows up to a step. Later rows belong to steps that were lost.

        A truncated or damaged file is read up to its last whole row, with a warning. The run needs only the
        checkpoint.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            messages.warn(f"{self.path} is missing; a new one starts after step {last_step}")
            return
        # Text after the last newline is a partial row, even if it looks whole.
        header, *lines = content.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
        rest, lines = lines[-1:], lines[:-1]
        rows: list[Row] = []
        is_whole = header == self._header and rest == [""]
        for line in filter(None, lines if header == self._header else ()):
            row = self._row(line)
            if row is None or (rows and row[0] <= rows[-1][0]):
                is_whole = False
                break
            rows.append(row)
        if not is_whole:
            kept = f"rows up to step {rows[-1][0]} are" if rows else "no rows are"
            messages.warn(f"{self.path} is damaged; {kept} kept")
        self.rows = [row for row in rows if row[0] <= last_step]

    @property
    def _header(self) -> str:
        return ",".join(("step", *self.columns))

    def _row(self, line: str) -> Row | None:
        """Parses a line; None if it is not a row."""
        step, *values = line.split(",")
        if len(values) != len(self.columns):
            return None
        try:
            return int(step), tuple(float(text) if text else None for text in values)
        except ValueError:
            return None


def _text(value: float | None) -> str:
    """The number with every digit; empty for None."""
    return "" if value is None else str(value)
