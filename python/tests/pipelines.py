"""A training pipeline in PyTorch alone, as the authors of DiT have it, to compare an adopted one with."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import official_dit
import reference_training as oracle
import torch

from speediff.torch import Adoption, adopt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from speediff import NoiseSchedule

SIZES = {"input_size": 16, "in_channels": 3, "hidden_size": 48, "depth": 2, "num_heads": 3, "patch_size": 4}
CLASSES = 7
RATE, EPS, DECAY, EMA_DECAY = 1e-3, 1e-5, 0.02, 0.95
"""With a smaller ε AdamW makes steps of the rounding of gradients that are 0, as of the keys' bias."""


class Batch(NamedTuple):
    """What a step is made of; the label 7 is the null label."""

    x: Tensor
    y: Tensor
    t: Tensor
    noise: Tensor
    weights: Tensor

    @property
    def drawn(self) -> dict[str, Tensor]:
        return {"t": self.t, "noise": self.noise, "weights": self.weights}


def batches(first: int, count: int, n: int = 6) -> list[Batch]:
    result = []
    for number in range(first, first + count):
        random = np.random.default_rng(number)
        arrays = (
            random.normal(size=(n, 3, 16, 16)).astype(np.float32),
            random.integers(0, CLASSES + 1, n),
            random.integers(0, 1000, n),
            random.normal(size=(n, 3, 16, 16)).astype(np.float32),
            random.uniform(0.5, 2, n).astype(np.float32),
        )
        result.append(Batch(*map(torch.from_numpy, arrays)))
    return result


def network(**options: Any) -> official_dit.DiT:
    """A network that has been trained a little: every gradient is something."""
    torch.manual_seed(0)
    model = official_dit.DiT(**{**SIZES, "num_classes": CLASSES, **options})
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model


class Pipeline:
    """A network with its average and its optimizer."""

    def __init__(
        self,
        model: torch.nn.Module,
        schedule: NoiseSchedule,
        predict: Callable[..., Tensor] = lambda model, x, t, y: model(x, t, y),
    ) -> None:
        self.model, self._predict = model, predict
        self.ema = copy.deepcopy(model).requires_grad_(False).eval()
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY, eps=EPS)
        self._process = oracle.Process(schedule.betas)

    def loss(self, batch: Batch) -> Tensor:
        """guided-diffusion's hybrid loss. Labels are dropped already."""
        self.model.eval()
        x_t = self._process.noised("epsilon", batch.x, batch.t, batch.noise)
        output = self._predict(self.model, x_t, batch.t, batch.y)
        losses = oracle.losses(self._process, "epsilon", output, batch.x, batch.t, batch.noise)
        return losses.objective(batch.weights)

    def step(self, batch: Batch) -> float:
        loss = self.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.average()
        return loss.item()

    @torch.no_grad()
    def average(self) -> None:
        """`update_ema` of DiT's train.py, of what is trained."""
        for average, parameter in zip(self.ema.parameters(), self.model.parameters(), strict=True):
            if parameter.requires_grad:
                average.mul_(EMA_DECAY).add_(parameter.data, alpha=1 - EMA_DECAY)

    def tensors(self) -> dict[str, Tensor]:
        """All that training changes, copied."""
        result = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        result |= {f"ema.{name}": value for name, value in self.ema.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            state = self.optimizer.state.get(parameter, {})
            result |= {f"{which}.{name}": torch.as_tensor(value) for which, value in state.items()}
        return {name: value.detach().clone() for name, value in result.items()}


def assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float) -> None:
    """Each tensor to a tolerance of its norm; of the values' bias for the keys', whose gradient is 0."""
    assert found.keys() == expected.keys(), sorted(found.keys() ^ expected.keys())
    errors = {}
    for name, value in expected.items():
        scale = float(expected[name.replace("to_k.bias", "to_v.bias")].double().norm())
        errors[name] = float((found[name] - value).double().norm()) / max(scale, 1e-20)
    worst = max(errors, key=errors.__getitem__)
    assert errors[worst] <= tolerance, f"{worst} is off by {errors[worst]:.1e}"


def adopted(pipeline: Pipeline, **options: Any) -> Adoption:
    options = {"ema_decay": EMA_DECAY, **options}
    return adopt(pipeline.model, pipeline.ema, pipeline.optimizer, **options)


def by_hand(adoption: Adoption, batch: Batch) -> float:
    """A step of which everything is given."""
    loss = adoption.backward(batch.x, batch.y, **batch.drawn)
    adoption.apply()
    return loss
