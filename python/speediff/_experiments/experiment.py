"""An experiment in a folder: what is done, what is next, and doing it."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .._runs import run_settings, schedule_flags
from .._runs.interrupt import Stopped, StopRequest
from .._support import messages, progress
from ..errors import SpeeDiffValueError
from . import jobs, measures, packed, processes, results
from . import plan as plans
from .live import Live
from .meter import Meter
from .plan import AUTO

if TYPE_CHECKING:
    from pathlib import Path

    from ..training import Trainer
    from .job import Job
    from .plan import Plan
    from .results import Result
    from .tuning import Choice

AUTOMATIC = ("precision",)
"""The settings that a trainer chooses by the processor, if they are "auto"."""


class Experiment:
    """A plan, its folder and the results so far."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        """Takes a plan whose data have been read."""
        self.folder, self.plan = folder, plan
        self.columns = measures.columns(plan.measuring["measure"])
        self._found: dict[str, Result | None] = {}
        self._draws_samples = False

    def open(self) -> None:
        """Reads the data, checks what can be checked before training, and writes the plan.

        Raises:
            SpeeDiffError: If the data cannot be read, are not the experiment's, or do not suit the plan; or
                if a package is missing.
        """
        plan, known = self.plan, self.plan.fingerprint
        meter = Meter(self.folder, plan.source, plan.settings, plan.measuring)
        with progress.task(f"reading {plan.source}"):
            data = meter.parts[0]
        if known is not None and data.fingerprint != known:
            raise SpeeDiffValueError(
                f"--resume needs the data of the experiment ({known}), got {plan.source} ({data.fingerprint})"
            )
        for arm in plan.arms:
            settings = plan.settings_of(arm, plan.seeds_of(arm)[0])
            if settings["flip"] and not data.is_images:
                raise SpeeDiffValueError(f"--flip must not be given with latents, got {plan.source}")
            # The network must suit the data, and fit into memory.
            with run_settings.make_trainer(settings, data, threads=1) as trainer:
                plan = _settled(plan, arm.name, trainer)
        self.plan = replace(plan, fingerprint=data.fingerprint)
        self._draws_samples = meter.draws_samples
        # Without a plan, features in the folder may be of anything.
        is_prepared = known is not None and meter.is_prepared
        if self.next_job(frozenset()) is not None and not is_prepared:
            with progress.task("measuring the reference"):
                meter.prepare()
        plans.write(self.folder, self.plan)

    @cached_property
    def _packed(self) -> dict[str, packed.Line]:
        return packed.read(self.folder)

    def result(self, job: Job) -> Result | None:
        """What is known of a run; None without result files."""
        if job.key not in self._found:
            result = results.read(self.folder, job, self.columns, self._packed)
            known = self.plan.fingerprint
            if result is not None and known is not None and result.data.get("data") != known:
                raise SpeeDiffValueError(
                    f"{results.path(self.folder, job, 'json')} must be of a run on {known}, "
                    f"got {result.data.get('data')}: choose another --out"
                )
            self._found[job.key] = result
        return self._found[job.key]

    def finished(self, job: Job) -> Result | None:
        """The result of a run, if it is finished."""
        result = self.result(job)
        return result if results.finished(result, job.steps) else None

    def forget(self, job: Job) -> None:
        """Reads a run's files anew when they are next asked for."""
        self._found.pop(job.key, None)

    def choices(self) -> dict[str, Choice | None]:
        """What tuning chose, by arm; None while it is under way. Arms that are not tuned are left out."""
        return jobs.choices(self.plan, self.grids(), self.finished)

    def grids(self) -> dict[str, tuple[float, ...]]:
        """The values that each arm is tuned over, as far as its grid has grown."""
        return jobs.grids(self.plan, self.finished)

    def tuning_jobs(self) -> list[Job]:
        """All runs of tuning."""
        return list(jobs.tuning_jobs(self.plan, self.grids()))

    def main_jobs(self) -> list[Job]:
        """The runs of the comparison, as far as tuning has chosen their settings."""
        return list(jobs.main_jobs(self.plan, self.choices()))

    def next_job(self, taken: frozenset[str]) -> Job | None:
        """The first run that is not finished and not among these keys; None: there is none for now."""
        for job in (*self.tuning_jobs(), *self.main_jobs()):
            if job.key not in taken and self.finished(job) is None:
                return job
        return None

    def total_steps(self) -> int:
        """The steps of all runs, unless a grid grows further."""
        return jobs.total_steps(self.plan, self.grids())

    def done_steps(self) -> int:
        """The steps of all finished runs."""
        every = (*self.tuning_jobs(), *self.main_jobs())
        return sum(job.steps for job in every if self.finished(job) is not None)

    def train(self, *, count: int, checkpoint_every: int) -> None:
        """Trains all runs that are not finished, after `open`.

        Args:
            count: Runs side by side.
            checkpoint_every: Checkpoint interval in steps.

        Raises:
            Stopped: On a stop request, after all runs were saved.
            SpeeDiffError: If a run failed.
        """
        if self.next_job(frozenset()) is None:
            return
        plan = self.plan
        first = {arm.name: plan.seeds_of(arm)[0] for arm in plan.arms}
        shared: dict[str, Any] = {
            "folder": str(self.folder),
            "source": plan.source,
            "settings": plan.settings,
            "measuring": plan.measuring,
            "tuned_by": plan.tuning.by if plan.tuning else None,
            "checkpoint_every": checkpoint_every,
        }
        with StopRequest() as stop, Live(plan, done=self.done_steps(), total=self.total_steps()) as live:

            def heard(job: Job, event: dict[str, Any]) -> None:
                if event["event"] == "ended":
                    self.forget(job)
                    live.expect(self.total_steps())
                live.show(job, event)

            is_done = processes.work(
                self.next_job,
                heard,
                shared=shared,
                count=count,
                threads=plan.measuring["threads"],
                draws=lambda job: self._draws_samples and not job.is_tuning and job.seed == first[job.arm],
                is_stopping=lambda: stop.made,
            )
        if not is_done:
            messages.tell(f"stopped; --resume continues {self.folder}")
            raise Stopped


def _settled(plan: Plan, name: str, trainer: Trainer) -> Plan:
    """The plan with what a trainer took for "auto", so that runs on another machine take the same."""
    for setting in AUTOMATIC:
        if plan.settings.get(setting) == AUTO:
            taken = getattr(trainer, setting)
            progress.note(f"{schedule_flags.flag(setting)} {AUTO}: {taken}")
            plan = replace(plan, settings={**plan.settings, setting: taken})
        if plan.arm(name).settings.get(setting) == AUTO:
            arm = replace(
                plan.arm(name), settings={**plan.arm(name).settings, setting: getattr(trainer, setting)}
            )
            plan = replace(plan, arms=tuple(arm if each.name == name else each for each in plan.arms))
    return plan
