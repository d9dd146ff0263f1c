"""What several test modules share."""

from __future__ import annotations

import pytest

import speediff


@pytest.fixture(scope="session")
def linear() -> speediff.NoiseSchedule:
    """The paper's schedule."""
    return speediff.NoiseSchedule.linear(1000)
