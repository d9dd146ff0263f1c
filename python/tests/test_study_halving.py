"""The search: who goes on is what the results say, and nothing else."""

from __future__ import annotations

import importlib
import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import made_studies
import pytest
from made_experiments import make

from speediff._experiments import results

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.checkout
made_studies.modules()
halving = importlib.import_module("study.halving")
SEARCH = made_studies.ROOT / "docs" / "results" / "study" / "search"

CANDIDATES: dict[str, dict[str, Any]] = {
    **{f"epsilon {place}": {"method": "uniform"} for place in range(8)},
    **{f"v {place}": {"method": "uniform", "prediction": "v"} for place in range(15)},
}
SEEDS = halving.ROUNDS[-1].seeds


def cost(name: str) -> float:
    """The later ones of each kind are better, and those that predict v better than all others."""
    kind, place = name.split()
    return (100.0 if kind == "epsilon" else 10.0) - float(place) / 2


def after(made: dict[str, dict[str, Any]]) -> Any:
    """The results of these arms, all of whose runs have ended."""
    return {
        (name, seed, this.steps): cost(name)
        for name, arm in made.items()
        for seed in arm["seeds"]
        for this in halving.ROUNDS
        if this.steps <= arm["steps"]
    }


def best(kind: str, count: int) -> list[str]:
    """The best of a kind, in the order of the candidates."""
    return [name for name in CANDIDATES if name.startswith(kind)][-count:]


def members(made: dict[str, dict[str, Any]], steps: int, seeds: int = 1) -> list[str]:
    return [name for name, arm in made.items() if arm["steps"] >= steps and len(arm["seeds"]) >= seeds]


def test_each_round_keeps_the_best_of_both_kinds() -> None:
    found: Any = {}
    for steps, seeds, noise, others in ((500, 1, 8, 15), (1000, 1, 6, 12), (2000, 1, 3, 5), (2000, 3, 2, 3)):
        made = halving.arms(CANDIDATES, found)
        assert members(made, steps, seeds) == best("epsilon", noise) + best("v", others)
        assert list(made) == list(CANDIDATES)
        assert halving.choices(CANDIDATES, found) is None
        found = after(made)
    assert halving.arms(CANDIDATES, found) == made
    assert halving.sizes(made) == [23, 18, 8, 5]
    assert halving.choices(CANDIDATES, found) == ("epsilon 7", "v 14")


def test_a_candidate_with_steps_of_its_own_joins_the_round_of_that_length() -> None:
    """It makes them all at once, and takes nobody's place before."""
    candidates = {"v 15": {"method": "clts(end_step=2000)", "prediction": "v", "steps": 2000}, **CANDIDATES}
    found: Any = {}
    for noise, others in ((8, 15), (6, 12), (3, 5)):
        made = halving.arms(candidates, found)
        going = members(made, {8: 500, 6: 1000, 3: 2000}[noise])
        assert going == ["v 15", *best("epsilon", noise), *best("v", others)]
        assert made["v 15"] == {**candidates["v 15"], "seeds": [SEEDS[0]]}
        found = after(made)
    made = halving.arms(candidates, found)
    assert members(made, 2000, 3) == ["v 15", *best("epsilon", 2), *best("v", 2)]
    assert halving.choices(candidates, after(made)) == ("epsilon 7", "v 15")
    del found["v 15", SEEDS[0], 2000]
    assert members(halving.arms(candidates, found), 2000, 3) == []


def test_a_round_waits_for_all_runs_of_the_one_before() -> None:
    first = halving.arms(CANDIDATES, {})
    found = after(first)
    del found["v 3", SEEDS[0], 500]
    assert halving.arms(CANDIDATES, found) == first


def test_finalists_are_ranked_by_the_geometric_mean_over_their_seeds() -> None:
    found: Any = {}
    for _ in halving.ROUNDS:
        found = after(halving.arms(CANDIDATES, found))
    # The arithmetic means are 3.33 and 3.1, the geometric ones 2.15 and 3.1.
    found |= {("v 13", seed, 2000): value for seed, value in zip(SEEDS, (1.0, 1.0, 8.0), strict=True)}
    found |= {("v 14", seed, 2000): 3.1 for seed in SEEDS}
    found |= {("v 12", seed, 2000): 3.2 for seed in SEEDS}
    assert halving.choices(CANDIDATES, found) == ("epsilon 7", "v 13")
    del found["v 12", SEEDS[2], 2000]
    assert halving.choices(CANDIDATES, found) is None


def test_the_first_of_equal_candidates_goes_on() -> None:
    found = dict.fromkeys(after(halving.arms(CANDIDATES, {})), 7.0)
    made = halving.arms(CANDIDATES, found)
    assert members(made, 1000) == [*list(CANDIDATES)[:6], *list(CANDIDATES)[8:20]]


def test_results_are_read_and_a_run_that_diverged_is_last(tmp_path: Path) -> None:
    assert halving.qualities(tmp_path / "none") == {}
    arms = {"uniform": {"method": "uniform"}, "gone": {"method": "p2"}}
    experiment = make(tmp_path, arms, lambda _: 1.0, seeds=(SEEDS[0],))
    gone = next(job for job in experiment.main_jobs() if job.arm == "gone")
    result = experiment.result(gone)
    assert result is not None
    results.write(tmp_path, gone, replace(result, rows=[], times=[], diverged_at=300))
    found = halving.qualities(tmp_path)
    assert found["gone", SEEDS[0], 500] == math.inf
    assert found["uniform", SEEDS[0], 100] == pytest.approx(1000 / 100 / 0.92)
    assert ("uniform", SEEDS[0], 500) not in found
    assert halving.score("uniform", halving.ROUNDS[0], found) is None
    assert halving.score("gone", halving.ROUNDS[0], found) == math.inf


def test_the_committed_arms_are_those_of_the_committed_results() -> None:
    candidates, found = halving.read(SEARCH), halving.qualities(SEARCH)
    made = halving.arms(candidates, found)
    kept = json.loads((SEARCH / halving.ARMS).read_text(encoding="utf-8"))
    # While a search is under way, its arms may be a round ahead of the results that are packed, never behind.
    assert all(kept[name]["steps"] >= arm["steps"] for name, arm in made.items())
    if halving.choices(candidates, found) is not None:
        assert kept == made
