"""SpeeDiff: which noise levels a diffusion model trains on, and how much each one counts.

import speediff

schedule = speediff.NoiseSchedule.linear(1000)
sampler = speediff.TimestepSampler.speed(schedule, seed=0)
t, w = sampler.sample(256)      # once per batch; speediff.torch has the same on tensors
"""

from . import distributed, processes, sampling, shifts, weighting
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
from .evaluation import Evaluation, evaluate
from .increments import ClosedFormIncrements, ProcessIncrements
from .networks import MDT, DiT, Network
from .sampler import SigmaSampler, TimestepSampler
from .schedules import NoiseSchedule
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
