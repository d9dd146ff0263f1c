"""What the page shows of one experiment: how far it is, settings, table, picture and notes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from speediff._experiments import analysis as analyses
from speediff._experiments import report_text
from speediff._experiments.analysis import Analysis
from speediff._experiments.measures import MEASURES
from speediff._runs.run_settings import NETWORK, PATCH, SMALL, SMALL_PATCH

from . import figures
from .figures import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speediff._experiments.arms import Arm

    from .experiments import StudyExperiment

CURVES, SHOWN, REPORT = "curves.png", "shown.png", "report.md"
SIDE_BY_SIDE = 2
"""Runs at a time, a core each."""
HEADLINE = ("fd", "kid")
"""The measures of the first table and picture, if they were measured; without them all that were."""
BESIDE = "accuracy"
"""A measure without speed-ups that stands beside them, if it was measured."""
TARGETS = {"epsilon": "ε", "v": "v", "sample": "x₀", "flow": "flow"}
BRACKETS = """\
Qualities: median over the seeds [lowest, highest]. Speed-ups: median over all pairs of runs, at the best
quality that all runs of both reached, [95 % interval over seeds], or (lowest to highest pair) where there
is none. That quality differs from one pair of arms to the next. So rank arms by their qualities, not by the
speed-ups in a column."""


def block(experiment: StudyExperiment, place: str) -> str:
    """Everything about an experiment, for its own section.

    Args:
        experiment: The experiment.
        place: The path of the results' folder, as links of the page have it.
    """
    if experiment.against() is None:
        return _state(experiment)
    analysis, folder = experiment.results, f"{place}/{experiment.name}"
    shown = rounds(experiment) if experiment.in_rounds else table(experiment, experiment.baseline_names)
    parts = [_state(experiment), settings(experiment), shown]
    remarks = analyses.notes(analysis)
    if remarks:
        parts.append("\n".join(f"- {remark}" for remark in remarks))
    parts.append(f"![{experiment.title}: each measure over training]({folder}/{CURVES})")
    parts.append(f"[All qualities, speed-ups and tuning]({folder}/{REPORT}) of `{experiment.name}`.")
    return "\n\n".join(parts)


def _state(experiment: StudyExperiment) -> str:
    """How many of its runs have ended."""
    runs, tuning = experiment.runs, experiment.tuning_runs
    if runs is None or (runs.done == 0 and (tuning is None or tuning.done == 0)):
        return f"*{experiment.title}: {experiment.no_results}.*"
    of_tuning = "" if tuning is None else f", and {tuning} of tuning"
    if runs.is_whole:
        return f"*{experiment.title}: complete, {runs.done} runs{of_tuning}.*"
    return f"*{experiment.title}: under way. {runs} runs have ended{of_tuning}. Numbers will change.*"


def settings(experiment: StudyExperiment) -> str:
    """What is common to the runs: data, network, steps, and how they are measured."""
    analysis = experiment.results
    lines = [f"- `{analysis.plan.source}`, {_network(analysis)}"]
    lines.append(f"- {_training(analysis, in_rounds=experiment.in_rounds)}")
    lines += [] if experiment.in_rounds else _arms(analysis)
    if experiment.machine:
        lines.append(f"- {experiment.machine}.")
    return "\n".join([*lines, report_text.settings(analysis)])


def _network(analysis: Analysis) -> str:
    shared = analysis.plan.settings
    if shared["model"] is not None:
        return f"{shared['model']}."
    sizes = {name: shared[name] or default for name, default in NETWORK.items()}
    side = _side(analysis)
    patch = shared["patch"] or (None if side is None else SMALL_PATCH if side <= SMALL else PATCH)
    kind = "DiT" if shared["mdt"] is None else f"MDT (version {shared['mdt']})"
    text = f"{kind}, hidden {sizes['hidden']}, depth {sizes['depth']}, {sizes['heads']} heads"
    return f"{text}." if patch is None else f"{text}, patch {patch}."


def own_settings(arm: Arm) -> list[str]:
    """What an arm has of its own beside its method and its steps."""
    return [f"{name} {value}" for name, value in arm.settings.items() if name not in ("method", "steps")]


def _arms(analysis: Analysis) -> list[str]:
    """The arms whose settings their names do not say."""
    texts = []
    for arm in analysis.plan.arms:
        method = arm.settings["method"]
        given = [*([] if method == arm.name else [f"`{method}`"]), *own_settings(arm)]
        if given:
            texts.append(f"{arm.name}: {', '.join(given)}")
    return [f"- {'; '.join(texts)}."] if texts else []


def _side(analysis: Analysis) -> int | None:
    """The images' side, as the fingerprint of the data has it: 60000×1×28×28."""
    shape = (analysis.plan.fingerprint or "").split(" ")[0].split("×")
    given = analysis.plan.settings["input_size"]
    return given or (int(shape[-1]) if len(shape) == 4 and shape[-1].isdecimal() else None)


