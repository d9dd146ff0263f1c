"""Measures runs of the study again, with other samples, from their checkpoints.

They are in runs/study, or in runs/study-again if `study.again` has made the run again.

python -m study.remeasure main unclipped [RUN …]
python -m study.remeasure main evaluations RUN …

A RUN is as in results/runs.jsonl: speed/lr=0.004/seed-0. What has been measured is not measured again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speediff._experiments.arms import folder_name
from speediff._experiments.measures import CLASSIFIER

from . import runs
from .__main__ import DOCS, RESULTS, ROOT, RUNS
from .again import folder_of
from .evaluations import FINALISTS, UNCLIPPED
from .experiments import StudyError, says_errors
from .tables import SIDE_BY_SIDE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from speediff._experiments.plan import Plan

CHECKPOINT = "run.safetensors"


@dataclass(frozen=True)
class Measurement:
    """One call of `speediff evaluate`."""

    checkpoint: Path
    file: Path
    """What it writes."""
    flags: tuple[str, ...]


def flags(plan: Plan, kind: str) -> dict[str, tuple[str, ...]]:
    """The flags of `speediff evaluate` by the name of the extractor in its file's name.

    Args:
        plan: The plan, which says how its runs were measured.
        kind: `UNCLIPPED`: as there, but that predictions of x₀ are not clipped. `FINALISTS`: with 10,000
            images of 250 DDPM steps, as the paper samples.
    """
    measuring = plan.measuring
    reference = measuring["reference_images"]
    shared = ["--against", plan.source, "--threads", "1"]
    shared += [] if reference is None else ["--reference-images", str(reference)]
    features = {name: measuring["features"].get(name, CLASSIFIER) for name in ("fd", "kid")}
    if kind == UNCLIPPED:
        how = ["--n", str(measuring["images"]), "--steps", str(measuring["sample_steps"]), "--no-clip"]
        return {"fd": (*shared, *how, "--measure", "fd", "--features", features["fd"])}
    how = ["--n", "10000", "--method", "ddpm", "--steps", "250"]
    return {
        name: (*shared, *how, "--measure", name, "--features", text)
        for name, text in features.items()
        if name in measuring["measure"]
    }


def checkpoint_of(name: str, key: str) -> Path:
    """The checkpoint of a run, or of the same run made again, or else where the first would be."""
    first = RUNS / name / "runs" / key / CHECKPOINT
    again = folder_of(name, key).glob(f"runs/**/{CHECKPOINT}")
    return first if first.exists() else next(again, first)


def measurements(name: str, kind: str, keys: Sequence[str]) -> list[Measurement]:
    """What is left to be measured: all runs by FD first, which decides.

    Args:
        name: The experiment.
        kind: `UNCLIPPED` or `FINALISTS`.
        keys: The runs; none: all of the comparison that have ended.

    Raises:
        StudyError: If one of the runs has not ended, or its checkpoint is gone.
    """
    folder = DOCS / RESULTS / name
    experiment = runs.opened(folder)
    ended = runs.ended(experiment, experiment.main_jobs())
    jobs = [runs.find(ended, key, name) for key in keys] or ended.values()
    found = []
    for extractor, given in flags(experiment.plan, kind).items():
        for job in jobs:
            checkpoint = checkpoint_of(name, job.key)
            file = folder / kind / folder_name(job.arm) / f"seed-{job.seed}.{extractor}.json"
            if file.exists():
                continue
            if not checkpoint.exists():
                how = f"make it again with python -m study.again {name} {job.key}"
                raise StudyError(f"the checkpoint {checkpoint} is gone: {how}")
            found.append(Measurement(checkpoint, file, given))
    return found


def measure(job: Measurement) -> None:
    """Measures one run.

    Raises:
        StudyError: If the command failed.
    """
    job.file.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = str(job.checkpoint.relative_to(ROOT))
    command = [sys.executable, "-m", "speediff", "evaluate", checkpoint, *job.flags, "--json", str(job.file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StudyError(f"{' '.join(command)}: {done.stderr.strip()}")


@says_errors
def main() -> int:
    """Measures, two runs at a time."""
    parser = argparse.ArgumentParser(prog="python -m study.remeasure", description=__doc__)
    parser.add_argument("experiment", help="a folder of docs/results/study")
    parser.add_argument("kind", choices=(UNCLIPPED, FINALISTS))
    parser.add_argument("runs", nargs="*", metavar="RUN", help="as in its results/runs.jsonl")
    options = parser.parse_args()
    if options.kind == FINALISTS and not options.runs:
        parser.error("name the finalists' runs")
    left = measurements(options.experiment, options.kind, options.runs)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for job, _ in zip(left, pool.map(measure, left), strict=True):
            print(job.file.relative_to(ROOT), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
