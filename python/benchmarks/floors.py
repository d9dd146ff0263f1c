"""Measures the floors of two data sets, and writes them into docs/evaluate.md: `make floors`.

    python python/benchmarks/floors.py [--only DATA] [--without-efficientnet]

Real images stand for generated ones: test images against the training images, or one half of the training
images against the other. EfficientNet-Lite0 reads 13,000 images, which takes about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import NamedTuple

from speediff._data import datasets
from speediff.torch._evaluation.extractors import extractor
from speediff.torch._evaluation.instrument import Instrument

PAGE = Path(__file__).resolve().parents[2] / "docs" / "evaluate.md"
BEGIN, END = "<!-- floors: begin -->", "<!-- floors: end -->"
HEADER = ("Data", "Features", "Measured", "N", "Against", "FD", "KID")
EFFICIENTNET_IMAGES = 5000
"""Of a reference for EfficientNet-Lite0."""


class Case(NamedTuple):
    """A row, or one for each N."""

    data: str
    features: str
    counts: tuple[int, ...]
    limit: int | None = None
    of_halves: bool = False


CASES = (
    Case("fashion-mnist", "classifier", (1000, 10_000)),
    Case("fashion-mnist", "efficientnet-lite0", (2000,), EFFICIENTNET_IMAGES),
    Case("openclipart", "classifier=openclipart", (1000,)),
    Case("openclipart", "classifier=openclipart", (1000,), of_halves=True),
    Case("openclipart", "efficientnet-lite0", (1000,), EFFICIENTNET_IMAGES),
)


def rows(case: Case) -> list[tuple[str, ...]]:
    """The floors of a case."""
    data = datasets.load(case.data)
    test = None if case.of_halves else datasets.load_test(case.data)
    network = extractor(case.features)
    instrument = Instrument(data, test, network, ("fd", "kid"), reference_images=case.limit)
    found = []
    for n in case.counts:
        floor = instrument.floor(n)
        assert floor is not None
        values = floor.values
        kid = f"{values['kid']:.5f} ± {values['kid_std']:.5f}"
        total = instrument.reference.n
        measured, against = ("half of it", total - total // 2) if case.of_halves else ("test images", total)
        numbers = f"{floor.n:,}", f"{against:,}", f"{values['fd']:.3f}", kid
        found.append((f"`{case.data}`", f"`{case.features}`", measured, *numbers))
    return found


def table(lines: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    rule = (*["---"] * 3, *["--:"] * 4)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (HEADER, rule, *lines))


def main() -> None:
    """Measures, prints, and writes the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="DATA", help="measure this alone, and write nothing")
    parser.add_argument("--without-efficientnet", action="store_true", help="leave its rows out")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in (None, case.data)]
    if options.without_efficientnet:
        cases = [case for case in cases if case.features != "efficientnet-lite0"]
    measured = table([row for case in cases for row in rows(case)])
    print(measured)
    if options.only is None:
        text = PAGE.read_text(encoding="utf-8")
        text = re.sub(f"{BEGIN}.*?{END}", f"{BEGIN}\n{measured}\n{END}", text, flags=re.DOTALL)
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
