"""The examples of docs/train.md and of the commands' own help run, on networks of a few parameters."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speediff._data import datasets
from speediff.cli import compare, generate, main, train

Image = pytest.importorskip("PIL.Image")
for module in ("tqdm", "matplotlib", "sklearn"):
    pytest.importorskip(module)

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "train.md").read_text()
NETWORK = ["--hidden", "16", "--depth", "1", "--heads", "2", "--batch-size", "4", "--warmup", "0"]
TINY = {
    "train": [*NETWORK, "--samples", "1", "--sample-steps", "2"],
    "compare": [*NETWORK, "--samples", "1", "--sample-steps", "2", "--validation-images", "30"],
    "generate": ["--steps", "2"],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The words of every line that is a command of ours."""
    return [
        shlex.split(line, comments=True) for line in text.splitlines() if line.strip().startswith("speediff ")
    ]


def shortened(words: list[str], step: int) -> list[str]:
    """The command with the smallest network, and as many steps as there were commands before it."""
    words = words[1:]
    if "--model" in words:
        at = words.index("--model")
        words = words[:at] + words[at + 2 :]
    steps = ["--steps", str(step)] if words[0] != "generate" else []
    return [*words, *TINY[words[0]], *steps]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the data that the examples name."""
    generator = np.random.default_rng(0)
    for name in ("bee", "cat"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        pixels = generator.integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / name / "1.jpg")
    latents = generator.standard_normal((12, 4, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "latents.npz", latents=latents, labels=np.arange(12) % 2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(not datasets.FASHION_MNIST.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_the_examples_of_the_page_run(place: Path) -> None:
    lines = commands("\n".join(blocks("sh")))
    assert len(lines) >= 9
    for step, words in enumerate(lines, 1):
        assert main(shortened(words, step)) == 0, words
    for file in ("fashion.png", "bags.npy", "new-latents.npy", "runs/compare/curves.png", "boots"):
        assert (place / file).exists(), file
    assert len(list((place / "boots").iterdir())) == 8
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, "train.md", "exec"), names)
    assert names["images"].shape == (3, 1, 28, 28)


@pytest.mark.skipif(not datasets.FASHION_MNIST.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_the_examples_of_the_help_run(place: Path) -> None:
    epilogs = (module.EPILOG for module in (train, compare, generate))
    lines = commands("\n".join(epilogs))
    assert len(lines) >= 9
    for step, words in enumerate(lines, 1):
        assert main(shortened(words, step)) == 0, words


def test_every_flag_that_the_page_names_exists() -> None:
    parsers = argparse.ArgumentParser().add_subparsers()
    for module in (train, compare, generate):
        module.add_to(parsers)
    known = {flag for parser in parsers.choices.values() for flag in parser._option_string_actions}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE))
    assert len(named) > 20
    assert named <= known, named - known
