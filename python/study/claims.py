"""Claims, the paper's and our own: which experiment decides each, and the verdict by its intervals."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from speediff._experiments import analysis as analyses
from speediff._experiments import report_text
from speediff._experiments.measures import MEASURES

from . import figures
from .experiments import StudyError, StudyExperiment, find

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .figures import Figure

VERDICTS = HELD, FAILED, OPEN, UNTESTED = "held", "did not hold", "not decided", "not tested"
LEAST_SEEDS = 3
RULE = """\
A claim compares two arms by FD: by the speed-up at the best quality that all runs of both reached, or by
the quality after the same steps. Beside that speed-up stand three figures that decide nothing: the
highest speed-up over all qualities, which the paper reports (Section 3.3), the one between runs of the same
seed, and the qualities after the same steps. A claim is judged once all runs of both arms have ended; until
then it is **not tested**. It **held** if the whole 95 % interval over seeds lies above the number that is
claimed, or above "no effect" where the paper gives no number. It **did not hold** if all of it lies below.
Otherwise it is **not decided**: the effect may be there or not. Where there is no interval, because there
are fewer than five seeds or a run has not reached the quality, all pairs of runs must lie on one side. With
three seeds of each, two equal methods do that in one of ten comparisons; with fewer, nothing is decided. A
claim of several comparisons held if each of them held, and did not hold if one of them did not. Nothing is
corrected for the number of claims.

