"""What a trainer of any network must share with PyTorch's autograd on the network's reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from reference_training import Process, assert_arrays_agree, assert_tensors_agree
from training_batches import Batch, Run, run_trainer

import speediff

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from speediff import NoiseSchedule


@dataclass(frozen=True)
class GradientChecks:
    """The checks of one family of networks.

    Args:
        cases: By name; each has `options` of the trainer and a `prediction`.
        network: A case's network, as a trainer takes it.
        batch: A case's data for a seed.
        randomize: Makes all parameters of a trainer random.
        twin: The reference with a trainer's parameters.
        run_torch: What the reference computes of a batch.
    """

    cases: Mapping[str, Any]
    network: Callable[[Any], Any]
    batch: Callable[[str, int], Batch]
    randomize: Callable[..., None]
    twin: Callable[..., Any]
    run_torch: Callable[[Any, Process, str, Batch], Run]

    def dropout(self, name: str) -> dict[str, Any]:
        options = self.cases[name].options
        return {key: value for key, value in options.items() if key == "class_dropout_prob"}

    def create(self, schedule: NoiseSchedule, name: str, **more: Any) -> speediff.Trainer:
        """A trainer with random parameters everywhere."""
        case = self.cases[name]
        sampler = speediff.TimestepSampler(schedule, prediction=case.prediction)
        trainer = speediff.Trainer(self.network(case), sampler, **case.options, **more)
        self.randomize(trainer, 1, **self.dropout(name))
        return trainer

    def run(self, trainer: speediff.Trainer, name: str, data: Batch) -> Run:
        """What the trainer computes of a batch."""
        return run_trainer(trainer, Process(trainer.schedule.betas), self.cases[name].prediction, data)

    def compare(self, schedule: NoiseSchedule, name: str, *types: torch.dtype) -> tuple[Run, tuple[Run, ...]]:
        """What the trainer and references of these types compute of one batch."""
        process, data = Process(schedule.betas), self.batch(name, 0)
        with self.create(schedule, name) as trainer:
            twins = [self.twin(trainer, dtype, **self.dropout(name)) for dtype in types]
            found = self.run(trainer, name, data)
        return found, tuple(self.run_torch(model, process, name, data) for model in twins)

    def check_threads(self, schedule: NoiseSchedule, name: str) -> None:
        """Any number of threads gives the same gradients."""
        runs = []
        for threads in (1, 2, 3):
            with self.create(schedule, name, threads=threads) as trainer:
                runs.append(self.run(trainer, name, self.batch(name, 0)))
        for other in runs[1:]:
            assert other.loss == pytest.approx(runs[0].loss, rel=1e-5)
            assert_arrays_agree(other.output, runs[0].output, 1e-5, "output")
            assert_tensors_agree(other.gradients, runs[0].gradients, 1e-4)

    def check_ten_steps(self, schedule: NoiseSchedule, name: str, rtol: float) -> None:
        """Ten steps of AdamW have the losses of PyTorch."""
        process, settings = Process(schedule.betas), {"lr": 3e-4, "weight_decay": 0.01}
        expected, actual = [], []
        more = {"learning_rate": settings["lr"], "weight_decay": settings["weight_decay"]}
        with self.create(schedule, name, **more) as trainer:
            model = self.twin(trainer, **self.dropout(name))
            optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], **settings)
            for step in range(10):
                data = self.batch(name, step % 4)
                actual.append(trainer.backward(**data.arrays))
                trainer.apply()
                expected.append(self.run_torch(model, process, name, data).loss)
                optimizer.step()
            assert trainer.global_step == 10
        assert max(expected) > 1.001 * min(expected)
        np.testing.assert_allclose(actual, expected, rtol=rtol)


def check_loss(found: Run, expected: Run) -> None:
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    assert_arrays_agree(found.mse, expected.mse, 1e-5, "losses")


def check_output(found: Run, expected: Run) -> None:
    assert_arrays_agree(found.output, expected.output, 1e-4, "output")


def check_gradients(found: Run, expected: Run) -> None:
    assert_tensors_agree(found.gradients, expected.gradients, 1e-3)
