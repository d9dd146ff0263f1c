"""Random batches for a trainer and for the reference, and what either has computed of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from reference_training import Process


class Batch(NamedTuple):
    """What `backward` is given; the last two are for MDT's masked pass."""

    x: torch.Tensor
    y: torch.Tensor | None
    t: torch.Tensor
    noise: torch.Tensor
    weights: torch.Tensor
    masked_noise: torch.Tensor | None = None
    kept: torch.Tensor | None = None

    @property
    def arrays(self) -> dict[str, Any]:
        """All that is there, by name."""
        return {name: value.numpy() for name, value in self._asdict().items() if value is not None}


class Run(NamedTuple):
    """What one side has computed."""

    loss: float
    mse: Any
    output: Any
    gradients: dict[str, Any]


def random_batch(n: int, prediction: str, options: dict[str, Any], seed: int = 0) -> Batch:
    """Random data for a trainer of these options.

    Of several entries the first has t = 0 and the null label, where there is one. There is less noise there,
    and t is 1 where the target holds x₀: far from the data the likelihood has no digits left in float32.
    """
    random = np.random.default_rng(seed)
    side, channels = options.get("input_size", 32), options.get("in_channels", 4)
    shape = (n, channels, side, side)
    x, noise = (torch.from_numpy(random.normal(size=shape).astype(np.float32)) for _ in range(2))
    classes = options.get("num_classes", 1000)
    y = None if classes is None else torch.from_numpy(random.integers(0, classes, n))
    t = torch.from_numpy(random.integers(1, 1000, n))
    weights = torch.from_numpy(random.uniform(0.2, 2, n).astype(np.float32))
    if n > 1:
        t[0], t[1] = prediction in ("sample", "flow"), 999
        noise[0] *= 0.5
        if y is not None and options.get("class_dropout_prob", 0.1) > 0:
            y[0] = classes
    return Batch(x, y, t, noise, weights)


def run_trainer(trainer: Any, process: Process, prediction: str, data: Batch) -> Run:
    """A trainer's loss and gradients, and the output of its full pass."""
    x_t = process.noised(prediction, data.x.double(), data.t, data.noise.double())
    loss = trainer.backward(**data.arrays)
    mse, slopes = trainer.losses.copy(), {key: g.copy() for key, g in trainer.gradients.items()}
    y = None if data.y is None else data.y.numpy()
    return Run(loss, mse, trainer.forward(x_t.float().numpy(), data.t.numpy(), y), slopes)
