"""Starts the processes of a group as their launchers do, each with a command of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

ENGINES = ("gloo", "mpi")
SECONDS = 120
ROOT_MAY = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
"""Open MPI asks for this where a test runs as root, and where there are fewer processors than ranks."""


def mpirun() -> str:
    """The launcher beside this Python, or in the path; the test is skipped where there is none."""
    pytest.importorskip("mpi4py")
    own = Path(sys.executable).with_name("mpirun")
    found = str(own) if own.exists() else shutil.which("mpirun")
    if found is None:
        pytest.skip("no mpirun")
    return found


def start(engine: str, commands: Sequence[Sequence[str]]) -> list[subprocess.Popen[str]]:
    """Starts the ranks, a command for each, which are this Python's arguments.

    With gloo each is a child of this process, as on as many machines. With MPI there is one child, `mpirun`.
    """
    if engine == "mpi":
        words = [mpirun()]
        for command in commands:
            words += [":"] * (len(words) > 1) + ["-n", "1", sys.executable, *command]
        return [_start(words, ROOT_MAY)]
    if engine == "one":
        return [_start([sys.executable, *command], {}) for command in commands]
    pytest.importorskip("torch")
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = str(place.getsockname()[1])
    # Loopback is there in a container without a network, too.
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    return [
        _start([sys.executable, *command], {**shared, "RANK": str(rank), "WORLD_SIZE": str(len(commands))})
        for rank, command in enumerate(commands)
    ]


def _start(words: list[str], variables: dict[str, str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(processes: Sequence[subprocess.Popen[str]]) -> tuple[list[int], str, str]:
    """The exit codes, and what the processes wrote to stdout and stderr."""
    written = []
    try:
        for process in processes:
            written.append(process.communicate(timeout=SECONDS))
    finally:
        for process in processes:
            process.kill()
    codes = [process.returncode for process in processes]
    return codes, "".join(out for out, _ in written), "".join(err for _, err in written)


def run(engine: str, commands: Sequence[Sequence[str]]) -> tuple[list[int], str, str]:
    """Starts the ranks, and waits for them."""
    return ended(start(engine, commands))


def pids(marker: str) -> dict[int, int]:
    """The processes of the ranks whose command has this word, by rank. The launchers themselves have none."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            variables = dict(
                line.split(b"=", 1) for line in (folder / "environ").read_bytes().split(b"\0") if b"=" in line
            )
        except OSError:
            continue
        ranks = [
            variables[name] for name in (b"PMI_RANK", b"OMPI_COMM_WORLD_RANK", b"RANK") if name in variables
        ]
        if marker.encode() in words and ranks:
            found[int(ranks[0])] = int(folder.name)
    return found
