"""The samplers on PyTorch tensors, and what pipelines need around them. Only this package imports torch.

A pipeline without a GPU hands its very network to the CPU trainer with `adopt`, or its checkpoint with
`trainer_from`; `docs/adopt.md`.

A pipeline of DiT, guided-diffusion or MDT takes a `TimestepSampler` as its `schedule_sampler`, one of
diffusers `TimestepSampler.for_scheduler`, one of NVlabs/edm a `DenoisingLoss`. `docs/migrate.md` has the
patches.
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
