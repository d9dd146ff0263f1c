"""SpeeDiff: which noise levels a diffusion model trains on, and how much each one counts.

import speediff

schedule = speediff.NoiseSchedule.linear(1000)
sampler = speediff.TimestepSampler.speed(schedule, seed=0)
t, w = sampler.sample(256)      # once per batch; speediff.torch has the same on tensors
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import processes, sampling, shifts, weighting
from ._methods.method_list import MethodInfo, methods
from ._methods.method_text import parse_method
from ._native.library import library_path
from ._support.version import __version__
from .errors import (
    SpeeDiffBusyError,
    SpeeDiffCancelledError,
    SpeeDiffClosedError,
    SpeeDiffError,
    SpeeDiffFileError,
    SpeeDiffGroupError,
    SpeeDiffInternalError,
    SpeeDiffLibraryError,
    SpeeDiffMemoryError,
    SpeeDiffNonFiniteError,
    SpeeDiffThreadError,
    SpeeDiffTypeError,
    SpeeDiffValueError,
)
from .increments import ClosedFormIncrements, ProcessIncrements
from .sampler import SigmaSampler, TimestepSampler
from .schedules import NoiseSchedule

if TYPE_CHECKING:
    from . import distributed
    from .evaluation import Evaluation, evaluate
    from .networks import MDT, DiT, Network
    from .training import Trainer

__all__ = [
    "MDT",
    "ClosedFormIncrements",
    "DiT",
    "Evaluation",
    "MethodInfo",
    "Network",
    "NoiseSchedule",
    "ProcessIncrements",
    "SigmaSampler",
    "SpeeDiffBusyError",
    "SpeeDiffCancelledError",
    "SpeeDiffClosedError",
    "SpeeDiffError",
    "SpeeDiffFileError",
    "SpeeDiffGroupError",
    "SpeeDiffInternalError",
    "SpeeDiffLibraryError",
    "SpeeDiffMemoryError",
    "SpeeDiffNonFiniteError",
    "SpeeDiffThreadError",
    "SpeeDiffTypeError",
    "SpeeDiffValueError",
    "TimestepSampler",
    "Trainer",
    "__version__",
    "distributed",
    "evaluate",
    "library_path",
    "methods",
    "parse_method",
    "processes",
    "sampling",
    "shifts",
    "weighting",
]

_MODULE_OF = {
    "MDT": "networks",
    "DiT": "networks",
    "Evaluation": "evaluation",
    "Network": "networks",
    "Trainer": "training",
    "evaluate": "evaluation",
}
_MODULES = ("distributed", "evaluation", "networks", "training")
"""Imported when they are first used: a training script that only draws timesteps needs none of them."""


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF and name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_MODULE_OF.get(name, name)}", __name__)
    value = getattr(module, name) if name in _MODULE_OF else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
