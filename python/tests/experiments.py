"""What the tests of experiments share: tiny images, a tiny network, and commands that are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from speediff._experiments.report_text import SECONDS_HEADING
from speediff.cli import main

if TYPE_CHECKING:
    from pathlib import Path

NETWORK = ("--hidden", "16", "--depth", "1", "--heads", "2", "--batch-size", "8", "--warmup", "0")
SHORT = ("--steps", "12", "--measure-every", "4", "--samples", "3", "--sample-steps", "2", "--jobs", "2")


def write_images(folder: Path) -> str:
    """60 images of 8×8 in three classes, which differ in brightness."""
    path = folder / "images.npz"
    pixels = np.random.default_rng(0).integers(0, 120, (60, 8, 8), np.uint8)
    labels = np.arange(60) % 3
    np.savez(path, images=pixels + (60 * labels[:, None, None]).astype(np.uint8), labels=labels)
    return str(path)


def command(data: str, out: Path, *flags: str) -> list[str]:
    return ["compare", data, "--out", str(out), *NETWORK, *flags]


def compare(data: str, out: Path, *flags: str) -> None:
    """Runs a command that succeeds."""
    assert main(command(data, out, *flags)) == 0


def kill_at_random(data: str, out: Path, *flags: str, times: int, seed: int, longest: float) -> int:
    """Starts a comparison repeatedly and kills it after random times; returns how often it was at work."""
    waits = np.random.default_rng(seed).uniform(0.3, longest, times)
    killed = 0
    for wait in waits:
        process = subprocess.Popen(
            [sys.executable, "-m", "speediff", *command(data, out, *flags, "--resume")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
            time.sleep(0.05)
    return killed


def kill_after(data: str, out: Path, *flags: str, results: int) -> None:
    """Starts a comparison and kills it as soon as so many of its runs have results, and before all have."""
    process = subprocess.Popen(
        [sys.executable, "-m", "speediff", *command(data, out, *flags, "--resume")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while len(list(out.glob("results/**/seed-*.json"))) < results:
            assert process.poll() is None, "the comparison ended by itself"
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL


def files_but_times(out: Path) -> dict[str, bytes]:
    """The files of the report and of `results`, without what depends on time."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.is_dir() or name.startswith("runs/") or name.endswith("times.csv") or ".tmp" in name:
            continue
        found[name] = path.read_bytes()
    found["report.md"] = found["report.md"].split(SECONDS_HEADING.encode())[0]
    return found
