"""The examples of docs/adopt.md run."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from pipelines import Pipeline, batches, network

import speediff
import speediff.torch
from speediff.torch import TimestepSampler

if TYPE_CHECKING:
    from speediff import NoiseSchedule

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "adopt.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_whole_example_runs() -> None:
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, "adopt.md", "exec"), names)
    assert names["images"].shape == (4, 1, 8, 8)
    assert {float(state["step"]) for state in names["optimizer"].state.values()} == {3.0}


def test_the_fallback_and_the_file_run(
    linear: NoiseSchedule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fallback, file = blocks("py")
    pipeline, sampler = Pipeline(network(), linear), TimestepSampler(linear)
    names: dict[str, Any] = {
        "torch": torch, "speediff": speediff, "model": pipeline.model, "ema": pipeline.ema,
        "optimizer": pipeline.optimizer, "sampler": sampler, "loader": [batch[:2] for batch in batches(0, 2)],
    }  # fmt: skip
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = copy.deepcopy(pipeline.model.state_dict())
    exec(compile(fallback, "adopt.md", "exec"), names)
    assert sampler.step == 2
    assert not torch.equal(before["blocks.0.mlp.fc1.weight"], pipeline.model.blocks[0].mlp.fc1.weight)
    folder = tmp_path / "results" / "000-DiT-S-2" / "checkpoints"
    folder.mkdir(parents=True)
    state = network(hidden_size=384, depth=12, num_heads=6, patch_size=8).state_dict()
    torch.save({"model": state}, folder / "0050000.pt")
    monkeypatch.chdir(tmp_path)
    exec(compile(file, "adopt.md", "exec"), names)
    with names["trainer"] as trainer:
        assert trainer.config == speediff.DiT.named("DiT-S/8")
