"""A run begun by the trainer and continued by PyTorch from its file, as docs/trainer.md says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import reference_training as oracle
import torch
from reference_dit import DiT
from safetensors import safe_open
from safetensors.torch import load_file

import speediff
from speediff import NoiseSchedule, TimestepSampler

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {"hidden_size": 48, "depth": 2, "num_heads": 3, "patch_size": 4}
IMAGES = {"input_size": 16, "in_channels": 3, "num_classes": 7, "class_dropout_prob": 0.0}
RATE, DECAY, EPS, EMA_DECAY = 1e-3, 0.02, 1e-5, 0.95
"""With a smaller ε AdamW makes steps of the rounding of gradients that are 0, as of the keys' bias."""
BEFORE, AFTER = 10, 20


def batches(first: int, count: int) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(first)
    return [
        {
            "x": random.normal(size=(6, 3, 16, 16)).astype(np.float32),
            "y": random.integers(0, 7, 6),
            "t": random.integers(0, 1000, 6),
            "noise": random.normal(size=(6, 3, 16, 16)).astype(np.float32),
            "weights": random.uniform(0.5, 2, 6).astype(np.float32),
        }
        for _ in range(count)
    ]


def step(trainer: speediff.Trainer, batch: dict[str, np.ndarray]) -> float:
    loss = trainer.backward(**batch)
    trainer.apply()
    return loss


@pytest.mark.parametrize("learn_sigma", [True, False])
def test_pytorch_continues_a_run_from_its_file(
    linear: NoiseSchedule, learn_sigma: bool, tmp_path: Path
) -> None:
    path, process = tmp_path / "run.safetensors", oracle.Process(linear.betas)
    with speediff.Trainer(
        speediff.DiT(**SIZES),
        TimestepSampler(linear),
        **IMAGES,
        learn_sigma=learn_sigma,
        learning_rate=RATE,
        weight_decay=DECAY,
        eps=EPS,
        ema_decay=EMA_DECAY,
    ) as trainer:
        for batch in batches(0, BEFORE):
            step(trainer, batch)
        trainer.save(str(path))
        expected = [step(trainer, batch) for batch in batches(1, AFTER)]
        found = {
            "parameters": trainer.parameters,
            "EMA": trainer.ema_parameters,
            "exp_avg": trainer.exp_avg,
            "exp_avg_sq": trainer.exp_avg_sq,
        }
        found = {
            what: {name: array.copy() for name, array in arrays.items()} for what, arrays in found.items()
        }

    model = DiT(**SIZES, **IMAGES, learn_sigma=learn_sigma)
    state = load_file(path)
    with safe_open(path, "pt") as file:
        steps = int(file.metadata()["trainer.global_step"])
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=RATE, weight_decay=DECAY, eps=EPS)
    for name, parameter in trained.items():
        moments = {which: state[f"{which}.{name}"] for which in ("exp_avg", "exp_avg_sq")}
        optimizer.state[parameter] = {"step": torch.tensor(float(steps)), **moments}
    ema = {name: state[f"ema.{name}"] for name in trained}

    model.train()
    losses = []
    for batch in batches(1, AFTER):
        x, y, t, noise, weights = (
            torch.from_numpy(batch[key]) for key in ("x", "y", "t", "noise", "weights")
        )
        output = model(process.noised("epsilon", x, t, noise), t, y)
        loss = oracle.losses(process, "epsilon", output, x, t, noise).objective(weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for name, parameter in trained.items():
            ema[name].lerp_(parameter.detach(), 1 - EMA_DECAY)
        losses.append(loss.item())

    assert steps == BEFORE
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    moments = {
        which: {name: optimizer.state[p][which] for name, p in trained.items()}
        for which in ("exp_avg", "exp_avg_sq")
    }
    after = {"parameters": trained, "EMA": ema, **moments}
    for what, tensors in after.items():
        arrays = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
        for name, array in arrays.items():
            error = np.linalg.norm(found[what][name] - array) / np.linalg.norm(array)
            assert error < 1e-4, f"{what} of {name}: {error}"
