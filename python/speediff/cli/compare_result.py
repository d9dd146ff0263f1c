"""The results of one method in a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._plans.areas import Process
    from .._runs.run_settings import Settings

    Rows = list[tuple[int, tuple[float | None, ...]]]


@dataclass(frozen=True)
class Result:
    """The validation results of one method's run."""

    settings: Settings
    data: str
    """The fingerprint of the training data."""
    images: int
    """The number of validation images."""
    process: Process
    rows: Rows
    """One row per measurement: the step, then training seconds and the errors in the order of `COLUMNS`."""

    @property
    def method(self) -> str:
        """Its name."""
        return str(self.settings["method"])
