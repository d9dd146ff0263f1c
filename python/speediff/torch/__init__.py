"""Samplers on PyTorch tensors, and adapters for pipelines. Only this package imports torch.

Without a GPU, `adopt` trains a pipeline's own network with the CPU trainer, and `trainer_from` loads its
checkpoint. See `docs/adopt.md`.

DiT, guided-diffusion and MDT take a `TimestepSampler` as their `schedule_sampler`. For diffusers use
`TimestepSampler.for_scheduler`, for NVlabs/edm `DenoisingLoss`. `docs/migrate.md` has the patches, and
`trainers` the classes for trainers that need none.
"""

from ._adoption.adopt import adopt
from ._adoption.adoption import Adoption
from ._checkpoints.trainer_from import trainer_from
from ._denoising import DenoisingLoss
from ._losses import combine
from ._preconditioning import Preconditioned
from ._samplers import SigmaSampler, TimestepSampler
from ._schedulers import schedule_from

__all__ = [
    "Adoption",
    "DenoisingLoss",
    "Preconditioned",
    "SigmaSampler",
    "TimestepSampler",
    "adopt",
    "combine",
    "schedule_from",
    "trainer_from",
]
