"""The evidence of methods: a sentence for each arm of an experiment that is marked as evidence.

A sentence belongs to the arm's sampling and to its weighting, unless they are uniform.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from speediff import parse_method
from speediff._experiments import analysis as analyses
from speediff._experiments.speedup import UNKNOWN
from speediff._methods import method_text
from speediff._methods.method_list import methods, page
from speediff._support import text_names
from speediff.sampling import Uniform
from speediff.weighting import Weighting

from . import evaluations, figures
from .tables import headline_measures, own_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from .experiments import StudyExperiment

    Evidence = dict[str, dict[str, list[str]]]

SAID = re.compile(r"^\*\*Evidence\.\*\* .*?(?=^\*\*When to use)", re.MULTILINE | re.DOTALL)
PLACE = re.compile(r"^\*\*When to use", re.MULTILINE)
WIDTH = 120


def collect(experiments: Iterable[StudyExperiment]) -> Evidence:
    """The sentences by kind and name of the method: "sampling" and "weighting"."""
    found: Evidence = {"sampling": {}, "weighting": {}}
    for experiment in experiments:
        if not experiment.evidence or experiment.against() is None:
            continue
        without = evaluations.unclipped_qualities(experiment)
        for arm in experiment.results.plan.arms:
            of = _methods(experiment.presets.get(arm.name, arm.settings["method"]))
            text = _sentence(experiment, arm.name, of, without) if of else None
            if text is not None:
                for kind, name in of:
                    found[kind].setdefault(name, []).append(text)
    return {kind: dict(sorted(found[kind].items())) for kind in found}


def _methods(text: str) -> list[tuple[str, str]]:
    if method_text.PRESETS.get(text.split("(")[0]) == "official":
        text = "speed"  # On the same pages.
    sampling, weighting = parse_method(text)
    found = []
    if sampling is not None and not isinstance(sampling, Uniform):
        found.append(("sampling", sampling.name))
    if weighting is not None and weighting.name in Weighting.by_name and weighting.name != Uniform.name:
        found.append(("weighting", weighting.name))
    return found


def _sentence(
    experiment: StudyExperiment, arm: str, of: Sequence[tuple[str, str]], without: Mapping[str, str]
) -> str | None:
    """What was found of an arm, once all runs that are needed have ended; None for a baseline.

    Beside its FD stands the one without clipping, if it is known: they do not rank the methods alike.

    Args:
        experiment: The experiment.
        arm: The arm.
        of: The kinds and names of its sampling and weighting.
        without: The qualities without clipping, by arm.
    """
    if arm in experiment.baseline_names:
        return None
    compared = _compared_with(experiment, arm)
    if not all(experiment.of_arm(name).is_whole for name in (arm, *compared)):
        return None
    analysis, seeds = experiment.results, len(experiment.ended(arm))
    measure = headline_measures(analysis)[0]

    def quality(name: str) -> str:
        text = figures.quality(experiment, name, measure)
        return f"{text} (x₀ not clipped: {without[name]})" if name in without else text

    title = analyses.measure_title(measure, analysis)
    pair = f" ({' and '.join(name for _, name in of)} together)" if len(of) > 1 else ""
    settings = "".join(f", {text}" for text in own_settings(analysis.plan.arm(arm)))
    text = (
        f"{analysis.plan.source}, `{arm}`{pair}{settings}, {experiment.last_step} steps, "
        f"{seeds} seed{'s' * (seeds > 1)}: {title} {quality(arm)}."
    )
    for name in compared:
        found = figures.speed_up(experiment, arm, measure, name)
        is_unknown = found is None or found.median == UNKNOWN
        text += f" Against `{name}`, {quality(name)}: "
        text += "no speed-up is known." if is_unknown else f"{found} as fast."
    return text


def _compared_with(experiment: StudyExperiment, arm: str) -> list[str]:
    """The arms of uniform sampling that an arm's sentence names, those of the shortest runs first.

    They have its own target, since a target's gain is not the method's. Without such an arm, the baselines.
    """
    own, baselines = experiment.setting(arm, "prediction"), experiment.baseline_names
    alike = [
        each.name
        for each in experiment.results.plan.arms
        if each.settings["method"] == Uniform.name
        and experiment.setting(each.name, "prediction") == own
        and (each.name in baselines or each.settings.keys() <= {"method", "prediction", "lr"})
    ]
    return sorted(alike or baselines, key=lambda name: experiment.setting(name, "steps"))


def to_json(found: Evidence) -> str:
    """The content of `evidence.json`."""
    return text_names.to_json({kind: names for kind, names in found.items() if names})


def pages(found: Evidence, folder: Path) -> dict[Path, str]:
    """The methods' pages with their evidence, before "When to use it". A page without evidence has none."""
    of_page: dict[str, list[str]] = {}
    for method in methods():
        # A pair such as SpeeD's has its sentences on both pages, but not twice on one.
        known = of_page.setdefault(page(method), [])
        known += [text for text in found.get(method.kind, {}).get(method.name, ()) if text not in known]
    written = {}
    for name, sentences in of_page.items():
        path = folder / f"{name}.md"
        if path.exists():
            written[path] = _with(path.read_text(encoding="utf-8"), sentences)
    return written


def _with(text: str, sentences: list[str]) -> str:
    text = SAID.sub("", text)
    if not sentences:
        return text
    items = [
        textwrap.fill(
            f"- {sentence}", WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        for sentence in sentences
    ]
    said = "**Evidence.** From [the study](../study.md):\n\n" + "\n".join(items)
    return PLACE.sub(lambda found: f"{said}\n\n{found[0]}", text, count=1)
