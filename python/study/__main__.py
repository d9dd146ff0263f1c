"""`make study-page`: packs new results, and writes the page, its reports and pictures, and the evidence.

python -m study [--check]
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from speediff._experiments import curves, packed, plan, report_text
from speediff._methods.evidence import PACKAGED
from speediff._support.replacement import replace_bytes, replace_text

from . import claims, evidence, experiments, tables
from .experiments import says_errors
from .template import Page

if TYPE_CHECKING:
    from .experiments import StudyExperiment

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUNS, DOCS = ROOT / "runs" / "study", ROOT / "docs"
TEMPLATE, README, EXPERIMENTS = "template.md", "readme.md", "experiments.json"
CLAIMS, REGISTERED = "claims.json", "registered.json"
"""The paper's claims, and our own."""
BEGIN, END = "<!-- study: begin -->", "<!-- study: end -->"
"""Where README.md has the prose of `README`, if it has these lines."""
PAGE, RESULTS = "study.md", "results/study"


def pack(runs: Path, results: Path) -> None:
    """Packs the runs that have ended since, of all experiments in a folder of folders."""
    for path in sorted(runs.glob(f"*/{plan.NAME}")):
        packed.pack(path.parent, results / path.parent.name)


def texts(inputs: Path, docs: Path, packaged: Path) -> dict[Path, str]:
    """Every generated text by its file: the pages, the reports, and the evidence of methods.

    Args:
        inputs: The folder of the templates, the list of experiments and the claims.
        docs: The folder of the page. The result files are in its `results/study`, the README beside it.
        packaged: The file of the evidence.

    Raises:
        StudyError: If they contradict each other.
    """
    known = experiments.read(inputs / EXPERIMENTS, docs / RESULTS)
    listed, registered = (claims.read(inputs / name, known) for name in (CLAIMS, REGISTERED))
    page = Page(known, listed, registered, RESULTS)
    found = evidence.collect(known.values())
    written = {
        docs / PAGE: page.filled((inputs / TEMPLATE).read_text(encoding="utf-8")),
        packaged: evidence.to_json(found),
        **evidence.pages(found, docs / "methods"),
    }
    readme = docs.parent / "README.md"
    said = page.part((inputs / README).read_text(encoding="utf-8")).strip()
    written[readme] = re.sub(
        f"{BEGIN}.*?{END}",
        lambda _: "\n".join(filter(None, (BEGIN, said, END))),
        readme.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    for experiment in known.values():
        analysis = experiment.against()
        if analysis is not None:
            written[experiment.folder / tables.REPORT] = report_text.markdown(analysis)
    return written


def draw(experiment: StudyExperiment) -> None:
    """Writes the pictures of an experiment."""
    analysis = experiment.against()
    if analysis is None or not any(result.rows for runs in analysis.runs.values() for _, result in runs):
        return
    pictures = {tables.CURVES: (tuple(analysis.runs), analysis.measures)}
    if experiment.shown:
        pictures[tables.SHOWN] = (experiment.shown, tables.headline_measures(analysis))
    for name, (arms, measures) in pictures.items():
        figure = curves.measures_figure(tables.pictured(analysis, arms, measures))
        replace_bytes(experiment.folder / name, curves.encoded(figure))


@says_errors
def main() -> int:
    """Writes everything, or with --check says which text is not what the results say."""
    parser = argparse.ArgumentParser(prog="python -m study", description="Writes docs/study.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a text is out of date")
    options = parser.parse_args()
    if not options.check:
        pack(RUNS, DOCS / RESULTS)
        pack(DOCS / RESULTS, DOCS / RESULTS)
    written = texts(HERE, DOCS, PACKAGED)
    if options.check:
        stale = [path for path, text in written.items() if path.read_text(encoding="utf-8") != text]
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date: make study-page", file=sys.stderr)
        return int(bool(stale))
    for path, text in written.items():
        replace_text(path, text)
    for experiment in experiments.read(HERE / EXPERIMENTS, DOCS / RESULTS).values():
        draw(experiment)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
