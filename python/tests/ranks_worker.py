"""What each rank of test_ranks.py runs: every method, with losses that depend on time step and call alone.

torchrun --standalone --nproc-per-node 2 ranks_worker.py FOLDER whole|killed|resumed
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed

import speediff
import speediff.torch

STEPS, SAVED, LOCAL, ACCUMULATION = 200, 100, 16, 2
"""Calls of a whole run, calls before the state is saved, local batch, and calls per training step."""


def losses(t: torch.Tensor, call: int) -> torch.Tensor:
    """A loss that falls with noise and wanders in time."""
    level = t.double() / 128
    return (torch.exp(-4 * level) * (1 + 0.5 * torch.sin(call + 40 * level))).float()


def make(kind: str, name: str) -> speediff.torch.TimestepSampler:
    """The sampler of a method, whatever the number of ranks."""
    schedule = speediff.NoiseSchedule.linear(128)
    methods = {kind: name}
    return speediff.torch.TimestepSampler(
        schedule, prediction="v", seed=3, accumulation=ACCUMULATION, **methods
    )


def run(folder: Path, mode: str, kind: str, name: str, local: int) -> None:
    """Trains for as many calls as the mode says, and writes down what was drawn."""
    sampler = make(kind, name)
    state = folder / f"{kind}.{name}.state"
    first = 0
    if mode == "resumed":
        sampler.load_state_dict(torch.load(state, weights_only=True))
        first = SAVED
    drawn = []
    for call in range(first, STEPS):
        if call == SAVED and mode == "killed":
            if torch.distributed.get_rank() == 0:
                torch.save(sampler.state_dict(), state)
            # The rest of this run is lost.
            sampler.sample(local)
            return
        t, w = sampler.sample(local)
        drawn.append((t.numpy(), w.numpy()))
        if sampler.learns:
            sampler.update(t, losses(t, call))
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    np.savez(
        folder / f"{mode}.{kind}.{name}.{rank}.npz",
        t=np.stack([t for t, _ in drawn]),
        w=np.stack([w for _, w in drawn]),
        probabilities=sampler.probabilities,
        weights=sampler.weights,
        history=np.frombuffer((sampler.state_dict()["history"] or "").encode(), np.uint8),
    )


def main() -> None:
    """Runs every method."""
    folder, mode = Path(sys.argv[1]), sys.argv[2]
    torch.distributed.init_process_group("gloo")
    for method in speediff.methods():
        if method.cls:
            run(folder, mode, method.kind, method.name, LOCAL)
    torch.distributed.barrier()
    if mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
