"""Runs that were measured again, with other samples: the JSON files of `speediff evaluate`, as tables.

EXPERIMENT/FOLDER/ARM/seed-N.json, or seed-N.NAME.json for several extractors; ARM is the arm's folder in
`runs`. All files of one extractor and folder must be measured in the same way. The folders are `FINALISTS`
and `UNCLIPPED`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from speediff._experiments import report_text
from speediff._experiments.analysis import Spread
from speediff._experiments.arms import folder_name
from speediff._experiments.measures import MEASURES, shown

from .experiments import StudyError
from .figures import NOTHING, gain_of_costs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .experiments import StudyExperiment

FINALISTS, UNCLIPPED = "evaluations", "unclipped"
MEASURE, VALUES = "fd", ("fd", "kid")
SAME = ("n", "against", "reference_n", "extractor", "resize", "settings", "seed", "floor")
"""What must be equal in all files of one extractor."""

File = tuple[str, str, dict[str, Any]]
"""The arm's folder, the seed, and the content."""
Column = tuple[str, str]
"""One of `VALUES`, and the name of the distance."""


@dataclass
class Measured:
    """What was measured again of an experiment."""

    columns: dict[Column, dict[str, dict[int, float]]]
    """The values by arm and seed."""
    firsts: dict[str, dict[str, Any]]
    """A file of each extractor, which says how all of them were measured."""

    def seeds(self, arm: str) -> set[int]:
        """The seeds of an arm that were measured."""
        return {seed for cells in self.columns.values() for seed in cells.get(arm, ())}

    def spread(self, column: Column, arm: str) -> Spread | None:
        """The values of an arm."""
        return Spread.of(list(self.columns[column].get(arm, {}).values()))


def table(experiment: StudyExperiment) -> str:
    """The finalists' qualities: median [lowest, highest] over the seeds, and how they were measured.

    Raises:
        StudyError: If a file is of no arm, or was measured in another way than the others of its extractor.
    """
    measured = _measured(experiment, FINALISTS)
    if measured is None:
        return f"*{experiment.title}, finalists: not measured yet.*"
    rows = [["arm", "seeds", *(_title(*column) for column in measured.columns)]]
    for arm in experiment.results.runs:
        seeds = measured.seeds(arm)
        if seeds:
            spreads = [(column[0], measured.spread(column, arm)) for column in measured.columns]
            texts = [report_text.spread_text(name, spread) for name, spread in spreads]
            rows.append([f"{arm}{_longer(experiment, arm)}", str(len(seeds)), *texts])
    floors = [measured.firsts[distance]["floor"].get(name) for name, distance in measured.columns]
    if any(floor is not None for floor in floors):
        texts = [NOTHING if floor is None else shown("fd", floor) for floor in floors]
        rows.append(["real images", "", *texts])
    return f"{report_text.pipes(rows)}\n\n{_how(measured.firsts)}"


def unclipped(experiment: StudyExperiment) -> str:
    """The last FD of runs with and without clipped predictions of x₀, the best with clipping first.

    Raises:
        StudyError: As for `table`, or if a run has no FD of its own.
    """
    measured = _measured(experiment, UNCLIPPED)
    if measured is None:
        return f"*{experiment.title}, without clipping: not measured yet.*"
    title, pairs = _title(*_column(measured)), _pairs(experiment, measured)
    alike = [name for name in experiment.baseline_names if name in pairs and not _longer(experiment, name)]
    head = ["arm", "seeds", f"{title}, x₀ clipped", f"{title}, x₀ not clipped"]
    for than in alike:
        head += [f"that of {than} over it, clipped", "not clipped"]
    rows = [head]
    for arm, both in sorted(pairs.items(), key=lambda pair: np.median(pair[1].clipped)):
        spreads = [report_text.spread_text(MEASURE, Spread.of(values)) for values in both]
        length = _longer(experiment, arm)
        row = [f"{arm}{length}", str(len(both.clipped)), *spreads]
        for than in alike:
            gains = [gain_of_costs(own, its) for own, its in zip(both, pairs[than], strict=True)]
            row += [NOTHING if arm == than or length else str(gain) for gain in gains]
        rows.append(row)
    return f"{report_text.pipes(rows)}\n\n{_how(measured.firsts)}"


def _longer(experiment: StudyExperiment, arm: str) -> str:
    """The steps of an arm that ends with others than its experiment does; empty for all others."""
    steps = experiment.setting(arm, "steps")
    return "" if steps == experiment.results.plan.settings["steps"] else f" ({steps} steps)"


