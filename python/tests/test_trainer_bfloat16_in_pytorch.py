"""A step in bfloat16 is at least as near to float64 as PyTorch's bf16 autocast is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from reference_dit import randomize, twin
from reference_training import Process, gradients, losses
from training_batches import Run, random_batch, run_trainer

import speediff

if TYPE_CHECKING:
    from training_batches import Batch

    from speediff import NoiseSchedule

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch", "bfloat16")


def run_torch(model: Any, process: Process, data: Batch, *, autocast: bool) -> Run:
    dtype = model.pos_embed.dtype
    x, noise = data.x.to(dtype), data.noise.to(dtype)
    x_t = process.noised("epsilon", x, data.t, noise)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = model(x_t, data.t, data.y)
    terms = losses(process, "epsilon", output.to(dtype), x, data.t, noise)
    loss = terms.objective(data.weights)
    model.zero_grad()
    loss.backward()
    return Run(loss.item(), terms.mse.detach().numpy(), output.detach().to(dtype).numpy(), gradients(model))


@pytest.mark.parametrize("model", ["DiT-S/8", "DiT-S/4"])
def test_errors_are_at_most_those_of_autocast(linear: NoiseSchedule, model: str) -> None:
    process, ratios, of_losses = Process(linear.betas), [], []
    with speediff.Trainer(model, speediff.TimestepSampler(linear), precision="bfloat16") as trainer:
        randomize(trainer, 1)
        exact_model, other_model = twin(trainer, torch.float64), twin(trainer, torch.float32)
        for seed in range(2):
            data = random_batch(2, "epsilon", {}, seed)
            trainer.discard()
            found = run_trainer(trainer, process, "epsilon", data)
            exact = run_torch(exact_model, process, data, autocast=False)
            other = run_torch(other_model, process, data, autocast=True)
            of_losses.append([abs(run.mse - exact.mse).sum() for run in (found, other)])
            for name, truth in exact.gradients.items():
                errors = [
                    float(np.linalg.norm(np.asarray(run.gradients[name], np.float64) - np.asarray(truth)))
                    for run in (found, other)
                ]
                ratios.append((errors[0] / errors[1], name))
    ours, theirs = np.sum(of_losses, axis=0)
    assert ours <= theirs
    assert np.median([ratio for ratio, _ in ratios]) <= 1
    assert max(ratios) <= (1.2, "")
