"""What a comparison measures of one method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._plans.areas import Process
    from .._runs.run_settings import Settings

    Rows = list[tuple[int, tuple[float | None, ...]]]


@dataclass(frozen=True)
class Result:
    """One method's training, as it was measured."""

    settings: Settings
    data: str
    """The fingerprint of what was trained on."""
    images: int
    """How many were measured on."""
    process: Process
    rows: Rows
    """Of each measurement the step, then the seconds of training and the errors in the order of `COLUMNS`."""

    @property
    def method(self) -> str:
        """Its name."""
        return str(self.settings["method"])