The paper's runs all have the learning rate 1e-4, larger networks and at least 10,000 steps; here each arm
has its own best rate. The columns of [the tuning table](#1-learning-rates-ema-and-warm-up) compare the arms
at one common rate, after fewer steps and with one seed. The paper's baselines came from the authors' code,
whose Min-SNR amounts to P2 under Adam, and whose log-normal and CLTS differ from their papers ([what
differs](paper-slips.md)). Here each follows its own paper, and `p2` stands for the authors' Min-SNR."""
KEYS = {"experiment", "arm", "than", "measure", "by", "more_than", "suffices"}
KINDS = ("speed-up", "quality")


@dataclass(frozen=True)
class Condition:
    """One comparison: an arm is better than another, or faster by a factor."""

    experiment: str
    arm: str
    than: str
    measure: str = "fd"
    by: str = "speed-up"
    """One of `KINDS`: the speed-up, or the gain after the same steps."""
    more_than: float | None = None
    """The number to exceed; None: that of no effect."""
    suffices: str = HELD
    """The verdict that its claim needs; with "not decided" the comparison must only not be lost."""


@dataclass(frozen=True)
class Claim:
    """What somebody says, and what decides it."""

    name: str
    claim: str
    conditions: tuple[Condition, ...]
    paper: str = ""
    """Its place in the paper, and its numbers; nothing if it is our own."""
    reason: str = ""
    """Why it is not tested, where there is no condition."""


@dataclass(frozen=True)
class Finding:
    """The outcome of a comparison."""

    verdict: str
    text: str


def read(file: Path, experiments: Mapping[str, StudyExperiment]) -> list[Claim]:
    """The claims of a file.

    Raises:
        StudyError: If a claim is incomplete, or names an experiment that does not exist.
    """
    plain: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    found = [_claim(each) for each in plain]
    names = [claim.name for claim in found]
    for claim in found:
        if names.count(claim.name) > 1:
            raise StudyError(f"{file.name} has two claims of the name {claim.name!r}")
        if bool(claim.reason) == bool(claim.conditions):
            raise StudyError(f"the claim {claim.name!r} must have either conditions or a reason for none")
        for condition in claim.conditions:
            find(experiments, condition.experiment)
            if condition.by not in KINDS:
                raise StudyError(
                    f"the claim {claim.name!r} must be by {' or '.join(KINDS)}, got {condition.by!r}"
                )
            if condition.suffices not in (HELD, OPEN):
                raise StudyError(
                    f"what suffices for the claim {claim.name!r} must be {HELD!r} or {OPEN!r}, "
                    f"got {condition.suffices!r}"
                )
    return found


def _claim(plain: dict[str, Any]) -> Claim:
    given = plain.pop("conditions", [])
    for each in given:
        if not each.keys() <= KEYS:
            raise StudyError(f"a condition has {', '.join(sorted(KEYS))}, got {', '.join(each)}")
    return Claim(**plain, conditions=tuple(Condition(**each) for each in given))


def judge(condition: Condition, experiments: Mapping[str, StudyExperiment]) -> Finding:
    """The verdict of one comparison, by `RULE`."""
    experiment = experiments[condition.experiment]
    where = f"`{condition.experiment}`: `{condition.arm}` and `{condition.than}`"
    missing = _missing(condition, experiment)
    if missing is not None:
        # What holds for a whole experiment is said once.
        whose = where if experiment.against() is not None else f"`{condition.experiment}`"
        return Finding(UNTESTED, f"{whose}: {missing}")
    figure = _figure(condition, experiment)
    if figure is None:
        return Finding(OPEN, f"{where}: no common quality, or none that compares them")
    text = _text(condition, experiment, figure)
    if figure.seeds < LEAST_SEEDS:
        return Finding(OPEN, f"{text}, too few seeds")
    claimed = _claimed(condition)
    if figure.range.low > claimed:
        return Finding(HELD, text)
    return Finding(FAILED if figure.range.high < claimed else OPEN, text)


def _missing(condition: Condition, experiment: StudyExperiment) -> str | None:
    """Why a comparison is not tested; None once all runs of both arms have ended."""
    if experiment.against() is None:
        return experiment.no_results
    counts = [experiment.of_arm(arm) for arm in (condition.arm, condition.than)]
    return None if all(count.is_whole for count in counts) else f"{counts[0]} and {counts[1]} runs"


def _figure(condition: Condition, experiment: StudyExperiment) -> Figure | None:
    if condition.by == "speed-up":
        return figures.speed_up(experiment, condition.arm, condition.measure, condition.than)
    return figures.gain(experiment, condition.arm, condition.measure, condition.than)


def _claimed(condition: Condition) -> float:
    if condition.more_than is not None:
        return condition.more_than
    return 1.0 if condition.by == "speed-up" or MEASURES[condition.measure].is_log else 0.0


def _text(condition: Condition, experiment: StudyExperiment, figure: Figure) -> str:
    """Such as: speed is 1.28 × [1.10, 1.45] as fast as uniform, by fd."""
    if condition.by == "speed-up":
        more = figures.more_of_speed_up(experiment, condition.arm, condition.measure, condition.than)
        after = figures.gain(experiment, condition.arm, condition.measure, condition.than)
        if after is not None:
            more += f"; after {experiment.last_step} steps, {_gain_text(condition, experiment, after)}"
        return f"`{condition.arm}` is {figure} as fast as `{condition.than}`, by {condition.measure}{more}"
    return _gain_text(condition, experiment, figure)


def _gain_text(condition: Condition, experiment: StudyExperiment, figure: Figure) -> str:
    title = analyses.measure_title(condition.measure, experiment.results)
    kind = MEASURES[condition.measure]
    title = f"1 - {title}" if kind.is_share else title
    if kind.is_log:
        return f"{title} of `{condition.than}` is {figure} that of `{condition.arm}`"
    return f"{title} of `{condition.than}` exceeds that of `{condition.arm}` by {figure}"


def verdict(claim: Claim, experiments: Mapping[str, StudyExperiment]) -> str:
    """The verdict of a claim, by `RULE`."""
    found = [_towards(condition, judge(condition, experiments).verdict) for condition in claim.conditions]
    if not found:
        return UNTESTED
    if FAILED in found:
        return FAILED
    if UNTESTED in found:
        return UNTESTED
    return HELD if set(found) == {HELD} else OPEN


def _towards(condition: Condition, verdict: str) -> str:
    """What a comparison says of its claim."""
    return HELD if verdict == condition.suffices else verdict


def table(claims: list[Claim], experiments: Mapping[str, StudyExperiment]) -> str:
    """The paper's claims with their places in it, what was found here, and the verdicts."""
    rows = [["claim", "in the paper", "here", "verdict"]]
    for claim in claims:
        found = dict.fromkeys(judge(condition, experiments).text for condition in claim.conditions)
        here = "<br>".join(found) or claim.reason
        rows.append([claim.claim, claim.paper, here, f"**{verdict(claim, experiments)}**"])
    return report_text.pipes(rows, numbers=False)


def comparisons(claims: list[Claim], experiments: Mapping[str, StudyExperiment]) -> str:
    """Our own claims, each with its verdict and a table of its comparisons.

    Where a verdict needs the beginnings, which were measured later, the one without them stands beside it.
    """
    first = {name: replace(each, with_beginnings=False) for name, each in experiments.items()}
    return "\n\n".join(_comparisons(claim, experiments, first) for claim in claims)


def _comparisons(
    claim: Claim, experiments: Mapping[str, StudyExperiment], first: Mapping[str, StudyExperiment]
) -> str:
    rows = [["experiment", "arms", "by", "speed-up", "after the same steps", "verdict"]]
    for condition in claim.conditions:
        rows.append(
            [
                f"`{condition.experiment}`",
                f"`{condition.arm}` over `{condition.than}`",
                condition.measure.upper(),
                *_compared(condition, experiments[condition.experiment]),
                _verdict_text(condition, experiments) + _without_beginnings(condition, experiments, first),
            ]
        )
    table = report_text.pipes(rows, numbers=False)
    found, before = verdict(claim, experiments), verdict(claim, first)
    text = f"{claim.claim}: **{found}**."
    if before != found:
        text += f" Without the beginnings, which were measured later: **{before}**."
    return f"{text}\n\n{table}"


def _without_beginnings(
    condition: Condition, experiments: Mapping[str, StudyExperiment], first: Mapping[str, StudyExperiment]
) -> str:
    """The verdict without them and its speed-up, if it is another."""
    before = _verdict_text(condition, first)
    if before == _verdict_text(condition, experiments):
        return ""
    return f"; without beginnings, {_compared(condition, first[condition.experiment])[0]}: {before}"


def _compared(condition: Condition, experiment: StudyExperiment) -> list[str]:
    """An arm's speed-up over another, and its gain, once there are all runs."""
    missing = _missing(condition, experiment)
    if missing is not None:
        return [missing, figures.NOTHING]
    given = (experiment, condition.arm, condition.measure, condition.than)
    found = figures.speed_up(*given), figures.gain(*given)
    return [figures.NOTHING if figure is None else str(figure) for figure in found]


def _verdict_text(condition: Condition, experiments: Mapping[str, StudyExperiment]) -> str:
    found = judge(condition, experiments).verdict
    return f"{found}, which suffices" if found == condition.suffices != HELD else found


def of_experiment(claims: list[Claim], experiments: Mapping[str, StudyExperiment], name: str) -> list[Claim]:
    """The claims that an experiment decides, alone or with others."""
    return [claim for claim in claims if any(each.experiment == name for each in claim.conditions)]
