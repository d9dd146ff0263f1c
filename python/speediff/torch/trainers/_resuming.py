"""What the seams say of a run that resumes without its sampler."""

from __future__ import annotations

import warnings


def warn_without_state(checkpoint: str, steps: str) -> None:
    """Warns that a run resumes, and its sampler does not.

    Args:
        checkpoint: What has no state of the sampler.
        steps: The step that skips the steps of before.
    """
    warnings.warn(
        f"{checkpoint} has no sampler: the sampler draws from where it is. To skip the steps of before, set "
        f"sampler.step to {steps}",
        RuntimeWarning,
        stacklevel=3,
    )
