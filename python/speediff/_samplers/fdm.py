"""The noise-level range of the Fast Diffusion Model (Wu et al. 2023) for each process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import processes
from .._support import arguments
from ..errors import SpeeDiffValueError

if TYPE_CHECKING:
    from ..processes import Process

_BY_NAME: dict[str, type[Process]] = {"edm": processes.EDM, "vp": processes.VP, "ve": processes.VE}
_EDM_RANGE = (0.002, 80.0)


def process_named(process: str | Process) -> Process:
    """The process itself, or the one with this name."""
    if isinstance(process, str):
        return _BY_NAME[arguments.choice("process", process, _BY_NAME)]()
    return process


def sigma_range(process: Process) -> tuple[float, float]:
    """The σ where the momentum's time is 0 and 1: 0.002 and 80 for EDM, the end points of VP and VE.

    Raises:
        SpeeDiffValueError: For rectified flow, which FDM does not support.
    """
    if isinstance(process, processes.EDM):
        return _EDM_RANGE
    if isinstance(process, processes.VE):
        return process.sigma_min, process.sigma_max
    if isinstance(process, processes.VP):
        low, high = process.sigma(np.array([process.epsilon_t, 1.0])).tolist()
        return low, high
    raise SpeeDiffValueError(f"process must be EDM, VP or VE for FDM, got {process!r}")


def default_multiplier(process: Process) -> float:
    """m: 2, but 1 for VE, where the released code ignores it."""
    return 1.0 if isinstance(process, processes.VE) else 2.0
