"""Draws as a PyTorch operator, so that `torch.compile` traces them.

The operator looks up its sampler by number. It counts calls in a tensor that it mutates. This keeps the
compiler from merging or reordering draws.
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
    """A sampler's representation in a graph."""

    number: int
    calls: torch.Tensor
    """int64 (1,)."""


def register(sampler: _OnTensors[Any]) -> Token:
    """Registers a sampler with the operator for its lifetime."""
    number = next(_numbers)
    _samplers[number] = sampler
    return Token(number, torch.zeros(1, dtype=torch.int64))


def draw(
    sampler: _OnTensors[Any], batch_size: int, device: torch.device | str | int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws the next batch within a graph."""
    token = sampler._token
    place = torch.device("cpu" if device is None else device)
    t, w = _draw(token.calls, token.number, batch_size, place, sampler._level_dtype)
    return t, w


# PyTorch 2.4 cannot infer a schema from string annotations, which this package uses throughout.
_TAKEN = "Tensor(a0!) calls, SymInt number, SymInt batch_size, Device device, ScalarType dtype"
_SCHEMA = f"({_TAKEN}) -> (Tensor, Tensor)"


@torch.library.custom_op("speediff::draw", mutates_args=("calls",), schema=_SCHEMA)
def _draw(
    calls: torch.Tensor, number: int, batch_size: int, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    t, w = _samplers[number].sample(batch_size, device)
    calls += 1
    # Rows of a block may share storage, but an operator's results must not.
    return t.clone(), w.clone()


@_draw.register_fake
def _(
    calls: torch.Tensor, number: int, batch_size: int, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty(batch_size, dtype=dtype, device=device), torch.empty(batch_size, device=device)
