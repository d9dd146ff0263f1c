"""The search by successive halving: which candidates train on, for how long, by the results so far.

python -m study.halving writes the arms of the next round, before each round of `scripts/study.sh search`. The
candidates and their results alone decide, so the arms of a search that has ended can be computed again.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speediff._experiments import plan as plans
from speediff._experiments.experiment import Experiment
from speediff._experiments.measures import MEASURES
from speediff._support.replacement import replace_text

from .__main__ import DOCS, RESULTS, RUNS
from .experiments import says_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SEARCH, CANDIDATES, ARMS = "search", "candidates.json", "arms.json"
MEASURE = "fd"
SEED = 2000
"""No other experiment has it, nor those after it."""


@dataclass(frozen=True)
class Round:
    """What candidates of a round do."""

    steps: int
    epsilon: int | None
    """How many of those that predict ε are in it, the best of the round before; None: all."""
    others: int | None
    """How many of those that predict something else."""
    seeds: tuple[int, ...] = (SEED,)


ROUNDS = (
    Round(500, None, None),
    Round(1000, 6, 12),
    Round(2000, 3, 5),
    Round(2000, 2, 3, (SEED, SEED + 1, SEED + 2)),
)

Qualities = dict[tuple[str, int, int], float]
"""The measured cost by arm, seed and step; infinite from where a run diverged."""


def arms(candidates: Mapping[str, Mapping[str, Any]], found: Qualities) -> dict[str, dict[str, Any]]:
    """The candidates with the steps and seeds of the last round that they are in.

    Args:
        candidates: Their settings by their names. One with steps of its own changes its draw over them: it
            makes them all, and joins the round of that length.
        found: The results so far. A round begins when all runs of the one before have ended.
    """
    made: dict[str, dict[str, Any]] = {
        name: {"steps": ROUNDS[0].steps, **settings, "seeds": [SEED]} for name, settings in candidates.items()
    }
    starts = [this.steps for this in ROUNDS]
    entries = {name: starts.index(arm["steps"]) for name, arm in made.items()}
    members: list[str] = []
    for place, this in enumerate(ROUNDS):
        if place > 0:
            scores = {name: score(name, ROUNDS[place - 1], found) for name in members}
            if any(value is None for value in scores.values()):
                break
            members = _best(members, scores, candidates, this)
        for name in members:
            made[name] |= {"steps": this.steps, "seeds": list(this.seeds)}
        members += [name for name, entry in entries.items() if entry == place]
    return made


def sizes(made: Mapping[str, Mapping[str, Any]]) -> list[int]:
    """How many arms are in each round."""
    amounts = [(arm["steps"], len(arm["seeds"])) for arm in made.values()]
    return [sum(amount >= (this.steps, len(this.seeds)) for amount in amounts) for this in ROUNDS]


def score(name: str, round_: Round, found: Qualities) -> float | None:
    """The mean log cost of a candidate at the end of a round; None while a run is missing."""
    costs = [found.get((name, seed, round_.steps)) for seed in round_.seeds]
    known = [cost for cost in costs if cost is not None]
    return None if len(known) < len(costs) else sum(map(math.log, known)) / len(known)


def choices(candidates: Mapping[str, Mapping[str, Any]], found: Qualities) -> tuple[str, str] | None:
    """The best candidate that predicts ε, and the best of all; None while a run is missing."""
    made, last = arms(candidates, found), ROUNDS[-1]
    finalists = [name for name in made if tuple(made[name]["seeds"]) == last.seeds]
    scores = {name: score(name, last, found) for name in finalists}
    if not scores or any(value is None for value in scores.values()):
        return None
    ranked = sorted(finalists, key=lambda name: scores[name])  # type: ignore[arg-type, return-value]
    return next(name for name in ranked if _predicts_noise(candidates[name])), ranked[0]


def _best(
    members: Iterable[str],
    scores: Mapping[str, float | None],
    candidates: Mapping[str, Mapping[str, Any]],
    round_: Round,
) -> list[str]:
    """The best of both kinds, in the order of the candidates. The first of equal ones is better."""
    ranked = sorted(members, key=lambda name: scores[name])  # type: ignore[arg-type, return-value]
    noise = [name for name in ranked if _predicts_noise(candidates[name])][: round_.epsilon]
    others = [name for name in ranked if not _predicts_noise(candidates[name])][: round_.others]
    return [name for name in candidates if name in {*noise, *others}]


def _predicts_noise(settings: Mapping[str, Any]) -> bool:
    return "prediction" not in settings or settings["prediction"] == "epsilon"


def qualities(folder: Path) -> Qualities:
    """The results in an experiment's folder; none without one."""
    if not (folder / plans.NAME).exists():
        return {}
    experiment = Experiment(folder, plans.read(folder))
    kind, found = MEASURES[MEASURE], {}
    for job in experiment.main_jobs():
        result = experiment.result(job)
        if result is None:
            continue
        column = result.columns.index(kind.column)
        for step, row in result.rows:
            value = row[column]
            if value is not None:
                found[job.arm, job.seed, step] = kind.cost(value)
        if result.diverged_at is not None:
            for each in ROUNDS:
                found.setdefault((job.arm, job.seed, each.steps), math.inf)
    return found


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """The candidates of a folder."""
    plain: dict[str, dict[str, Any]] = json.loads((folder / CANDIDATES).read_text(encoding="utf-8"))
    return plain


def to_json(made: Mapping[str, Mapping[str, Any]]) -> str:
    """Arms as a file, a line each."""
    lines = [f"  {json.dumps(name)}: {json.dumps(arm)}" for name, arm in made.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


@says_errors
def main() -> int:
    """Writes the arms, and says what is chosen once all has ended."""
    argparse.ArgumentParser(prog="python -m study.halving", description=__doc__).parse_args()
    kept = DOCS / RESULTS / SEARCH
    candidates = read(kept)
    # What has ended since may not have been packed. What has been is settled: a run that another machine
    # made again comes out a little differently.
    found = {**qualities(RUNS / SEARCH), **qualities(kept)}
    made, chosen = arms(candidates, found), choices(candidates, found)
    replace_text(kept / ARMS, to_json(made))
    for count, this in zip(sizes(made), ROUNDS, strict=True):
        print(f"{this.steps} steps, {len(this.seeds)} seeds: {count} of {len(made)} candidates")
    if chosen is not None:
        print(f"the best that predicts ε: {chosen[0]}; the best of all: {chosen[1]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
