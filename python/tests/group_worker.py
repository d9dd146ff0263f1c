"""What each rank of test_distributed_engines.py runs.

group_worker.py TASK; every rank prints a line when it is done.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import speediff
from speediff import distributed


def talk(group: distributed.Group) -> None:
    """All kinds of messages, short and long, and errors after which all go on."""
    ranks = group.world_size
    for size in (0, 1, 100, 1000, 1_000_000):
        own = np.full(size * (group.rank + 1), group.rank, np.int64)
        for rank, array in enumerate(group.gather(own)):
            assert array.shape == (size * (rank + 1),)
            assert (array == rank).all()
        array = np.full(size, 10.0**group.rank, np.float32)
        group.sum(array)
        assert (array == sum(10.0**rank for rank in range(ranks))).all()
        assert group.any(group.rank == ranks - 1)
        assert not group.any(False)
        with pytest.raises(speediff.SpeeDiffValueError, match=f"1 on rank {ranks - 1}") as caught:
            group.agree({"size": size, "rank": group.rank // (ranks - 1)})
        assert caught.value.on_all_ranks
    assert group.threads() == 1  # As OMP_NUM_THREADS says.
    with pytest.raises(speediff.SpeeDiffValueError, match="entries 0 on rank 0, 1 on rank 1"):
        group.sum(np.zeros(group.rank, np.float32))
    if group.rank == 1:
        sys.exit()  # One that leaves in good order does not disturb the others.
    time.sleep(0.5)


def die(group: distributed.Group, how: signal.Signals = signal.SIGKILL) -> None:
    """One rank is killed, and the others wait for it."""
    group.any(False)
    if group.rank == 1:
        os.kill(os.getpid(), how)
    with pytest.raises(speediff.SpeeDiffGroupError) as caught:
        group.any(False)
    assert not caught.value.on_all_ranks
    # In one piece, which nobody else's can get into.
    sys.stdout.write(f"rank {group.rank}: {caught.value}\n")
    sys.stdout.flush()
    sys.exit(3)


def hang(group: distributed.Group) -> None:
    """One rank stops answering."""
    die(group, signal.SIGSTOP)


def fail(group: distributed.Group) -> None:
    """One rank has an error that is nobody else's."""
    group.any(False)
    if group.rank == 1:
        raise ZeroDivisionError("of rank 1 alone")
    group.any(False)


def page(group: distributed.Group) -> None:
    """The examples of docs/distributed.md; then that the ranks are the same."""
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    trainer = names["trainer"]
    assert (trainer.global_step, trainer.group.world_size) == (6, group.world_size)
    group.agree({"parameters": trainer.flat_parameters.tobytes().hex(), "threads": trainer.threads})


def beside(group: distributed.Group) -> None:
    """The program has a process group of its own, which stays as it was."""
    import torch.distributed as dist

    assert (group.engine, group.rank, group.world_size) == ("gloo", dist.get_rank(), 2)
    assert group.any(group.rank == 0)
    group.close()
    group.close()
    assert dist.is_initialized()
    dist.barrier()
    dist.destroy_process_group()


PAGE = Path(__file__).resolve().parents[2] / "docs" / "distributed.md"
TASKS = {task.__name__: task for task in (talk, die, hang, fail, page, beside)}

if __name__ == "__main__":
    name = sys.argv[1]
    if name == "beside":
        import torch.distributed

        torch.distributed.init_process_group("gloo")
    with distributed.gloo(timeout=3) if name == "hang" else distributed.current() as group:
        TASKS[name](group)
    sys.stdout.write("done\n")
