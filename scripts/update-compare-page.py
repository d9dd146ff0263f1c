"""Writes the tables of docs/results/compare into docs/compare.md, between their markers: `make compare-page`."""

from __future__ import annotations

import re
from pathlib import Path

from speediff._experiments import plan, report_text
from speediff._experiments.analysis import Analysis
from speediff._experiments.experiment import Experiment

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, RESULTS = DOCS / "compare.md", DOCS / "results" / "compare"
BEGIN, END = "<!-- report: begin -->", "<!-- report: end -->"


def tables() -> str:
    """The report without its title and its part in seconds, a level lower than the page's headings."""
    text = report_text.markdown(Analysis(Experiment(RESULTS, plan.read(RESULTS))))
    body = text.split(report_text.SECONDS_HEADING)[0].split("\n", 1)[1].strip()
    return re.sub("^## ", "### ", body, flags=re.MULTILINE)


def updated(text: str) -> str:
    """The text with the tables as they are now."""
    return re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{tables()}\n{END}", text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
