"""What every training example shares: its flags, its processes, and a stop between two steps.

Data and randomness are in ``data.py``, checkpoints in ``checkpoint.py``, validation loss and
samples in ``evaluation.py``, files and pictures in ``report.py``.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import data
import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType


def integer(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """An argparse type: an integer in [minimum, maximum]."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be an integer, got {text!r}") from None
        if value < minimum or (maximum is not None and value > maximum):
            bounds = f"at least {minimum}" if maximum is None else f"in [{minimum}, {maximum}]"
            raise argparse.ArgumentTypeError(f"must be {bounds}, got {value}")
        return value

    return convert


def real(minimum: float, below: float = math.inf, *, open_: bool = False) -> Callable[[str], float]:
    """An argparse type: a number in [minimum, below), or in (minimum, below) if ``open_``."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None
        if not minimum <= value < below or (open_ and value == minimum):  # NaN fails, too
            interval = f"{'(' if open_ else '['}{minimum:g}, {below:g})"
            raise argparse.ArgumentTypeError(f"must be in {interval}, got {text}")
        return value

    return convert


def flags(description: str | None, methods: Sequence[str]) -> argparse.ArgumentParser:
    """The flags common to every example; an example adds its own, then calls :func:`parse`."""

    class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
        def _get_help_string(self, action: argparse.Action) -> str | None:
            return super()._get_help_string(action) if action.default else action.help

    parser = argparse.ArgumentParser(description=description, formatter_class=Formatter)
    add = parser.add_argument_group("run").add_argument
    add("--method", choices=methods, default="speed", help="chooses time steps and loss weights")
    add("--steps", type=integer(1), default=2500, metavar="N", help="optimizer steps in all")
    add("--out", type=Path, metavar="DIR", help="where everything is written")
    add("--resume", action="store_true", help="continue the checkpoint in --out, if there is one")
    add("--tiny", action="store_true", help="small defaults: a quick test of everything")
    add("--seed", type=integer(0, 2**63 - 1), default=0, metavar="N", help="of all randomness")
    add("--checkpoint-every", type=integer(1), default=250, metavar="N", help="steps")
    add("--data", type=Path, default=data.FOLDER, metavar="DIR", help="Fashion-MNIST's idx.gz files")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto is cuda if it is there")
    add("--threads", type=integer(1), metavar="N", help="per process (default: a share of the cores)")
    add = parser.add_argument_group("training").add_argument
    add("--batch-size", type=integer(1), default=32, metavar="N", help="of all processes together")
    add("--lr", type=real(0, open_=True), default=5e-3, metavar="X", help="AdamW's, at its highest")
    add("--ema-decay", type=real(0, 1), default=0.999, metavar="X", help="smaller at the start")
    add("--label-dropout", type=real(0, 1), default=0.1, metavar="X", help="trains guidance")
    add = parser.add_argument_group("results").add_argument
    add("--sample-steps", type=integer(1, 1000), default=50, metavar="N", help="per sample")
    add("--cfg-scale", type=real(0), default=2.0, metavar="X", help="guidance; 1 is none")
    add("--columns", type=integer(1), default=10, metavar="N", help="samples per class")
    add("--validation-images", type=integer(3, 10_000), default=2000, metavar="N", help="of 10,000")
    return parser


def parse(parser: argparse.ArgumentParser, tiny: dict[str, Any]) -> argparse.Namespace:
    """Parse the command line; ``--tiny`` only changes defaults, so explicit flags still win."""
    if parser.parse_known_args()[0].tiny:
        parser.set_defaults(**tiny)
    args = parser.parse_args()
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if args.batch_size % world_size:
        parser.error(
            f"argument --batch-size: must be a multiple of the {world_size} processes, got {args.batch_size}"
        )
    if not data.is_present(args.data):
        parser.error(
            f"no Fashion-MNIST in {args.data}: apt-get install dataset-fashion-mnist, "
            "or name another folder with --data"
        )
    return args


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
