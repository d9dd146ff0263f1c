"""Draws as an operator of PyTorch, so that `torch.compile` takes them into its graph.

The operator finds its sampler by a number. It counts its calls in a tensor, which it changes: that keeps the
compiler from merging two draws, or moving one before another.
"""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from ._samplers import _OnTensors

_samplers: weakref.WeakValueDictionary[int, _OnTensors[Any]] = weakref.WeakValueDictionary()
_numbers = itertools.count()


class Token(NamedTuple):
    """What stands for a sampler in a graph."""

    number: int
    calls: torch.Tensor
    """int64 (1,)."""


def register(sampler: _OnTensors[Any]) -> Token:
    """Makes a sampler known to the operator, for as long as it lives."""
    number = next(_numbers)
    _samplers[number] = sampler
    return Token(number, torch.zeros(1, dtype=torch.int64))


def draw(
    sampler: _OnTensors[Any], batch_size: int, device: torch.device | str | int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The next batch, from within a graph."""
    token = sampler._token
    place = torch.device("cpu" if device is None else device)
    t, w = _draw(token.calls, token.number, batch_size, place, sampler._level_dtype)
    return t, w


# PyTorch 2.4 cannot infer a schema from annotations that are strings, as all are in this package.
_TAKEN = "Tensor(a0!) calls, SymInt number, SymInt batch_size, Device device, ScalarType dtype"
_SCHEMA = f"({_TAKEN}) -> (Tensor, Tensor)"


@torch.library.custom_op("speediff::draw", mutates_args=("calls",), schema=_SCHEMA)
def _draw(
    calls: torch.Tensor, number: int, batch_size: int, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    t, w = _samplers[number].sample(batch_size, device)
    calls += 1
    # The rows of a block may share storage, which an operator's results must not.
    return t.clone(), w.clone()


@_draw.register_fake
def _(
    calls: torch.Tensor, number: int, batch_size: int, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty(batch_size, dtype=dtype, device=device), torch.empty(batch_size, device=device)
