"""Studies that nobody trained: a template, claims, a list of experiments, and packed result files."""

from __future__ import annotations

import functools
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from made_experiments import make

from speediff.evaluation import Evaluation

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
ARMS: dict[str, dict[str, Any]] = {
    "uniform": {"method": "uniform"},
    "fast": {"method": "laplace(scale=1)"},
    "same": {"method": "p2"},
    "slow": {"method": "official"},
}
PACES = {"uniform": 1.0, "fast": 2.0, "same": 1.0, "slow": 0.5}
TEMPLATE = """\
# A study

{headline:main}

<!-- template: how to edit. -->
<!-- when: main -->
Twice as fast: {speedup:main:fast:fd}, by KID {speedup:main:fast:kid:same}.
It is better by {gain:main:fast:fd:uniform}.
<!-- otherwise -->
There is no more to say.
<!-- end -->

{experiment:main}

{experiment:other}

{claims}
"""


def modules() -> ModuleType:
    """`study.__main__`. Skips the calling module where there are no sources."""
    sys.path.append(str(ROOT / "python"))
    return pytest.importorskip("study.__main__", reason="is about the package's sources")


def claim(name: str, arm: str, than: str, **how: Any) -> dict[str, Any]:
    condition = {"experiment": "main", "arm": arm, "than": than, **how}
    return {"name": name, "claim": f"It is {name}", "paper": "Tab. 1", "conditions": [condition]}


CLAIMS = [
    claim("faster", "fast", "uniform"),
    claim("triple", "fast", "uniform", more_than=3),
    claim("unclear", "same", "uniform", by="quality"),
    {"name": "large", "claim": "It is large", "paper": "Tab. 2", "reason": "it is not"},
]


@functools.cache
def whole() -> Path:
    """A folder with every result file of the arms, written once."""
    folder = Path(tempfile.mkdtemp())
    make(folder / "runs", ARMS, lambda job: PACES[job.arm])
    return folder / "runs"


class Study:
    """The files of a study in a folder."""

    def __init__(self, folder: Path) -> None:
        self.inputs, self.docs, self.runs = folder / "study", folder / "docs", folder / "runs"
        self.evidence = folder / "evidence.json"
        self.inputs.mkdir()
        (self.docs / "methods").mkdir(parents=True)
        (self.docs / "results" / "study").mkdir(parents=True)
        for name in ("laplace", "asymmetric", "p2", "change_aware"):
            text = f"# `{name}`\n\nText.\n\n**When to use it.** Always.\n"
            (self.docs / "methods" / f"{name}.md").write_text(text)
        (folder / "README.md").write_text(
            "Before.\n<!-- study: begin -->\nOld.\n<!-- study: end -->\nAfter.\n"
        )
        self.write("readme.md", "<!-- when: main -->\nIt is {speedup:main:fast:fd}.\n<!-- end -->\n")
        self.write("template.md", TEMPLATE)
        self.write("claims.json", json.dumps(CLAIMS))
        self.write("registered.json", "[]")
        known = {"main": {"title": "The main one", "evidence": True}, "other": {"title": "Another"}}
        self.write("experiments.json", json.dumps(known))

    def write(self, name: str, text: str) -> None:
        (self.inputs / name).write_text(text)

    def run(self, name: str = "main", **options: Any) -> None:
        """Makes result files and packs them."""
        if options:
            make(self.runs / name, ARMS, lambda job: PACES[job.arm], **options)
        else:
            shutil.copytree(whole(), self.runs / name)
        self.main.pack(self.runs, self.docs / "results" / "study")

    @property
    def main(self) -> Any:
        return sys.modules["study.__main__"]

    def texts(self) -> dict[Path, str]:
        found: dict[Path, str] = self.main.texts(self.inputs, self.docs, self.evidence)
        return found

    def page(self) -> str:
        return self.texts()[self.docs / "study.md"]


def evaluate(study: Study, arm: str, seed: int, fd: float, folder: str = "evaluations", **other: Any) -> None:
    """The file of an evaluation, as the command writes it."""
    content = Evaluation(
        values={"fd": fd, "kid": fd / 1000, "kid_std": 0.0}, floor={"fd": 0.5}, what="a run", n=10000,
        against="digits", reference_n=60, floor_what="test images", floor_n=10, extractor="a classifier",
        distance_name="FD (classifier)", resize="none", dimension=64, seed=0,
        settings={"images": "ddpm, 250 steps"},
    )  # fmt: skip
    place = study.docs / "results" / "study" / "main" / folder / arm
    place.mkdir(parents=True, exist_ok=True)
    (place / f"seed-{seed}.classifier.json").write_text(json.dumps({**content.to_dict(), **other}))
