"""One run of an experiment, before it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .arms import folder_name

if TYPE_CHECKING:
    from .._runs.run_settings import Settings


@dataclass(frozen=True)
class Job:
    """One run of an arm."""

    arm: str
    variant: str
    """The tuned value, as in lr=0.001; empty without tuning."""
    settings: Settings
    """All settings, seed and steps included."""
    is_tuning: bool = False

    @property
    def seed(self) -> int:
        """Its seed."""
        seed: int = self.settings["seed"]
        return seed

    @property
    def steps(self) -> int:
        """Its number of steps."""
        steps: int = self.settings["steps"]
        return steps

    @property
    def key(self) -> str:
        """The path of its files within the folders `results` and `runs`."""
        parts = (folder_name(self.arm), self.variant, f"seed-{self.seed}")
        return "/".join(part for part in parts if part)

    @property
    def title(self) -> str:
        """What it is, in a line."""
        return ", ".join(part for part in (self.arm, self.variant, f"seed {self.seed}") if part)
