"""Processes that communicate through mpi4py."""

from __future__ import annotations

import atexit
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .._support import extras
from ..errors import SpeeDiffError, SpeeDiffGroupError, SpeeDiffTypeError, SpeeDiffValueError
from . import launchers
from .group import Group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .group import Floats


class MPIGroup(Group):
    """The processes of a communicator."""

    def __init__(self, communicator: Any = None) -> None:
        try:
            self._mpi: Any = extras.load("mpi4py.MPI", "mpirun", install="speediff[mpi]")
        except RuntimeError as error:
            if isinstance(error, SpeeDiffError):
                raise
            raise SpeeDiffGroupError(f"mpi4py must find an MPI library: {error}") from None
        if communicator is None:
            communicator = self._mpi.COMM_WORLD
            _check_launcher(communicator.Get_size())
        elif not isinstance(communicator, self._mpi.Intracomm):
            raise SpeeDiffTypeError(f"communicator must be one of mpi4py, got {communicator!r}")
        with self._telling():
            # A duplicate keeps this group's messages apart from the program's.
            self._communicator = communicator.Dup()
        super().__init__(communicator.Get_rank(), communicator.Get_size(), "mpi")

    def _gather(self, message: bytes) -> list[bytes]:
        with self._telling():
            return list(self._communicator.allgather(message))

    def _sum(self, array: Floats) -> None:
        with self._telling():
            self._communicator.Allreduce(self._mpi.IN_PLACE, array, op=self._mpi.SUM)

    def close(self) -> None:
        """Does nothing: MPI ends with the process."""

    def _leave_with_error(self) -> None:
        # At exit a process waits for all others, and they may be waiting for it. So abort them, but only
        # after the error has been printed.
        atexit.register(self._communicator.Abort, 1)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except self._mpi.Exception as error:
            raise SpeeDiffGroupError(f"MPI must reach all ranks, got {error}") from error


def _check_launcher(found: int) -> None:
    """Rejects an mpirun of another MPI: each process would believe that it is alone."""
    started = launchers.mpi_size()
    if started > 1 and found == 1:
        raise SpeeDiffValueError(
            f"mpi4py must use the MPI whose mpirun started these {started} processes, got one that finds no "
            "other process; use the mpirun of mpi4py's own MPI, or install mpi4py for this MPI"
        )
