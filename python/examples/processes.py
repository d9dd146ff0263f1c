"""The processes that share a global batch, and a stop between two steps."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from types import FrameType


@dataclass(frozen=True)
class Processes:
    """This process among those that share a global batch: its rank, their number, its device."""

    rank: int
    world_size: int
    device: torch.device

    @classmethod
    def join(cls, device: str, threads: int) -> Processes:
        """Join the group that torchrun describes in the environment, or be the only process."""

        def from_torchrun(name: str, default: int) -> int:
            return int(os.environ.get(name, default))

        world_size, rank = from_torchrun("WORLD_SIZE", 1), from_torchrun("RANK", 0)
        if device == "cuda" and not torch.cuda.is_available():
            raise SystemExit("--device cuda: PyTorch finds no CUDA device")
        if device != "cpu" and torch.cuda.is_available():
            place = torch.device("cuda", from_torchrun("LOCAL_RANK", 0))
            torch.cuda.set_device(place)
        else:
            place = torch.device("cpu")
        # Half the logical cores: so small a network gains little from more, and threads that must
        # wait for a core which another program holds slow all others down several times over.
        cores = len(os.sched_getaffinity(0))
        share = cores // 2 if world_size == 1 else cores // from_torchrun("LOCAL_WORLD_SIZE", 1)
        torch.set_num_threads(threads or max(1, share))
        if world_size > 1:
            dist.init_process_group("gloo" if place.type == "cpu" else "nccl")
        return cls(rank, world_size, place)

    def leave(self) -> None:
        """Leave the group; each process is on its own from here."""
        if self.world_size > 1:
            dist.destroy_process_group()

    @property
    def is_main(self) -> bool:
        """Whether this is the process that logs, saves and draws."""
        return self.rank == 0

    def part(self, global_batch: int) -> slice:
        """This process's part of a global batch."""
        n = global_batch // self.world_size
        return slice(self.rank * n, (self.rank + 1) * n)

    def agree(self, loss: Tensor, stop: bool) -> tuple[float, bool]:
        """The mean loss of all processes, and whether any was asked to stop.

        The latter makes all of them stop after the same step.
        """
        values = torch.stack([loss.detach().double(), loss.new_tensor(stop, dtype=torch.float64)])
        if self.world_size > 1:
            dist.all_reduce(values)
        losses, stops = values.tolist()
        return losses / self.world_size, stops > 0

    def rng_states(self) -> list[dict[str, Tensor]]:
        """The states of PyTorch's own generators in every process, by rank."""
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        if self.world_size == 1:
            return [state]
        states: list[Any] = [None] * self.world_size
        dist.all_gather_object(states, state)
        return states

    def restore_rng_state(self, states: list[dict[str, Tensor]]) -> None:
        """Take up the state of this rank; a rank that did not exist then starts afresh."""
        if self.rank < len(states):
            torch.set_rng_state(states[self.rank]["cpu"])
            if self.device.type == "cuda" and "cuda" in states[self.rank]:
                torch.cuda.set_rng_state(states[self.rank]["cuda"], self.device)


class StopRequest:
    """In its ``with`` block, Ctrl-C and SIGTERM set :attr:`made` rather than end the process.

    The training loop asks once per step. Repeated signals change nothing: torchrun passes Ctrl-C
    on to processes that the terminal has already told.
    """

    def __init__(self) -> None:
        self.made = False

    def _make(self, number: int, frame: FrameType | None) -> None:
        self.made = True

    def __enter__(self) -> StopRequest:
        self._previous = {n: signal.signal(n, self._make) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
