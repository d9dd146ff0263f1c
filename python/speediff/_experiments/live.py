"""What an experiment shows while it runs: one bar for the whole, and a table of the last measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._support import progress
from . import measures

if TYPE_CHECKING:
    from typing_extensions import Self

    from .job import Job
    from .plan import Plan

NAME_WIDTH = 28


class Live:
    """The bar, and a line per arm in a terminal or a line per measurement in a log."""

    def __init__(self, plan: Plan, *, done: int, total: int) -> None:
        """Begins to show.

        Args:
            plan: The plan of what runs.
            done: The steps of the runs that are finished.
            total: The steps of all runs.
        """
        self._names = plan.measuring["measure"]
        self._steps: dict[str, int] = {}
        arms = [arm.name for arm in plan.arms]
        self._width = min(NAME_WIDTH, max(map(len, arms)))
        self._bar = progress.bar(label="experiment", total=total, initial=done, is_main=True)
        self._table = progress.Table(arms)

    def expect(self, total: int) -> None:
        """Takes a new number of steps of all runs: grids of tuning grow."""
        self._bar.total = total

    def show(self, job: Job, event: dict[str, Any]) -> None:
        """Shows an event of a run."""
        what = event["event"]
        if what in ("begun", "step", "measured"):
            self._advance(job, event["step"])
        if what == "measured":
            self._table.show(job.arm, self._line(job, f"step {event['step']}", event["numbers"]))
        elif what == "ended":
            self._advance(job, job.steps)
            if event["diverged_at"] is not None:
                self._table.show(job.arm, self._line(job, f"diverged at step {event['diverged_at']}", {}))

    def _advance(self, job: Job, step: int) -> None:
        """Counts the steps of a run, those of an earlier command included."""
        before = self._steps.get(job.key, 0)
        self._steps[job.key] = max(min(step, job.steps), before)
        self._bar.update(self._steps[job.key] - before)

    def _line(self, job: Job, what: str, numbers: dict[str, float | None]) -> str:
        run = ", ".join(part for part in (job.variant, f"seed {job.seed}") if part)
        shown = [
            f"{name} {measures.shown(name, numbers[measures.MEASURES[name].column])}"
            for name in self._names
            if numbers
        ]
        return "  ".join([f"{job.arm:{self._width}}", run, what, *shown])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._table.close()
        self._bar.close()
