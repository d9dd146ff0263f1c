"""Collective operations of processes that share a run, independent of the transport."""

from __future__ import annotations

import itertools
import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .. import errors
from .._native import buffers
from .._support import arguments
from . import agreement, processors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from typing_extensions import Self

    Floats = NDArray[np.float32]

Result = TypeVar("Result")
Problem = TypeVar("Problem", bound=errors.SpeeDiffError)

TELLABLE = (errors.SpeeDiffError, OSError, MemoryError)
"""Errors of the work rather than of the program. If one rank raises one, all ranks raise."""


class Group(ABC):
    """The processes that share each training step. `speediff.distributed` makes it.

    All ranks must call every communicating method, in the same order. An invalid argument on one rank raises
    on all ranks, and they can continue afterwards. As a context manager the group closes itself. If one rank
    leaves it with an error of its own, the others raise one too.
    """

    def __init__(self, rank: int, world_size: int, engine: str) -> None:
        self.rank = rank
        """The number of this process, counted from 0."""
        self.world_size = world_size
        """The number of processes."""
        self.engine = engine
        """The transport: "one", "gloo" or "mpi"."""

    @abstractmethod
    def _gather(self, message: bytes) -> list[bytes]:
        """Every rank's message, in rank order."""

    @abstractmethod
    def _sum(self, array: Floats) -> None:
        """Sums the ranks' arrays in place. They are contiguous and of equal size."""

    def part(self, count: int) -> slice:
        """This rank's slice of a global batch. Slices are contiguous and in rank order.

        Args:
            count: The entries of the global batch, at least 0. Slice sizes differ by at most one;
                with fewer entries than ranks some are empty.
        """
        count = arguments.integer("count", count, least=0)
        return slice(*self._ends(count)[self.rank : self.rank + 2])

    def parts(self, count: int) -> list[int]:
        """The size of each rank's `part` of a global batch."""
        return [end - begin for begin, end in itertools.pairwise(self._ends(count))]

    def _ends(self, count: int) -> list[int]:
        return [rank * count // self.world_size for rank in range(self.world_size + 1)]

    def sum(self, array: Floats) -> None:
        """Sums the arrays of all ranks in place.

        A training step needs only one sum, of `trainer.flat_gradients` between `backward` and `apply`.

        Args:
            array: float32, contiguous and writable, with the same number of entries on every rank.
        """

        def checked() -> dict[str, Any]:
            shape = getattr(array, "shape", ())
            if not buffers.check_shape("array", array, np.float32, shape).flags.writeable:
                raise errors.SpeeDiffValueError("array must be writable, got a read-only one")
            return {"entries": array.size}

        self._agree("sum", checked)
        self._sum(array)

    def gather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Returns the arrays of all ranks, in rank order, on every rank. Shapes and dtypes may differ.

        Args:
            array: Of integers, floats or bools.
        """

        def packed() -> bytes:
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
                raise errors.SpeeDiffTypeError(f"array must be a NumPy array of numbers, got {array!r:.80}")
            return json.dumps([array.dtype.str, array.shape]).encode() + b"\n" + array.tobytes()

        return [_unpacked(message) for message in self._exchange("gather", packed)]

    def any(self, flag: bool) -> bool:
        """Whether a flag is set on at least one rank."""
        return b"1" in self._exchange("any", lambda: b"1" if arguments.flag("flag", flag) else b"0")

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Checks that all ranks have the same values.

        Args:
            facts: JSON values by name; nested dicts are compared entry by entry.

        Raises:
            SpeeDiffValueError: On all ranks, if something differs. The error lists every difference with its
                values and ranks.
        """
        self._agree("agree", lambda: facts)

    def together(self, task: str, work: Callable[[], Result]) -> Result:
        """Runs `work` on every rank and waits for all. An error on one rank raises on all.

        Args:
            task: The name of the work, the same on all ranks.
            work: The work. It may communicate.

        Returns:
            The result of the work.
        """
        if self.world_size == 1:
            return work()
        results: list[Result] = []

        def worked() -> bytes:
            results.append(work())
            return b""

        self._exchange(task, worked)
        return results[0]

    def threads(self) -> int | None:
        """The number of threads for this process. Processors shared with other processes are divided.

        None for a single process, which may use all processors.
        """
        if self.world_size == 1:
            return None
        messages = self._exchange("threads", lambda: json.dumps(processors.available()).encode())
        return processors.share([json.loads(message) for message in messages], self.rank)

    @abstractmethod
    def close(self) -> None:
        """Ends the communication without waiting for other ranks. Calling it again does nothing."""

    @abstractmethod
    def _leave_with_error(self) -> None:
        """Ends the other processes, which may be waiting for this one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        left_well = error is None or (isinstance(error, SystemExit) and not error.code)
        if self.world_size > 1 and not (left_well or is_on_all(error)):
            self._leave_with_error()
        self.close()

    def _agree(self, task: str, facts: Callable[[], Mapping[str, Any]]) -> None:
        messages = self._exchange(task, lambda: json.dumps(facts(), default=str).encode())
        differences = agreement.differences([json.loads(message) for message in messages])
        if differences:
            raise on_all(errors.SpeeDiffValueError(f"all ranks must agree, got {'; '.join(differences)}"))

    def _exchange(self, task: str, work: Callable[[], bytes]) -> list[bytes]:
        """Returns the messages of `work` from all ranks, in rank order; raises on all ranks if one fails.

        Each message names its task. So ranks that do different things raise an error instead of mixing up
        messages.
        """
        own: BaseException | None = None
        payload, failure = b"", None
        try:
            payload = work()
        except TELLABLE as error:
            if is_on_all(error):
                raise  # The work itself raised on all ranks.
            own, failure = error, [_class_name(error), agreement.text_of(error)]
        if self.world_size == 1:
            if own is not None:
                raise own
            return [payload]
        header = json.dumps({"task": task, "failure": failure}).encode()
        headers, payloads = [], []
        for message in self._gather(header + b"\n" + payload):
            first, _, rest = message.partition(b"\n")
            headers.append(json.loads(first))
            payloads.append(rest)
        failures = [header["failure"] for header in headers]
        if any(failures):
            name = next(failure[0] for failure in failures if failure)
            texts = [failure and failure[1] for failure in failures]
            raise on_all(getattr(errors, name)(agreement.told(texts))) from own
        tasks = agreement.by_rank([header["task"] for header in headers])
        if len(tasks) > 1:
            doing = "; ".join(f"{task!r} on {ranks}" for task, ranks in tasks)
            raise on_all(errors.SpeeDiffGroupError(f"all ranks must do the same at a time, got {doing}"))
        return payloads


def on_all(error: Problem) -> Problem:
    """Marks an error that all ranks raise."""
    error.on_all_ranks = True
    return error


def is_on_all(error: BaseException | None) -> bool:
    """Whether all ranks raise the error."""
    return getattr(error, "on_all_ranks", False) is True


def _class_name(error: BaseException) -> str:
    """The exception class of this package that other ranks raise for an error."""
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__]
    if names:
        return names[0]
    return "SpeeDiffFileError" if isinstance(error, OSError) else "SpeeDiffMemoryError"


def _unpacked(message: bytes) -> NDArray[Any]:
    header, _, data = message.partition(b"\n")
    dtype, shape = json.loads(header)
    array: NDArray[Any] = np.frombuffer(data, np.dtype(dtype)).reshape(shape).copy()
    return array
