"""Adoptions that are refused, and what they must leave as it was."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

import speediff
from speediff import SpeeDiffTypeError, SpeeDiffValueError
from speediff.torch import adopt

if TYPE_CHECKING:
    from pipelines import Pipeline

VALUE, TYPE = SpeeDiffValueError, SpeeDiffTypeError


def snapshot(pipeline: Pipeline) -> tuple[Any, ...]:
    """All that an adoption would change."""
    tensors = pipeline.tensors()
    modules = (pipeline.model, pipeline.ema)
    places = [p.data_ptr() for module in modules for p in module.parameters() if p.device.type == "cpu"]
    modes = [part.training for module in modules for part in module.modules()]
    values = {
        name: value.double().numpy().tobytes()
        for name, value in tensors.items()
        if value.device.type == "cpu"
    }
    return values, places, modes, len(pipeline.optimizer.state)


def refuses(
    pipeline: Pipeline, *words: str, kind: type[Exception] = VALUE, given: dict[str, Any] | None = None
) -> None:
    """Adopting raises this, with all these words, and leaves everything as it was."""
    before = snapshot(pipeline)
    arguments = {"module": pipeline.model, "ema": pipeline.ema, "optimizer": pipeline.optimizer}
    with pytest.raises(speediff.SpeeDiffError) as caught:
        adopt(**{**arguments, **(given or {})})
    assert type(caught.value) is kind, repr(caught.value)
    for word in words:
        assert re.search(word, str(caught.value)), f"{word!r} is not in {caught.value!s}"
    assert snapshot(pipeline) == before
