"""The example `train_dit.py --backend swift`: the CPU trainer takes the steps that PyTorch would take."""

from __future__ import annotations

import argparse
import csv
from typing import TYPE_CHECKING, Any

import pytest
import running_examples
import torch
from running_examples import EXAMPLES, FEW_RESULTS, TINY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("diffusers")
FOLLOWS_LOSS = "adaptive(bins=2)+uncertainty(bins=2)"


def tiny(out: Path, *flags: str) -> None:
    running_examples.run("train_dit", *TINY, "--out", str(out), *FEW_RESULTS, *flags)


def losses(out: Path) -> list[float]:
    with (out / "loss.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def state(out: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(out / "checkpoint.pt", weights_only=True)
    return loaded


@pytest.mark.parametrize("method", ["speed", FOLLOWS_LOSS])
def test_its_steps_are_those_of_pytorch(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny(tmp_path / "swift", "--backend", "swift", "--method", method)
    monkeypatch.syspath_prepend(EXAMPLES)
    import train_dit

    build: Callable[..., Any] = train_dit.build_model

    def of_one_embedder(args: argparse.Namespace, *rest: Any) -> Any:
        return build(argparse.Namespace(**{**vars(args), "backend": "swift"}), *rest)

    monkeypatch.setattr(train_dit, "build_model", of_one_embedder)
    tiny(tmp_path / "torch", "--method", method)
    assert losses(tmp_path / "swift") == pytest.approx(losses(tmp_path / "torch"), rel=1e-4)
    swift, pytorch = state(tmp_path / "swift"), state(tmp_path / "torch")
    assert swift["sampler"]["step"] == pytorch["sampler"]["step"] == 12
    for name, value in pytorch["model"].items():
        torch.testing.assert_close(swift["model"][name], value, rtol=1e-3, atol=1e-4)
    for of_swift, of_pytorch in zip(
        swift["ema"]["shadow_params"], pytorch["ema"]["shadow_params"], strict=True
    ):
        torch.testing.assert_close(of_swift, of_pytorch, rtol=1e-3, atol=1e-4)


def test_a_resumed_run_has_the_losses_of_an_uninterrupted_one(tmp_path: Path) -> None:
    flags = ("--backend", "swift", "--method", FOLLOWS_LOSS)
    tiny(tmp_path / "whole", *flags, "--steps", "6")
    tiny(tmp_path / "parts", *flags, "--steps", "3")
    tiny(tmp_path / "parts", *flags, "--steps", "6", "--resume")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_it_is_for_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit):
        tiny(tmp_path, "--backend", "swift")
    assert "argument --backend: swift is for one process" in capsys.readouterr().err
