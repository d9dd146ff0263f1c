"""The native trainer, on NumPy arrays, and views of its memory."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import buffers
from . import c_training as c
from .handles import Handle
from .native_network import NativeNetwork

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """Where a parameter lies in each buffer of a trainer."""

    name: str
    shape: tuple[int, ...]
    offset: int


class NativeTrainer(Handle):
    """A `speediff_trainer`."""

    __slots__ = ("places",)

    def __init__(self, create: Any, *arguments: Any) -> None:
        super().__init__(c.trainer_p, create, c.speediff_trainer_destroy, *arguments)
        count = ctypes.c_int64()
        c.speediff_trainer_parameter_count(self.pointer, count)
        self.places = [self._place(index) for index in range(count.value)]

    def _place(self, index: int) -> Place:
        name, rank, offset = ctypes.c_char_p(), ctypes.c_int64(), ctypes.c_int64()
        shape = (ctypes.c_int64 * c.MAXIMUM_RANK)()
        c.speediff_trainer_parameter(self.pointer, index, name, shape, rank, offset)
        return Place((name.value or b"").decode(), tuple(shape[: rank.value]), offset.value)

    def network(self) -> NativeNetwork:
        """The network."""
        return NativeNetwork(c.speediff_trainer_network, self.pointer)

    def options(self) -> c.TrainerOptions:
        """The options as they are now."""
        out = c.TrainerOptions()
        c.speediff_trainer_get_options(self.pointer, out, ctypes.sizeof(out))
        return out

    def global_step(self) -> int:
        """The updates so far."""
        out = ctypes.c_int64()
        c.speediff_trainer_global_step(self.pointer, out)
        return out.value

    def backward(
        self,
        x: Floats,
        y: Integers | None,
        t: Integers | None = None,
        noise: Floats | None = None,
        weights: Floats | None = None,
        masked_noise: Floats | None = None,
        kept: Integers | None = None,
        offset: int = 0,
        total: int = 0,
    ) -> float:
        """Forward and backward of a micro-batch; its objective."""
        loss = ctypes.c_double()
        given = (_address(array) for array in (t, noise, weights, masked_noise, kept))
        kept_count = 0 if kept is None else kept.shape[1]
        size = ctypes.sizeof(c.TrainingBatch)
        batch = c.TrainingBatch(size, _address(x), _address(y), len(x), *given, kept_count, offset, total)
        c.speediff_trainer_backward(self.pointer, batch, loss)
        return loss.value

    def set_global_step(self, step: int) -> None:
        """Sets the updates so far."""
        c.speediff_trainer_set_global_step(self.pointer, step)

    def set_precision(self, precision: int) -> None:
        """Sets the precision of the steps to come."""
        c.speediff_trainer_set_precision(self.pointer, precision)

    def discard(self) -> None:
        """Gives up a step that was begun."""
        c.speediff_trainer_discard(self.pointer)

    def apply(self) -> float:
        """The update; the gradient's norm."""
        norm = ctypes.c_double()
        c.speediff_trainer_apply(self.pointer, norm)
        return norm.value

    def learn(self) -> None:
        """Has the sampler learn from the step that was applied."""
        c.speediff_trainer_learn(self.pointer)

    def last_losses(self) -> tuple[Integers, Floats]:
        """Timesteps and losses of the last micro-batch."""
        count = ctypes.c_int64()
        c.speediff_trainer_last_count(self.pointer, count)
        t, losses = np.empty(count.value, np.int64), np.empty(count.value, np.float32)
        c.speediff_trainer_last_losses(
            self.pointer, buffers.output_pointer(t), buffers.output_pointer(losses), count.value
        )
        return t, losses

    def forward(self, x: Floats, t: Floats, y: Integers | None, ema: bool, out: Floats) -> None:
        """The network alone."""
        result = buffers.output_pointer(out.reshape(-1))
        c.speediff_trainer_forward(self.pointer, _pointer(x), _pointer(t), _pointer(y), len(x), ema, result)

    def generate(
        self,
        labels: Integers | None,
        seeds: NDArray[np.uint64],
        options: c.GenerationOptions,
        progress: Any,
        out: Floats,
    ) -> None:
        """Images, one per seed."""
        pointers = _pointer(labels), buffers.input_pointer(seeds), len(seeds), options, progress, None
        c.speediff_trainer_generate(self.pointer, *pointers, buffers.output_pointer(out.reshape(-1)))

    def buffer(self, kind: int) -> Floats:
        """One of the trainer's buffers, as a flat array over its memory, which the array keeps alive."""
        data, count = ctypes.POINTER(ctypes.c_float)(), ctypes.c_int64()
        c.speediff_trainer_buffer(self.pointer, kind, data, count)
        if count.value == 0:
            return np.empty(0, np.float32)
        address = ctypes.cast(data, ctypes.c_void_p).value
        memory: Any = (ctypes.c_float * count.value).from_address(address or 0)
        memory.owner = self
        return np.frombuffer(memory, np.float32)

    def tensors(self, kind: int) -> dict[str, Floats]:
        """A buffer's parameters, by name and in their shapes."""
        memory = self.buffer(kind)
        return {
            place.name: memory[place.offset : place.offset + int(np.prod(place.shape))].reshape(place.shape)
            for place in self.places
        }


_C_POINTERS: dict[str, Any] = {
    "f": ctypes.POINTER(ctypes.c_float),
    "l": ctypes.POINTER(ctypes.c_int64),
    "q": ctypes.POINTER(ctypes.c_int64),
}


def _address(array: NDArray[Any] | None) -> Any:
    """A pointer for the field of a structure."""
    return None if array is None else ctypes.cast(array.ctypes.data, _C_POINTERS[array.dtype.char])


def _pointer(array: NDArray[Any] | None) -> Any:
    return None if array is None else buffers.input_pointer(array)