def _training(analysis: Analysis, *, in_rounds: bool) -> str:
    shared = analysis.plan.settings
    steps = {arm.name: arm.settings["steps"] for arm in analysis.plan.arms if "steps" in arm.settings}
    text = f"{shared['steps']} steps"
    if in_rounds:
        *first, last = map(str, sorted(set(_lengths(analysis).values())))
        text = f"{', '.join(first)} or {last} steps" if first else f"{last} steps"
    elif steps:
        text += f" ({', '.join(f'{name}: {count}' for name, count in steps.items())})"
    parts = [
        f"{text} of {shared['batch_size']} images",
        f"T = {shared['timesteps'] or 1000}",
        f"EMA {shared['ema_decay']:g}",
        f"warm-up {shared['warmup']} steps",
    ]
    if not all("precision" in arm.settings for arm in analysis.plan.arms):
        parts.append(shared["precision"])
    return f"{', '.join(parts)}."


def headline(experiment: StudyExperiment) -> str:
    """The table of an experiment with its speed-ups by the first measure alone."""
    if experiment.against() is None:
        return _state(experiment)
    shown = table(experiment, experiment.baseline_names, 1)
    return shown if experiment.is_complete else f"{_state(experiment)}\n\n{shown}"


def headline_measures(analysis: Analysis) -> list[str]:
    """The measures of a table, the one that ranks arms first."""
    return [name for name in HEADLINE if name in analysis.measures] or analysis.measures


def table(experiment: StudyExperiment, baselines: tuple[str, ...], speed_ups: int = len(HEADLINE)) -> str:
    """A row for each arm, the best first.

    Args:
        experiment: The experiment, which has results.
        baselines: The arms that each has a speed-up over.
        speed_ups: The number of measures that it has one by.
    """
    analysis = experiment.results
    step = analyses.best_step(analysis)
    if step is None:
        return "No step was measured in all arms."
    names = headline_measures(analysis)
    shown = names if BESIDE not in analysis.measures or BESIDE in names else [*names, BESIDE]
    targets = _targets(experiment)
    titles = [analyses.measure_title(name, analysis) for name in shown]
    head = ["arm", *(["predicts"] if targets else []), "seeds", _tuned_title(analysis), *titles]
    for baseline in baselines:
        head += [f"speed-up over {baseline}, by {name}" for name in names[:speed_ups]]
    rows = [head]
    for arm in sorted(analysis.runs, key=lambda arm: _cost(analysis, arm, names[0], step)):
        row = [arm, *([targets[arm]] if targets else []), _seeds(experiment, arm)]
        row.append(figures.tuned(experiment, arm))
        row += [figures.quality(experiment, arm, name) for name in shown]
        for baseline in baselines:
            row += [_speed_up(experiment, arm, name, baseline) for name in names[:speed_ups]]
        rows.append(row)
    floors = [analysis.floor(name) for name in shown]
    if any(floor is not None for floor in floors):
        texts = [NOTHING if floor is None else f"{floor:.4g}" for floor in floors]
        first = head.index(titles[0])
        blank = [""] * (len(head) - first - len(shown))
        rows.append(["real images", *([""] * (first - 1)), *texts, *blank])
    return f"After {step} steps:\n\n{report_text.pipes(rows)}\n\n{BRACKETS}"


def _targets(experiment: StudyExperiment) -> dict[str, str]:
    """What each arm's network predicts; empty if all predict the same."""
    found = {arm.name: experiment.setting(arm.name, "prediction") for arm in experiment.results.plan.arms}
    return {arm: TARGETS[name] for arm, name in found.items()} if len(set(found.values())) > 1 else {}


