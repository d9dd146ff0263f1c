"""Detects the launcher and the number of processes from the environment."""

from __future__ import annotations

import os
import sys

from ..errors import SpeeDiffValueError

MPI_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
"""Variables with the number of processes: Open MPI, MPICH and its derivatives, MVAPICH."""
TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR")
"""Variables that `torch.distributed` needs and torchrun sets."""


def engine() -> str:
    """The engine that connects the launched processes: "gloo", "mpi" or "one"."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return "gloo"
    if all(name in os.environ for name in TORCHRUN) and _number("WORLD_SIZE") > 1:
        return "gloo"
    return "mpi" if mpi_size() > 1 else "one"


def by_torchrun() -> bool:
    """Whether torchrun started several processes on this machine."""
    return "TORCHELASTIC_RUN_ID" in os.environ and _number("LOCAL_WORLD_SIZE") > 1


def mpi_size() -> int:
    """The number of processes that mpirun or Slurm's srun launched; otherwise 1."""
    sizes = [_number(name) for name in MPI_SIZES]
    # Slurm also sets its variables in a batch script, which is one process. Only srun sets PMIX_RANK.
    if "PMIX_RANK" in os.environ:
        sizes.append(_number("SLURM_STEP_NUM_TASKS"))
    return max(sizes)


def check_alone(task: str) -> None:
    """Raises if this is one of several launched processes, which would all do the same work."""
    size = max(mpi_size(), _number("WORLD_SIZE") if "RANK" in os.environ else 1)
    if size > 1:
        raise SpeeDiffValueError(
            f"{task} must run in one process, got {size}: start it without torchrun or mpirun"
        )


def _number(name: str) -> int:
    """A variable's number; 1 if it is unset."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else 1
