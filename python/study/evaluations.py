"""Finalists, measured again with more images: the JSON files of `speediff evaluate`, as a table.

EXPERIMENT/evaluations/ARM/seed-N.json, or seed-N.NAME.json for several extractors; ARM is the arm's folder in
`runs`. All files of one extractor must be measured in the same way.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from speediff._experiments import report_text
from speediff._experiments.analysis import Spread
from speediff._experiments.arms import folder_name
from speediff._experiments.measures import shown

from .experiments import StudyError
from .figures import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .experiments import StudyExperiment

FOLDER = "evaluations"
VALUES = ("fd", "kid")
SAME = ("n", "against", "reference_n", "extractor", "resize", "settings", "seed", "floor")
"""What must be equal in all files of one extractor."""

File = tuple[str, str, dict[str, Any]]
"""The arm's folder, the seed, and the content."""


def table(experiment: StudyExperiment) -> str:
    """The finalists' qualities: median [lowest, highest] over the seeds, and how they were measured.

    Raises:
        StudyError: If a file is of no arm, or was measured in another way than the others of its extractor.
    """
    files = list(_files(experiment.folder / FOLDER))
    if not files:
        return f"*{experiment.title}, finalists: not measured yet.*"
    if experiment.against() is None:
        raise StudyError(f"{experiment.name} has evaluations, but no results")
    arms = {folder_name(arm): arm for arm in experiment.results.runs}
    firsts: dict[str, dict[str, Any]] = {}
    found: dict[str, dict[tuple[str, str], list[float]]] = {}
    seeds: dict[str, set[str]] = {}
    for folder, seed, content in files:
        if folder not in arms:
            raise StudyError(f"{experiment.name} has evaluations of {folder!r}, which is no arm")
        seeds.setdefault(folder, set()).add(seed)
        first = firsts.setdefault(content["distance_name"], content)
        _check_same(experiment.name, folder, seed, first, content)
        for name in VALUES:
            if name in content["values"]:
                cells = found.setdefault(folder, {})
                cells.setdefault((name, content["distance_name"]), []).append(content["values"][name])
    columns = list(dict.fromkeys(column for cells in found.values() for column in cells))
    rows = [["arm", "seeds", *(_title(*column) for column in columns)]]
    for folder, arm in arms.items():
        if folder in found:
            texts = [
                report_text.spread_text(name, Spread.of(found[folder].get((name, distance), [])))
                for name, distance in columns
            ]
            rows.append([arm, str(len(seeds[folder])), *texts])
    floors = [firsts[distance]["floor"].get(name) for name, distance in columns]
    if any(floor is not None for floor in floors):
        texts = [NOTHING if floor is None else shown("fd", floor) for floor in floors]
        rows.append(["real images", "", *texts])
    return f"{report_text.pipes(rows)}\n\n{_how(firsts)}"


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
