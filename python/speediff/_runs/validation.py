"""The validation loss: the noise-prediction error on the same inputs for every method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._data import datasets
from .._plans.areas import AREA_NAMES, Process, make_process
from .._support.random_numbers import normal, permutation, random_bits
from ..errors import SpeeDiffValueError
from .run import load_data

if TYPE_CHECKING:
    from pathlib import Path

    from .._data.datasets import Dataset, Floats
    from ..schedules import NoiseSchedule
    from ..training import Trainer
    from .run_settings import Settings

COLUMNS = ("overall", *AREA_NAMES)
SEED = 0
"""The seed of validation images and noise. It is the same for all runs, whatever their own seed."""
NOISE, KEPT_BACK = 2, 3
"""Purposes of random bits, in addition to those of the batches."""
SHARE = 10
"""Without test images, one image in this many is held out."""


def split(source: str, settings: Settings, out: Path) -> tuple[Dataset, Dataset]:
    """Training data and validation data: the data's own test images, or held-out images."""
    data = load_data(source, settings, out)
    test = datasets.load_test(source, input_size=settings["input_size"])
    if test is None:
        count = len(data) // SHARE
        if count == 0:
            raise SpeeDiffValueError(f"{source} must hold at least {SHARE} images, got {len(data)}")
        order = np.argsort(random_bits(SEED, 0, KEPT_BACK, len(data)), kind="stable")
        return data.part(np.sort(order[count:])), data.part(order[:count])
    if settings["unconditional"]:
        test = test.without_labels()
    if (test.num_classes or 0) > (data.num_classes or 0) or test.values.shape[1:] != data.values.shape[1:]:
        raise SpeeDiffValueError(
            f"test images of {source} must have the shape and classes of its training images"
        )
    return data, test


class ValidationSet:
    """Noised images for measuring a network's noise prediction.

    Image i of n gets the timestep at (i+½)/n of the schedule. This even spread gives each area its share.
    Images and noise are fixed.
    """

    def __init__(self, data: Dataset, schedule: NoiseSchedule, prediction: str, count: int) -> None:
        """Chooses the images.

        Args:
            data: The validation data; never the training data.
            schedule: Defines the timesteps and the areas.
            prediction: What the network predicts.
            count: At most this many images.
        """
        self.process: Process = make_process(schedule, "", None, None)
        self._prediction = prediction
        n = min(count, len(data))
        self._x, self._y = data.batch(permutation(SEED, 0, len(data))[:n])
        self._t = (np.arange(n) * schedule.steps + schedule.steps // 2) // n
        self._noise = normal(SEED, 0, NOISE, self._x.shape)
        self._signal, self._scale = _coefficients(schedule, prediction, self._t)

    def __len__(self) -> int:
        return len(self._t)

    def measure(self, trainer: Trainer, batch_size: int) -> tuple[float | None, ...]:
        """The mean squared error in ε of the EMA weights, unweighted: over all of T, and in each area.

        Args:
            trainer: The trainer of the network.
            batch_size: Images per forward pass.

        Returns:
            One number per column of `COLUMNS`; None for an area without steps.
        """
        errors = np.concatenate(
            [
                self._errors(trainer, slice(begin, begin + batch_size))
                for begin in range(0, len(self), batch_size)
            ]
        )
        areas = [errors[(self._t >= area.first - 1) & (self._t < area.last)] for area in self.process.areas]
        return tuple(float(part.mean()) if len(part) else None for part in (errors, *areas))

    def _errors(self, trainer: Trainer, part: slice) -> np.ndarray[Any, np.dtype[np.float64]]:
        signal, scale = self._signal[part], self._scale[part]
        x, noise = self._x[part], self._noise[part]
        noisy = signal * x + scale * noise
        labels = None if self._y is None else self._y[part]
        output = trainer.forward(noisy, self._t[part], labels, ema=True)[:, : x.shape[1]]
        seen = _noise_seen(self._prediction, output.astype(np.float64), noisy, signal, scale)
        return np.asarray(np.square(seen - noise).mean(axis=(1, 2, 3)))


def _noise_seen(prediction: str, output: Any, noisy: Any, signal: Any, scale: Any) -> Any:
    """Converts a network's prediction to ε."""
    if prediction == "epsilon":
        return output
    if prediction == "sample":
        return (noisy - signal * output) / scale
    if prediction == "v":
        return signal * output + scale * noisy
    return noisy + signal * output  # flow: x_t = (1-σ)·x₀ + σ·ε and u = ε - x₀.


def _coefficients(schedule: NoiseSchedule, prediction: str, t: Any) -> tuple[Floats, Floats]:
    """The factors of x₀ and ε in x_t, shape (n, 1, 1, 1)."""
    alphas_cumprod = schedule.alphas_cumprod[t]
    signal, scale = np.sqrt(alphas_cumprod), np.sqrt(1 - alphas_cumprod)
    if prediction == "flow":  # The point of the straight path with the same signal-to-noise ratio.
        signal, scale = signal / (signal + scale), scale / (signal + scale)
    shape = (-1, 1, 1, 1)
    return signal.reshape(shape).astype(np.float32), scale.reshape(shape).astype(np.float32)
