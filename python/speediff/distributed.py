"""The processes that share each training step: who they are, and what they tell each other.

group = speediff.distributed.current()          # as torchrun or mpirun started them; else one process
trainer = speediff.Trainer("DiT-S/2", sampler, group=group)
loss = trainer.step(x, y)                       # x, y: this process's part of the global batch
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _arguments, _launchers
from ._group import Group

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm

__all__ = ["ENGINES", "Group", "current", "gloo", "mpi", "one"]

ENGINES = ("one", "gloo", "mpi")
"""What carries messages between processes: nothing, `torch.distributed`, or mpi4py."""
TIMEOUT = 1800.0
"""How long gloo waits for another process, in seconds, unless told otherwise: as long as in PyTorch."""


def current(engine: str | None = None) -> Group:
    """The processes that were started together; each of them makes this call.

    Args:
        engine: "one", "gloo" or "mpi". None: "gloo" where `torch.distributed` is initialized, or `torchrun`
            (whoever sets RANK, WORLD_SIZE and MASTER_ADDR) started several; "mpi" where an `mpirun` did;
            else "one".

    Raises:
        SpeeDiffError: If a package is missing; it tells how to install it.
        SpeeDiffGroupError: If the processes do not find each other.
        SpeeDiffValueError: If mpi4py is of another MPI than the `mpirun`.
    """
    if engine is not None:
        _arguments.choice("engine", engine, ENGINES)
    return {"one": one, "gloo": gloo, "mpi": mpi}[engine or _launchers.engine()]()


def one() -> Group:
    """This process alone."""
    return _Alone(0, 1, "one")


def gloo(*, timeout: float = TIMEOUT) -> Group:
    """The processes of `torch.distributed`, which talk by its engine gloo.

    If it is not initialized it becomes so, for the environment that `torchrun` sets, until `close()`.
    Otherwise messages have a process group of their own beside those of the program.

    Args:
        timeout: Seconds, positive. A process that hangs for longer is an error on the others; one that ends
            is so at once.
    """
    from . import _extras

    _extras.load("torch", "gloo", install="torch")
    from .torch._gloo_group import GlooGroup

    return GlooGroup(timeout)


def mpi(communicator: Intracomm | None = None) -> Group:
    """The processes of an `mpirun`, which talk by mpi4py.

    Args:
        communicator: mpi4py's, for a part of them; None: COMM_WORLD. It is duplicated.
    """
    from ._mpi_group import MPIGroup

    return MPIGroup(communicator)


class _Alone(Group):
    """One process, which has nobody to talk to."""

    def _gather(self, message: bytes) -> list[bytes]:
        return [message]

    def _sum(self, array: object) -> None:
        """The sum of one array is the array."""

    def close(self) -> None:
        """Nothing."""

    def _leave_with_error(self) -> None:
        """Nobody waits."""
