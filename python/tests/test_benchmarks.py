"""Every benchmark runs to its end, with as little work as its options allow. Their times are not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
SMALLEST = {
    "adoption.py": ["--case", "small", "--steps", "2"],
    "in_pipeline.py": ["--rounds", "1"],
    "per_step.py": ["--repeats", "1"],
    "processes.py": ["--case", "small", "--rounds", "1", "--steps", "2"],
    "trainer.py": ["--case", "small", "--rounds", "1"],
}


@pytest.mark.long
@pytest.mark.parametrize("name", SMALLEST)
def test_benchmark_runs(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    figures = tmp_path / "figures.json"
    words = [sys.executable, str(FOLDER / name), *SMALLEST[name], "--json", str(figures)]
    subprocess.run(words, check=True, timeout=600)
    assert json.loads(figures.read_text())


@pytest.mark.long
def test_benchmark_of_jobs_runs() -> None:
    words = ["--data", "digits", "--steps", "4", "--turns", "1"]
    shown = subprocess.run(
        [sys.executable, str(FOLDER / "jobs.py"), *words], check=True, capture_output=True, text=True
    )
    assert shown.stdout.count("runs an hour") == 2
