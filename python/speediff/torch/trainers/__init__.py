"""The seams of other trainers at which a sampler needs no patch: see `docs/migrate.md`.

Nothing of these trainers is imported here. A class that needs one of theirs as a base is a mixin.
"""

from ._callbacks import SamplerInCheckpoint, SamplerInTrainerState
from ._loss import WeightedLoss

__all__ = ["SamplerInCheckpoint", "SamplerInTrainerState", "WeightedLoss"]
