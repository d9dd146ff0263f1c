"""Who started this process, and with how many others: what the environment says."""

from __future__ import annotations

import os
import sys

from ..errors import SpeeDiffValueError

MPI_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
"""Where Open MPI, MPICH and its relatives, and MVAPICH tell the number of processes."""
TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR")
"""What `torch.distributed` needs, and torchrun sets."""


def engine() -> str:
    """What connects the processes that were started together: "gloo", "mpi", or "one"."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return "gloo"
    if all(name in os.environ for name in TORCHRUN) and _number("WORLD_SIZE") > 1:
        return "gloo"
    return "mpi" if mpi_size() > 1 else "one"


def by_torchrun() -> bool:
    """Whether torchrun has started several processes on this machine."""
    return "TORCHELASTIC_RUN_ID" in os.environ and _number("LOCAL_WORLD_SIZE") > 1


def mpi_size() -> int:
    """How many processes an mpirun, or Slurm's srun, started together; 1 where none did."""
    sizes = [_number(name) for name in MPI_SIZES]
    # Slurm sets its variables also in a batch script, which is one process; PMIX_RANK is srun's alone.
    if "PMIX_RANK" in os.environ:
        sizes.append(_number("SLURM_STEP_NUM_TASKS"))
    return max(sizes)


def check_alone(task: str) -> None:
    """Raises if this process is one of several that would all do the same."""
    size = max(mpi_size(), _number("WORLD_SIZE") if "RANK" in os.environ else 1)
    if size > 1:
        raise SpeeDiffValueError(
            f"{task} must run in one process, got {size}: start it without torchrun or mpirun"
        )


def _number(name: str) -> int:
    """A variable's number; 1 where there is none."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else 1
