"""What the loop asks of a sampler."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch  # noqa: TC002


@runtime_checkable
class TimestepSamplerProtocol(Protocol):
    def sample(self, bs: int, device, *, token_counts=None) -> torch.Tensor: ...

    def record(self, t: torch.Tensor, raw_mse: torch.Tensor) -> None: ...

    def maybe_refresh(self, global_step: int) -> None: ...

    def status(self) -> dict: ...

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> None: ...
