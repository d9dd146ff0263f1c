"""Numbers by training step, as a CSV file that a resumed run continues."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from ._replacement import replace_text
from .errors import SpeeDiffValueError

if TYPE_CHECKING:
    from pathlib import Path


class StepLog:
    """Rows of a step and its numbers, steps rising. None stands for a number that there is not."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self.path = path
        self.columns = columns
        """The names of the numbers; the first column of the file is `step`."""
        self.rows: list[tuple[int, tuple[float | None, ...]]] = []

    def append(self, step: int, *values: float | None) -> None:
        """Adds a row. `write` puts it on the disk."""
        self.rows.append((step, values))

    def last(self, column: str) -> float:
        """The column's last number; 0 where there are no rows."""
        value = self.rows[-1][1][self.columns.index(column)] if self.rows else None
        return 0.0 if value is None else value

    def write(self) -> None:
        """Replaces the file, in every digit."""
        file = io.StringIO()
        writer = csv.writer(file)
        writer.writerow(["step", *self.columns])
        writer.writerows([step, *values] for step, values in self.rows)
        replace_text(self.path, file.getvalue())

    def read(self, last_step: int) -> None:
        """Takes over the file's rows up to a step: those after it belong to steps that were lost."""
        try:
            with self.path.open(newline="") as file:
                header, *lines = list(csv.reader(file)) or [[]]
        except FileNotFoundError:
            return
        try:
            if header != ["step", *self.columns]:
                raise ValueError
            rows = [(int(step), tuple(float(text) if text else None for text in row)) for step, *row in lines]
        except ValueError:
            columns = ", ".join(self.columns)
            raise SpeeDiffValueError(f"{self.path} must hold step, {columns} as this run wrote it") from None
        self.rows = [row for row in rows if row[0] <= last_step]