def rounds(experiment: StudyExperiment) -> str:
    """The arms that went on after the first round, those that went furthest first: a column for each round.

    Args:
        experiment: The experiment, which has results.
    """
    analysis = experiment.results
    measure, lengths = headline_measures(analysis)[0], _lengths(analysis)
    ends = sorted(set(lengths.values()))
    title = analyses.measure_title(measure, analysis)
    rows = [["arm", "seeds", *(f"{title}, {steps} steps" for steps in ends)]]
    members = [arm for arm in analysis.runs if lengths[arm] > ends[0]] or list(analysis.runs)
    for arm in sorted(members, key=lambda arm: _place(experiment, arm, measure, lengths[arm])):
        spreads = [analysis.quality(arm, measure, steps) for steps in ends]
        texts = [report_text.spread_text(measure, spread) for spread in spreads]
        rows.append([arm, _seeds(experiment, arm), *texts])
    return (
        f"Of {len(lengths)} candidates these went on after {ends[0]} steps:\n\n{report_text.pipes(rows)}\n\n"
        "Median over the seeds [lowest, highest]."
    )


def _seeds(experiment: StudyExperiment, arm: str) -> str:
    """How many of an arm's runs have ended, and of how many if some are missing."""
    count = experiment.of_arm(arm)
    return str(count.done if count.is_whole else count)


def _lengths(analysis: Analysis) -> dict[str, int]:
    """The steps after which each arm ends."""
    return {arm.name: analysis.plan.settings_of(arm, 0)["steps"] for arm in analysis.plan.arms}


def _place(experiment: StudyExperiment, arm: str, measure: str, steps: int) -> tuple[int, int, float]:
    """What arms of a search are ordered by: the steps, the seeds, the quality at the end."""
    return -steps, -len(experiment.ended(arm)), _cost(experiment.results, arm, measure, steps)


def _cost(analysis: Analysis, arm: str, measure: str, step: int) -> float:
    """What arms are ordered by; those without a run that has ended are last."""
    spread = analysis.quality(arm, measure, step)
    return math.inf if spread is None else MEASURES[measure].cost(spread.median)


def _tuned_title(analysis: Analysis) -> str:
    return "lr" if analysis.plan.tuning is None else f"own best {analysis.plan.tuning.setting}"


def _speed_up(experiment: StudyExperiment, arm: str, measure: str, baseline: str) -> str:
    if arm == baseline:
        return "baseline"
    if not experiment.ended(arm) or not experiment.ended(baseline):
        return NOTHING
    found = figures.speed_up(experiment, arm, measure, baseline)
    return NOTHING if found is None else str(found)


def tuning(experiment: StudyExperiment) -> str:
    """What tuning chose, with the mean quality at every value."""
    analysis = experiment.against()
    if analysis is None or analysis.plan.tuning is None:
        return _state(experiment)
    rows = report_text.tuning_table(analysis)
    return f"{report_text.tuning_line(analysis)}\n\n{report_text.pipes(rows)}"


def hours(experiments: Iterable[StudyExperiment]) -> str:
    """What the runs so far took, those of tuning among them: hours of two cores, a run on each."""
    rows, total = [["experiment", "runs", "steps", "hours"]], 0.0
    for experiment in experiments:
        found = experiment.every_ended()
        if not found:
            continue
        seconds = sum(result.seconds for result in found)
        steps = sum(result.rows[-1][0] for result in found if result.rows)
        total += seconds
        rows.append([f"`{experiment.name}`", str(len(found)), f"{steps:,}", _hours(seconds)])
    return f"{report_text.pipes([*rows, ['all', '', '', _hours(total)]])}" if total else "No run has ended."


def _hours(seconds: float) -> str:
    return f"{seconds / SIDE_BY_SIDE / 3600:.1f}"


def pictured(analysis: Analysis, arms: tuple[str, ...], measures: list[str]) -> Analysis:
    """The results of some arms alone, by some of their measures, for a picture."""
    found = Analysis(analysis.experiment, analysis.baseline)
    found.runs = {arm: analysis.runs[arm] for arm in arms}
    found.measures = measures
    return found
