"""Tiny trainers of MDT, and what the reference says of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from reference_mdt import twin
from reference_mdt_training import mdt_objective
from reference_training import Process, assert_arrays_agree, assert_tensors_agree, gradients

import speediff
from speediff import TimestepSampler

if TYPE_CHECKING:
    from reference_mdt_training import Pass

    from speediff import NoiseSchedule

CLASSES = 10
MODELS: dict[int, dict[str, Any]] = {
    1: {"version": 1, "depth": 2, "decode_layer": 1},
    2: {"version": 2, "depth": 3, "decode_layer": 1},
}


def create(
    schedule: NoiseSchedule,
    version: int,
    prediction: str = "epsilon",
    *,
    sampler: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **options: Any,
) -> speediff.Trainer:
    """A tiny trainer, of sixteen tokens unless the options say otherwise, without a learned variance."""
    shape = {"hidden_size": 16, "num_heads": 2, "patch_size": 2, "mask_ratio": 0.3, "min_snr_gamma": 5.0}
    network = speediff.MDT(**{**shape, **MODELS[version], **(model or {})})
    drawn = TimestepSampler(schedule, prediction=prediction, **(sampler or {}))
    data = {"input_size": 8, "in_channels": 3, "num_classes": CLASSES, "learn_sigma": False}
    return speediff.Trainer(network, drawn, **{**data, **options})


def images(trainer: speediff.Trainer, n: int, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    random = np.random.default_rng(seed)
    shape = (n, trainer.in_channels, trainer.input_size, trainer.input_size)
    x = random.normal(size=shape).astype(np.float32)
    return x, None if trainer.num_classes is None else random.integers(0, trainer.num_classes, n)


class Expected:
    """The reference's loss and gradients of a batch."""

    def __init__(
        self,
        trainer: speediff.Trainer,
        prediction: str,
        x: np.ndarray,
        t: np.ndarray,
        weights: np.ndarray,
        passes: tuple[Pass, Pass],
    ) -> None:
        model = twin(trainer, class_dropout_prob=trainer.class_dropout_prob)
        given = (torch.from_numpy(x).double(), torch.from_numpy(t))
        found = mdt_objective(
            model,
            Process(trainer.schedule.betas),
            prediction,
            *given,
            passes,
            torch.from_numpy(weights).double(),
            trainer.config.min_snr_gamma,
        )
        found.loss.backward()
        self.loss, self.mse, self.gradients = found.loss.item(), found.mse.detach().numpy(), gradients(model)

    def check(self, trainer: speediff.Trainer, loss: float) -> None:
        assert loss == pytest.approx(self.loss, rel=1e-5)
        assert_arrays_agree(trainer.losses, self.mse, 1e-5, "losses")
        assert_tensors_agree(trainer.gradients, self.gradients, 1e-3)
