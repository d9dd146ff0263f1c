"""The decay of an average's updates, as its own class defines it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch

from ...errors import SpeeDiffTypeError, SpeeDiffValueError

if TYPE_CHECKING:
    from torch.optim.swa_utils import AveragedModel


class Decay(ABC):
    """The decay of an average that counts updates: average ← decay·average + (1 - decay)·parameters."""

    @property
    @abstractmethod
    def updates(self) -> int:
        """The number of updates so far."""

    @abstractmethod
    def next(self) -> float:
        """The decay of the next update; 0 if it copies the parameters."""

    @abstractmethod
    def count(self, decay: float) -> None:
        """Counts an update with this decay."""


class OfEMAModel(Decay):
    """The decay of diffusers' `EMAModel`, whose `get_decay` includes its warm-up."""

    def __init__(self, ema: Any) -> None:
        self._ema = ema

    @property
    def updates(self) -> int:
        return int(self._ema.optimization_step)

    def next(self) -> float:
        return float(self._ema.get_decay(self.updates + 1))

    def count(self, decay: float) -> None:
        self._ema.optimization_step += 1
        self._ema.cur_decay_value = decay


class OfAveragedModel(Decay):
    """The decay of `torch.optim.swa_utils.AveragedModel`. Its first update copies; others call a function.

    Evaluates the function on a few numbers for each update, because its decay may depend on their count.
    """

    _AVERAGES = torch.tensor([0.0, 1.0, -3.0], dtype=torch.float64)
    _PARAMETERS = torch.tensor([1.0, 0.0, 5.0], dtype=torch.float64)

    def __init__(self, ema: AveragedModel) -> None:
        """Tests the function.

        Raises:
            SpeeDiffTypeError: If the function is not a weighted mean of both arguments.
        """
        self._ema = ema
        self._try(max(1, self.updates))

    @property
    def updates(self) -> int:
        return int(self._ema.n_averaged)

    def next(self) -> float:
        return self._try(self.updates) if self.updates else 0.0

    def count(self, decay: float) -> None:
        self._ema.n_averaged.add_(1)

    def _try(self, updates: int) -> float:
        average, parameters = self._AVERAGES.clone(), self._PARAMETERS.clone()
        number = torch.tensor(updates)
        several, single = self._ema.multi_avg_fn, self._ema.avg_fn
        with torch.no_grad():
            if several is not None:
                several([average], [parameters], number)
            elif single is not None:
                average = torch.as_tensor(single(average, parameters, number))
            else:
                # Without a function, torch averages all parameters so far.
                average += (parameters - average) / (updates + 1)
        decay = 1 - float(average[0])
        expected = decay * self._AVERAGES + (1 - decay) * self._PARAMETERS
        if average.shape != expected.shape or not torch.allclose(average.double(), expected, atol=1e-6):
            raise SpeeDiffTypeError(
                "ema must be an AveragedModel whose function returns decay·average + (1 - decay)·parameters, "
                "got another function"
            )
        if not 0 <= decay <= 1:
            raise SpeeDiffValueError(f"ema must have decays in [0, 1], got {decay}")
        return decay
