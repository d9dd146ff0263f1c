"""What the tests of data files share: a few images, and what reading them wrongly says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import speediff
from speediff._data.datasets import load

if TYPE_CHECKING:
    from pathlib import Path

GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (5, 3, 6, 6), np.uint8)
GRAY = PIXELS[:, 0]


def fails(message: str, source: Path | str, **options: Any) -> None:
    """Reading it is an error of one line that says this."""
    with pytest.raises(speediff.SpeeDiffError) as error:
        load(str(source), **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
