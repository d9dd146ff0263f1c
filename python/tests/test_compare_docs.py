"""docs/compare.md: its commands, its file of arms, and the tables that are made from its result files."""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
from pathlib import Path

import pytest

from speediff import cli
from speediff._experiments import arms, plan
from speediff._experiments.tuning import Tuning
from speediff._runs.run_settings import DEFAULTS

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "compare.md"
RESULTS = ROOT / "docs" / "results" / "compare"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_every_command_is_one() -> None:
    """Those of the page, of the demo's last words, and of the script that makes the page."""
    scripts = [(ROOT / "scripts" / name).read_text() for name in ("demo.sh", "compare-page.sh")]
    text = "\n".join([*blocks("sh"), *scripts]).replace("\\\\\n", " ").replace("\\\n", " ")
    lines = re.findall(
        r"^ *(?:\.venv/bin/(?:python -m )?)?speediff ((?:compare|evaluate) .*)", text, re.MULTILINE
    )
    assert len(lines) >= 6
    for line in lines:
        cli._parser().parse_args(shlex.split(line))


def test_every_flag_that_the_page_names_exists() -> None:
    parsers = argparse.ArgumentParser().add_subparsers()
    for name in ("compare", "train", "evaluate"):
        cli.COMMANDS[name](parsers)
    known = {flag for parser in parsers.choices.values() for flag in parser._option_string_actions}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE.read_text()))
    assert len(named) > 15
    assert named <= known, named - known


def test_the_arms_of_the_page_make_a_plan(tmp_path: Path) -> None:
    (text,) = blocks("json")
    file = tmp_path / "arms.json"
    file.write_text(text)
    found = arms.of_file(file, DEFAULTS)
    tuning = Tuning("lr", (1e-3, 2e-3), (1000,), None, "loss")
    made = plan.Plan("digits", None, DEFAULTS, plan.MEASURING, (0, 1, 2), tuple(found), tuning)
    made.check()
    assert made.grid_of(made.arm("v")) == ()
    assert made.tuning_steps(made.arm("uniform, long")) == 3000


def test_the_tables_are_those_of_the_result_files() -> None:
    updated = runpy.run_path(str(ROOT / "scripts" / "update-compare-page.py"))["updated"]
    assert updated(PAGE.read_text()) == PAGE.read_text(), "run make compare-page"
    assert "Speed-up over uniform" in PAGE.read_text()


def test_the_result_files_are_small_and_drawn_from() -> None:
    large = {"runs", "reference"}  # Where the page was made; they are not committed.
    small = [path for path in RESULTS.rglob("*") if path.is_file() and not large & set(path.parts)]
    assert sum(path.stat().st_size for path in small) < 2_000_000
    for name in ("curves.png", "samples.png", "areas.png", "report.md", "experiment.json"):
        assert (RESULTS / name).exists()
