"""The samplers on PyTorch tensors, and what pipelines need around them. Only this package imports torch.

A pipeline of DiT, guided-diffusion or MDT takes a `TimestepSampler` as its `schedule_sampler`, one of
diffusers `TimestepSampler.for_scheduler`, one of NVlabs/edm a `DenoisingLoss`. `docs/migrate.md` has the
patches.
"""

from ._denoising import DenoisingLoss
from ._losses import combine
from ._preconditioning import Preconditioned
from ._samplers import SigmaSampler, TimestepSampler
from ._schedulers import schedule_from

__all__ = [
    "DenoisingLoss",
    "Preconditioned",
    "SigmaSampler",
    "TimestepSampler",
    "combine",
    "schedule_from",
]