def unclipped_gain(experiment: StudyExperiment, arm: str, than: str) -> str:
    """How much lower an arm's last FD is than another's, without clipping.

    Raises:
        StudyError: If one of them was not measured, or does not end with the experiment's last step.
    """
    measured = _measured(experiment, UNCLIPPED) or Measured({}, {})
    whole = _whole(experiment, measured)
    for name in (arm, than):
        if name not in whole:
            raise StudyError(f"{experiment.name}: not all runs of {name!r} were measured without clipping")
    pairs = _pairs(experiment, measured)
    return str(gain_of_costs(pairs[arm].unclipped, pairs[than].unclipped))


class Pair(NamedTuple):
    """The last FD of an arm's runs that have both, in the same order."""

    clipped: list[float]
    unclipped: list[float]


def _pairs(experiment: StudyExperiment, measured: Measured) -> dict[str, Pair]:
    without = measured.columns[_column(measured)]
    found: dict[str, Pair] = {}
    for arm, runs in experiment.results.runs.items():
        for job, result in runs:
            clipped = result.last(MEASURES[MEASURE].column)
            if job.seed in without.get(arm, {}) and clipped is not None:
                pair = found.setdefault(arm, Pair([], []))
                pair.clipped.append(clipped)
                pair.unclipped.append(without[arm][job.seed])
    return found


def _column(measured: Measured) -> Column:
    return next(column for column in measured.columns if column[0] == MEASURE)


def unclipped_qualities(experiment: StudyExperiment) -> dict[str, str]:
    """The FD without clipping after the experiment's last step, of each arm whose runs all have it.

    Raises:
        StudyError: As for `table`.
    """
    measured = _measured(experiment, UNCLIPPED)
    if measured is None:
        return {}
    column = _column(measured)
    return {
        arm: report_text.spread_text(MEASURE, measured.spread(column, arm))
        for arm in _whole(experiment, measured)
    }


def _whole(experiment: StudyExperiment, measured: Measured) -> list[str]:
    """The arms that end with the experiment's last step, and whose runs were all measured."""
    return [
        arm.name
        for arm in experiment.results.plan.arms
        if experiment.setting(arm.name, "steps") == experiment.last_step
        and measured.seeds(arm.name) == {result.settings["seed"] for result in experiment.ended(arm.name)}
    ]


def _measured(experiment: StudyExperiment, name: str) -> Measured | None:
    """All files of a folder; None if there are none."""
    files = list(_files(experiment.folder / name))
    if not files:
        return None
    if experiment.against() is None:
        raise StudyError(f"{experiment.name} has {name}, but no results")
    arms = {folder_name(arm): arm for arm in experiment.results.runs}
    measured = Measured({}, {})
    for folder, seed, content in files:
        if folder not in arms:
            raise StudyError(f"{experiment.name} has {name} of {folder!r}, which is no arm")
        first = measured.firsts.setdefault(content["distance_name"], content)
        _check_same(experiment.name, folder, seed, first, content)
        for value in VALUES:
            if value in content["values"]:
                cells = measured.columns.setdefault((value, content["distance_name"]), {})
                cells.setdefault(arms[folder], {})[int(seed)] = content["values"][value]
    return measured


def _files(folder: Path) -> Iterator[File]:
    for path in sorted(folder.glob("*/seed-*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if "values" not in content:
            raise StudyError(f"{path} has no values: a run that diverged is no finalist")
        yield path.parent.name, path.name.split(".")[0].removeprefix("seed-"), content


def _check_same(name: str, folder: str, seed: str, first: dict[str, Any], content: dict[str, Any]) -> None:
    for key in SAME:
        if content[key] != first[key]:
            raise StudyError(
                f"{name}: evaluations must be measured alike, but {key} of {folder}, seed {seed}, is "
                f"{content[key]}, not {first[key]}"
            )


def _title(name: str, distance: str) -> str:
    return distance if name == "fd" else distance.replace("FID", "KID").replace("FD", "KID")


def _how(firsts: dict[str, dict[str, Any]]) -> str:
    lines = []
    for distance, first in firsts.items():
        text = f"- {distance}: {first['n']} images against {first['reference_n']} of {first['against']}; "
        text += f"{first['extractor']}; resize: {first['resize']}"
        if "images" in first["settings"]:
            text += f"; {first['settings']['images']}"
        lines.append(f"{text}.")
    return "\n".join(lines)
