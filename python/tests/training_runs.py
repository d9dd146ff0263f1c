"""What the tests of `speediff train` share: data of a few pixels, and commands."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np

from speediff.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from numpy.typing import NDArray

    import speediff

TINY = ("--hidden", "16", "--depth", "1", "--heads", "2", "--batch-size", "8", "--warmup", "0")
QUICK = ("--steps", "6", "--samples", "0")


def write_images(folder: Path) -> str:
    """40 images of 8×8 in four classes, which are where they are bright."""
    generator = np.random.default_rng(0)
    labels = np.arange(40) % 4
    pixels = generator.integers(0, 60, (40, 8, 8), np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[4 * (label // 2) :, 4 * (label % 2) :] += 150
    np.savez(folder / "images.npz", images=pixels, labels=labels)
    return str(folder / "images.npz")


def write_latents(folder: Path) -> str:
    """20 unlabelled latents of four channels."""
    latents = np.random.default_rng(1).standard_normal((20, 4, 8, 8)).astype(np.float32)
    np.save(folder / "latents.npy", latents)
    return str(folder / "latents.npy")


def train(data: str, out: Path, *flags: str) -> None:
    """Runs a command that succeeds."""
    assert main(["train", data, "--out", str(out), *TINY, *flags]) == 0


def losses(out: Path) -> list[float]:
    with (out / "loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    return [float(row["loss"]) for row in rows]


def determined_weights(trainer: speediff.Trainer) -> NDArray[np.float32]:
    """All but the keys' biases: their gradient is 0, and AdamW makes whole steps of its rounding."""
    weights = {name: value.copy() for name, value in trainer.parameters.items()}
    for name, value in weights.items():
        if name.endswith("attn.qkv.bias"):
            value.reshape(3, -1)[1] = 0
    return np.concatenate([value.reshape(-1) for value in weights.values()])


def fails(capsys: pytest.CaptureFixture[str], message: str, *command: str) -> None:
    """The command ends with exit code 2 and one line, which says this."""
    capsys.readouterr()
    try:
        code: Any = main(list(command))
    except SystemExit as exit_:  # From argparse.
        code = exit_.code
    err = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert err[-1].startswith("speediff: ")
    assert message in err[-1]
