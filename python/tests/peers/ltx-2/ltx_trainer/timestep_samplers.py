"""The samplers by name, as the trainer looks them up."""

from __future__ import annotations

import torch  # noqa: TC002


class TimestepSampler:
    def sample(
        self, batch_size: int, seq_length: int | None = None, device: torch.device = None
    ) -> torch.Tensor:
        raise NotImplementedError

    def sample_for(self, batch: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class ShiftedLogitNormalTimestepSampler(TimestepSampler):
    def __init__(self, std: float = 1.0, eps: float = 1e-3, uniform_prob: float = 0.1):
        self.std = std


SAMPLERS = {"shifted_logit_normal": ShiftedLogitNormalTimestepSampler}
