"""Every snippet of the README, and of the page for C and Swift, runs."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import speediff

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
C_AND_SWIFT = ROOT / "docs" / "c-and-swift.md"
MOST_WORDS = 640
"""With what the study says there, a stranger reads no more before deciding."""


def snippet(page: Path, language: str) -> str:
    """The one block of this language."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)
    return str(block)


def test_the_readme_is_short() -> None:
    before, after = (README.read_text().split(f"<!-- study: {mark} -->") for mark in ("begin", "end"))
    assert len((before[0] + after[1]).split()) <= MOST_WORDS


def test_the_commands_for_a_newcomer_stand_on_the_first_screen() -> None:
    screen = "\n".join(README.read_text().splitlines()[:30])
    assert "make demo" in screen
    assert "make test" in screen


def test_the_training_loop_trains() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(1, 1, 3, padding=1)
    before = layer.weight.detach().clone()

    def add_noise(x: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha_bar = torch.tensor(speediff.NoiseSchedule.linear(1000).alphas_cumprod)[t].float()
        shape = (-1, 1, 1, 1)
        return alpha_bar.sqrt().view(shape) * x + (1 - alpha_bar).sqrt().view(shape) * noise

    namespace = {
        "torch": torch,
        "device": torch.device("cpu"),
        "loader": [(torch.randn(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64)) for _ in range(3)],
        "scheduler": SimpleNamespace(add_noise=add_noise),
        "model": lambda x_t, t, y: layer(x_t),
        "optimizer": torch.optim.AdamW(layer.parameters()),
    }
    exec(snippet(README, "python"), namespace)
    assert namespace["sampler"].step == 3
    assert torch.isfinite(namespace["loss"])
    assert not torch.equal(before, layer.weight)


def test_the_c_program_compiles_and_prints_the_first_draw(tmp_path: Path) -> None:
    source, program = tmp_path / "main.c", tmp_path / "main"
    source.write_text(snippet(C_AND_SWIFT, "c"))
    library = Path(speediff.library_path())
    (command,) = re.findall(r"^cc .*", C_AND_SWIFT.read_text(), flags=re.MULTILINE)
    flags = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
    words = [
        word.replace("$PWD/.build/release", str(library.parent))
        .replace("-L.build/release", f"-L{library.parent}")
        .replace("-Iinclude", f"-I{ROOT / 'include'}")
        for word in shlex.split(command)
    ]
    subprocess.run([*words, *flags], check=True, cwd=tmp_path)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    sampler = speediff.TimestepSampler.speed(speediff.NoiseSchedule.linear(1000), seed=0)
    t, w = sampler.sample(256)
    assert printed == f"t = {t[0]}, w = {w[0]:.4f}\n"


def test_the_swift_program_is_part_of_the_swift_tests() -> None:
    tests = (ROOT / "Tests" / "TrainingTests" / "DocumentationTests.swift").read_text()
    _, program = re.findall(r"```swift\n(.*?)```", C_AND_SWIFT.read_text(), flags=re.DOTALL)
    lines = {line.strip() for line in tests.splitlines()}
    assert {line.strip() for line in program.splitlines()} - lines == {
        'try trainer.save(to: "run.safetensors")'
    }


PAGES = [
    "README.md",
    pytest.param("CONTRIBUTING.md", marks=pytest.mark.checkout),
]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_that_exist(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target
