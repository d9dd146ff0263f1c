"""The template of the page: hand-written prose, whose numbers are placeholders.

{speedup:EXPERIMENT:ARM:MEASURE}            at the best common quality, over the experiment's first baseline
{speedup:EXPERIMENT:ARM:MEASURE:BASELINE}   the same over another arm
{gain:EXPERIMENT:ARM:MEASURE:THAN}          how much better after the last step: a ratio, of KID a difference
{gain:EXPERIMENT:ARM:MEASURE:THAN:STEP}     the same after so many steps
{quality:EXPERIMENT:ARM:MEASURE}            after the last step that all arms were measured at
{without:EXPERIMENT:ARM:THAN}               how much lower its last FD is than another's, without clipping
{tuned:EXPERIMENT:ARM}                      the chosen learning rate
{step:EXPERIMENT} {runs:EXPERIMENT} {images:EXPERIMENT}
{verdict:CLAIM} {count:VERDICT}             of a claim; how many of the paper's have a verdict
{paper:TEXT}                                what a paper says, or its address: the place for a typed number
{experiment:EXPERIMENT} {headline:EXPERIMENT} {tuning:EXPERIMENT} {evaluations:EXPERIMENT}
                                            a section's body, its table, its tuning, its finalists
{unclipped:EXPERIMENT}                      its last FD with and without clipped predictions of x₀
{hours}                                     what all experiments took
{claims} {claims:VERDICT}                   the table of the paper's claims and the rule; those of a verdict
{registered}                                our own claims, each with a table of its comparisons

Prose that needs results stands between the lines `<!-- when: EXPERIMENT … -->`, perhaps `<!-- otherwise -->`,
and `<!-- end -->`. It is shown when every run of each of these experiments has ended. Comments that begin
with `<!-- template:` are left out.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from . import claims as paper
from . import evaluations, figures, tables
from .experiments import StudyError, StudyExperiment, find

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PLACEHOLDER = re.compile(r"\{([a-z]+)((?::[^{}\n]*)?)\}")
BLOCK = re.compile(r"^<!-- when: ([^\n]*) -->\n(.*?)^<!-- end -->\n", re.MULTILINE | re.DOTALL)
OTHERWISE = "<!-- otherwise -->\n"
MARK = re.compile(r"<!-- (?:when|otherwise|end).*")
GAP = re.compile(r"\n{3,}")
"""What a block that is left out leaves."""
REMARK = re.compile(r"^<!-- template:.*?-->\n+", re.MULTILINE | re.DOTALL)
TYPED = re.compile(r"\d ×(?! ?\d)|\d\.\d|\d ?%")
"""Numbers that look like results."""
ALLOWED = ("95 %",)
OF_ALL = ("verdict", "count", "paper", "claims", "registered", "hours")
"""The placeholders that name no experiment."""


class Page:
    """Fills a template from experiments and claims."""

    def __init__(
        self,
        experiments: Mapping[str, StudyExperiment],
        claims: list[paper.Claim],
        registered: list[paper.Claim],
        results: str,
    ) -> None:
        """Takes what the placeholders name.

        Args:
            experiments: The experiments by their names.
            claims: The claims of the paper.
            registered: Our own, which were written down before the runs that decide them.
            results: The path of the results' folder, as links of the page have it.
        """
        self._experiments, self._claims, self._registered = experiments, claims, registered
        self._results = results
        self._texts: dict[str, Callable[..., str]] = {
            "speedup": self._speed_up,
            "gain": self._gain,
            "quality": self._measured(figures.quality),
            "tuned": self._measured(figures.tuned),
            "step": self._measured(lambda experiment: str(experiment.last_step)),
            "runs": self._measured(lambda experiment: str(experiment.runs)),
            "images": self._measured(lambda experiment: str(experiment.results.plan.measuring["images"])),
            "without": self._measured(evaluations.unclipped_gain),
            "verdict": self._verdict,
            "count": self._count,
            "paper": lambda *words: ":".join(words),
            "experiment": self._block,
            "headline": lambda name: tables.headline(find(experiments, name)),
            "tuning": lambda name: tables.tuning(find(experiments, name)),
            "evaluations": lambda name: evaluations.table(find(experiments, name)),
            "unclipped": lambda name: evaluations.unclipped(find(experiments, name)),
            "hours": lambda: tables.hours(self._experiments.values()),
            "claims": self._list,
            "registered": lambda: paper.comparisons(self._registered, self._experiments),
        }

    def filled(self, template: str) -> str:
        """The page.

        Raises:
            StudyError: If a placeholder or a block names what does not exist or has no results, if a number
                is typed, or if an experiment is not shown.
        """
        for name in self._experiments:
            if f"{{experiment:{name}}}" not in template:
                raise StudyError(f"the template must show {{experiment:{name}}}")
        return self.part(template)

    def part(self, template: str) -> str:
        """Some prose for another page, which need not show any experiment."""
        text = REMARK.sub("", template)
        self._check_prose(text)
        text = BLOCK.sub(self._chosen, text)
        left = MARK.search(text)
        if left is not None:
            raise StudyError(f"a block must have a line for its beginning and one for its end: {left[0]}")
        return GAP.sub("\n\n", PLACEHOLDER.sub(self._value, text))

    def _check_prose(self, text: str) -> None:
        for line in text.splitlines():
            prose = PLACEHOLDER.sub("", line)
            for allowed in ALLOWED:
                prose = prose.replace(allowed, "")
            typed = TYPED.search(prose)
            if typed is not None:
                raise StudyError(f"a number must come from a result file or be in {{paper:…}}: {line!r}")
        for kind, given in PLACEHOLDER.findall(text):
            if kind not in self._texts:
                raise StudyError(f"unknown placeholder {{{kind}}}: the kinds are {', '.join(self._texts)}")
            if kind not in OF_ALL:
                find(self._experiments, given.split(":")[1] if given else "")

    def _chosen(self, block: re.Match[str]) -> str:
        names = block[1].split()
        is_there = all([find(self._experiments, name).is_complete for name in names])
        then, _, otherwise = block[2].partition(OTHERWISE)
        return then if is_there else otherwise

    def _value(self, placeholder: re.Match[str]) -> str:
        kind, given = placeholder[1], placeholder[2].split(":")[1:]
        try:
            return _called(self._texts[kind], *given)
        except StudyError as error:
            raise StudyError(f"{placeholder[0]}: {error}") from None

    def _measured(self, text: Callable[..., str]) -> Callable[..., str]:
        """A text of an experiment that has results."""

        def found(name: str, *given: str) -> str:
            experiment = find(self._experiments, name)
            assert experiment.results
            return _called(text, experiment, *given)

        return found

    def _speed_up(self, name: str, arm: str, measure: str, baseline: str | None = None) -> str:
        found = figures.speed_up(find(self._experiments, name), arm, measure, baseline)
        if found is None:
            raise StudyError("the two have reached no common quality")
        return str(found)

    def _gain(self, name: str, arm: str, measure: str, than: str, step: str = "") -> str:
        at = int(step) if step.isdecimal() else None
        if step and at is None:
            raise StudyError(f"the step must be a number, got {step!r}")
        found = figures.gain(find(self._experiments, name), arm, measure, than, at)
        if found is None:
            raise StudyError(
                f"no run was measured after {f'{step} steps' if step else 'the last common step'}"
            )
        return str(found)

    def _verdict(self, name: str) -> str:
        every = (*self._claims, *self._registered)
        for claim in every:
            if claim.name == name:
                return paper.verdict(claim, self._experiments)
        raise StudyError(f"no such claim, only {', '.join(claim.name for claim in every)}")

    def _of(self, verdict: str) -> list[paper.Claim]:
        if verdict not in paper.VERDICTS:
            raise StudyError(f"no such verdict, only {', '.join(paper.VERDICTS)}")
        return [claim for claim in self._claims if paper.verdict(claim, self._experiments) == verdict]

    def _count(self, verdict: str) -> str:
        return str(len(self._of(verdict)))

    def _list(self, verdict: str | None = None) -> str:
        if verdict is None:
            return f"{paper.table(self._claims, self._experiments)}\n\n{paper.RULE}"
        return "\n".join(f"- {claim.claim} ({claim.paper})." for claim in self._of(verdict)) or "None."

    def _block(self, name: str) -> str:
        experiment = find(self._experiments, name)
        parts = [tables.block(experiment, self._results)]
        own = paper.of_experiment(self._claims, self._experiments, name)
        if own and experiment.against() is not None:
            lines = [f"- {claim.claim}: **{paper.verdict(claim, self._experiments)}**" for claim in own]
            parts.append("\n".join(["What the paper says of this:", "", *lines]))
        return "\n\n".join(parts)


def _called(text: Callable[..., str], *given: Any) -> str:
    """The text for the parts of a placeholder, if it takes as many."""
    try:
        inspect.signature(text).bind(*given)
    except TypeError:
        raise StudyError("it has too many parts or too few") from None
    return text(*given)
