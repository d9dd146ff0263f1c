"""The seams of other trainers at which a sampler needs no patch: see `docs/migrate.md`.

Nothing of these trainers is imported here. A class that needs one of theirs as a base is a mixin.
"""

from ._ai_toolkit import AIToolkitSampler
from ._anima import AnimaTimesteps
from ._callbacks import SamplerInCheckpoint, SamplerInTrainerState
from ._loss import WeightedLoss
from ._ltx import LTXTimesteps
from ._musubi import MusubiSampler

__all__ = [
    "AIToolkitSampler",
    "AnimaTimesteps",
    "LTXTimesteps",
    "MusubiSampler",
    "SamplerInCheckpoint",
    "SamplerInTrainerState",
    "WeightedLoss",
]
