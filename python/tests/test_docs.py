"""The pages under docs/: their examples run, their links and the tests that they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import speediff
from speediff._methods import method_list

DOCS = Path(__file__).resolve().parents[2] / "docs"
TESTS = Path(__file__).resolve().parents[2]
PAGES = sorted(DOCS.glob("**/*.md"))
METHODS = sorted((DOCS / "methods").glob("*.md"))


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", METHODS, ids=lambda page: page.stem)
def test_the_examples_of_a_method_run(page: Path) -> None:
    names = {"speediff": speediff, "schedule": speediff.NoiseSchedule.linear(1000)}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)


def test_every_method_has_a_page() -> None:
    for method in speediff.methods():
        if method.implemented:
            text = (DOCS / "methods" / f"{method_list.page(method)}.md").read_text()
            headings = " ".join(re.findall(r"^#+ .*", text, re.MULTILINE))
            assert f"`{method.name}`" in headings, method.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


def test_the_tests_that_pages_name_exist() -> None:
    named = set()
    for page in PAGES:
        named |= set(re.findall(r"`([\w/]+\.(?:py|swift))::(\w+)`", page.read_text()))
    assert len(named) > 10
    for file, test in sorted(named):
        sources = [path for path in TESTS.glob(f"**/{file}") if ".build" not in path.parts]
        assert any(re.search(rf"\b{test}\b", path.read_text()) for path in sources), f"{file}::{test}"


def test_no_page_waits_to_be_finished() -> None:
    for page in PAGES:
        assert "TODO" not in page.read_text(), page.name
