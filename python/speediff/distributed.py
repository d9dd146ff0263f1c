"""Groups of processes that share each training step, and how they communicate.

group = speediff.distributed.current()          # as torchrun or mpirun started them; else one process
trainer = speediff.Trainer("DiT-S/2", sampler, group=group)
loss = trainer.step(x, y)                       # x, y: this process's part of the global batch
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._distributed import launchers
from ._distributed.group import Group
from ._support import arguments

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm

__all__ = ["ENGINES", "Group", "current", "gloo", "mpi", "one"]

ENGINES = ("one", "gloo", "mpi")
"""How processes communicate: not at all, by `torch.distributed`, or by mpi4py."""
TIMEOUT = 1800.0
"""gloo's default timeout in seconds, the same as PyTorch's."""


def current(engine: str | None = None) -> Group:
    """The group of processes that were started together. Every one of them must call this.

    Args:
        engine: "one", "gloo" or "mpi". None chooses "gloo" if `torch.distributed` is initialized, or if
            `torchrun` (anything that sets RANK, WORLD_SIZE and MASTER_ADDR) started several processes;
            "mpi" if an `mpirun` did; otherwise "one".

    Raises:
        SpeeDiffError: If a package is missing. The message says how to install it.
        SpeeDiffGroupError: If the processes do not find each other.
        SpeeDiffValueError: If mpi4py was built for another MPI than that of the `mpirun`.
    """
    if engine is not None:
        arguments.choice("engine", engine, ENGINES)
    return {"one": one, "gloo": gloo, "mpi": mpi}[engine or launchers.engine()]()


def one() -> Group:
    """A group of this process alone."""
    return _Alone(0, 1, "one")


def gloo(*, timeout: float = TIMEOUT) -> Group:
    """The processes of `torch.distributed`, with its gloo backend.

    If `torch.distributed` is not initialized, this initializes it from the environment that `torchrun` sets,
    until `close()`. Otherwise it makes a process group of its own, beside those of the program.

    Args:
        timeout: In seconds, positive. If a process hangs for longer, the others raise an error. If one ends,
            they raise it at once.
    """
    from ._support import extras

    extras.load("torch", "gloo", install="torch")
    from .torch._gloo_group import GlooGroup

    return GlooGroup(timeout)


def mpi(communicator: Intracomm | None = None) -> Group:
    """The processes of an `mpirun`, with mpi4py.

    Args:
        communicator: An mpi4py communicator, for some of the processes. None: COMM_WORLD. It is duplicated.
    """
    from ._distributed.mpi_group import MPIGroup

    return MPIGroup(communicator)


class _Alone(Group):
    """A single process, which has no others to communicate with."""

    def _gather(self, message: bytes) -> list[bytes]:
        return [message]

    def _sum(self, array: object) -> None:
        """The sum of one array is the array."""

    def close(self) -> None:
        """There is nothing to close."""

    def _leave_with_error(self) -> None:
        """Nobody waits."""
