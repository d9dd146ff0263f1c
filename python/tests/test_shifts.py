"""The usual rules of shifts, against their sources."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import speediff
import speediff.torch
from speediff import SigmaSampler

if TYPE_CHECKING:
    from collections.abc import Callable

NAN, INF = float("nan"), float("inf")


def test_rules_are_those_of_their_sources() -> None:
    from speediff import shifts

    assert shifts.resolution(1024**2, 512**2) == 2
    assert shifts.latent_dimension(768 * 16 * 16) == pytest.approx(6.928, abs=1e-3)
    assert shifts.tokens(256) == pytest.approx(math.exp(0.5))
    assert shifts.tokens(4096, "flux") == pytest.approx(math.exp(1.15))
    assert shifts.tokens(4096, "flux", max_shift=1.16) == pytest.approx(math.exp(1.16))
    assert shifts.tokens(256, "flux", base_shift=0.4) == pytest.approx(math.exp(0.4))
    assert shifts.tokens(6400, "krea2") == pytest.approx(math.exp(1.15))
    assert shifts.tokens(8192, "qwen_image") == pytest.approx(math.exp(0.9))
    assert shifts.tokens(1024, "ltx2") == pytest.approx(math.exp(0.95))
    assert shifts.tokens(4096, "ltx2") == shifts.tokens(20_000, "ltx2") == pytest.approx(math.exp(2.05))


def test_the_rule_for_flux_is_that_of_diffusers() -> None:
    pipeline = pytest.importorskip("diffusers.pipelines.flux.pipeline_flux")
    for n in (1, 256, 1000, 4096, 9000):
        assert speediff.shifts.tokens(n) == pytest.approx(math.exp(pipeline.calculate_shift(n)), rel=1e-12)


def test_rules_take_arrays_and_tensors() -> None:
    n = np.array([256, 1024, 8192])
    for model in speediff.shifts.MODELS:
        expected = [speediff.shifts.tokens(int(count), model) for count in n]
        np.testing.assert_allclose(speediff.shifts.tokens(n, model), expected, rtol=1e-12)
        tensor = speediff.shifts.tokens(torch.from_numpy(n).double(), model)
        np.testing.assert_allclose(tensor.numpy(), expected, rtol=1e-12)
    t, _ = SigmaSampler.flow(seed=1).sample(3, shift=speediff.shifts.resolution(n, 1024))
    assert t.shape == (3,)


@pytest.mark.parametrize("value", [0, -1, NAN, INF, np.array([1.0, -2.0]), torch.tensor([1.0, NAN])])
def test_a_size_out_of_range_is_refused(value: Any) -> None:
    rules: list[Callable[[Any], Any]] = [
        lambda x: speediff.shifts.resolution(x, 100),
        speediff.shifts.latent_dimension,
        speediff.shifts.tokens,
    ]
    for rule in rules:
        with pytest.raises(speediff.SpeeDiffValueError, match="must be finite and above 0"):
            rule(value)
    with pytest.raises(speediff.SpeeDiffTypeError):
        speediff.shifts.tokens([1, 2])
    with pytest.raises(speediff.SpeeDiffValueError, match="base must be"):
        speediff.shifts.resolution(4, 0)


def test_an_unknown_model_is_answered_with_the_nearest() -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match="did you mean 'qwen_image'"):
        speediff.shifts.tokens(256, "qwen-image")


def test_the_page_about_shifts_runs() -> None:
    pytest.importorskip("diffusers")
    page = Path(__file__).resolve().parents[2] / "docs" / "shifts.md"
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
    assert len(blocks) == 3
    assert names["noise"].shape == (64, 4, 32, 32)
