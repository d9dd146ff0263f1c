"""The training loop that the examples share: all that does not depend on what is trained.

An example makes its network, its sampler, a function for the batch of a step and one for the loss
of a batch, and hands them to :meth:`Run.train`, in this order::

    with Run(args, "train_dit") as run:
        trained = run.train(model, sampler, make_batch, compute_loss)
    if trained is not None:
        ...                     # validation loss, samples

The noise, flips and masks of a step come from ``make_batch``, as functions of seed, step and place
in the global batch, and none from the network: then a run can be resumed to the bit, and does not
depend on the number of its processes.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import checkpoint
import common
import torch
from processes import Processes, StopRequest
from report import LossCurve
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from speediff import SpeeDiffError
from speediff.torch import adopt

if TYPE_CHECKING:
    import argparse
    from types import TracebackType

    from speediff.torch import Adoption, SigmaSampler, TimestepSampler

WARM_UP_STEPS, FULL_LR_STEPS = 100, 300

MakeBatch = Callable[[int], Sequence[Tensor]]
"""The tensors of this process's part of the global batch of a step."""
ComputeLoss = Callable[..., Tensor]
"""The mean weighted loss, of the network and the tensors of a batch, which are on its device."""
SwiftLoss = Callable[..., float]
"""The same of an adopted network, of which it also takes the gradient."""
TakeStep = Callable[[Sequence[Tensor]], Tensor]
"""One step with a batch; its loss."""


@dataclass(frozen=True)
class Trained:
    """What a whole training gives."""

    network: torch.nn.Module
    """The one with the EMA weights, in evaluation mode."""
    curve: LossCurve
    images_per_second: float


class Run:
    """One run of an example: its processes, its folder, its checkpoint.

    The ``with`` block turns a mistake of the user's into one line, and Ctrl-C into a checkpoint.
    """

    def __init__(self, args: argparse.Namespace, script: str) -> None:
        """Join the processes, and seed PyTorch.

        Args:
            args: Those of :func:`common.parse`.
            script: The name of the example.
        """
        self.args, self.script = args, script
        self.processes = Processes.join(args.device, args.threads)
        self._stop = StopRequest()
        self._path = args.out / "checkpoint.pt"
        torch.manual_seed(args.seed)

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.processes.device

    @property
    def part(self) -> slice:
        """This process's part of the global batch."""
        return self.processes.part(self.args.batch_size)

    def __enter__(self) -> Run:
        self._stop.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.__exit__()
        self.processes.leave()
        if isinstance(error, (checkpoint.CheckpointError, SpeeDiffError)):
            if self.processes.is_main:
                print(f"{self.script}: {error}", file=sys.stderr)
            raise SystemExit(1) from None

    def train(
        self,
        model: torch.nn.Module,
        sampler: TimestepSampler | SigmaSampler,
        make_batch: MakeBatch,
        compute_loss: ComputeLoss,
        swift_loss: SwiftLoss | None = None,
    ) -> Trained | None:
        """Train up to ``--steps``, from the checkpoint if there is one.

        Args:
            model: On the device of this run.
            sampler: SpeeDiff's; its state is part of the checkpoint.
            make_batch: Gives the tensors of this process's part of the global batch of a step.
            compute_loss: Takes the network (wrapped for several processes) and those tensors, and
                gives the mean weighted loss.
            swift_loss: Takes an adoption of the network instead; if it is given, SpeeDiff's CPU trainer
                trains the network.

        Returns:
            In the main process what was trained; None in the others, and if asked to stop earlier.

        Raises:
            checkpoint.CheckpointError: If a checkpoint in ``--out`` cannot be continued, or is
                there without ``--resume``.
        """
        args = self.args
        args.out.mkdir(parents=True, exist_ok=True)
        state = _State(model, sampler, args)
        start = self._restore(state)
        if swift_loss is None:
            finished = self._steps(state, start, make_batch, self._in_pytorch(state, compute_loss))
        else:
            # ==== SpeeDiff: the network, its average and its AdamW in the hands of the CPU trainer ====
            with adopt(model, state.ema, state.optimizer, sampler) as adoption:
                take_step = self._in_swift(state, adoption, swift_loss)
                finished = self._steps(state, start, make_batch, take_step)
            # ==========================================================================================
        if not finished:
            if self.processes.is_main:
                print(f"Stopped. The same command with --resume continues {args.out}.")
            return None
        rate = args.steps * args.batch_size / state.seconds()
        return Trained(state.ema.module.eval(), state.curve, rate) if self.processes.is_main else None

    def _restore(self, state: _State) -> int:
        """Take up the checkpoint; the number of steps done."""
        if not self._path.exists():
            return 0
        if not self.args.resume:
            raise checkpoint.CheckpointError(f"{self._path} exists: add --resume, or take another --out")
        config = common.config(self.args)
        start, saved = checkpoint.load(self._path, self.script, config, self.args.steps)
        state.load(saved)
        self.processes.restore_rng_state(saved["rng"])
        return start

    def _save(self, state: _State, steps: int) -> None:
        saved = {**state.save(), "rng": self.processes.rng_states()}  # all processes must call this
        if self.processes.is_main:
            checkpoint.save(self._path, self.script, common.config(self.args), steps, saved)

    def _in_pytorch(self, state: _State, compute_loss: ComputeLoss) -> TakeStep:
        model = state.model
        network = DistributedDataParallel(model) if self.processes.world_size > 1 else model

        def take_step(batch: Sequence[Tensor]) -> Tensor:
            loss = compute_loss(network, *batch)
            state.optimizer.zero_grad()
            loss.backward()
            state.optimizer.step()
            state.ema.update_parameters(model)
            return loss

        return take_step

    def _in_swift(self, state: _State, adoption: Adoption, swift_loss: SwiftLoss) -> TakeStep:
        def take_step(batch: Sequence[Tensor]) -> Tensor:
            loss = swift_loss(adoption, *batch)
            adoption.apply()
            return torch.tensor(loss)

        return take_step

    def _steps(self, state: _State, start: int, make_batch: MakeBatch, take_step: TakeStep) -> bool:
        """The loop itself; False if asked to stop before the last step."""
        args, processes = self.args, self.processes
        bar = tqdm(total=args.steps, initial=start, unit="step", disable=not processes.is_main)
        with bar:
            for step in range(start, args.steps):
                batch = [tensor.to(self.device) for tensor in make_batch(step)]
                _set_learning_rate(state.optimizer, args.lr, step)
                loss = take_step(batch)
                mean_loss, stopping = processes.agree(loss, self._stop.made)
                if not math.isfinite(mean_loss):
                    raise SystemExit(f"{self.script}: the loss is {mean_loss} at step {step + 1}; lower --lr")
                state.curve.append(mean_loss)
                bar.update()
                rate = args.batch_size * (bar.format_dict["rate"] or 0)
                bar.set_postfix_str(
                    f"loss={state.curve.smoothed[-1]:.4f}, {rate:.0f} images/s", refresh=False
                )
                done = step + 1 == args.steps
                if done or stopping or (step + 1) % args.checkpoint_every == 0:
                    self._save(state, step + 1)
                if stopping and not done:
                    return False
        return True


class _State:
    """All that changes in training, and so is in the checkpoint.

    The order of the data is a function of seed and step, and needs no saving.
    """

    def __init__(
        self, model: torch.nn.Module, sampler: TimestepSampler | SigmaSampler, args: argparse.Namespace
    ) -> None:
        self.model, self.sampler, self.curve = model, sampler, LossCurve()
        self.ema = _average_model(model, args.ema_decay)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.0)
        self._began = time.perf_counter()

    def seconds(self) -> float:
        """The time of training, in earlier runs, too."""
        return time.perf_counter() - self._began

    def save(self) -> dict[str, Any]:
        """Everything, as :meth:`load` takes it."""
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sampler": self.sampler.state_dict(),
            "losses": self.curve.raw,
            "seconds": self.seconds(),
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Continue from there."""
        self.model.load_state_dict(saved["model"])
        self.ema.load_state_dict(saved["ema"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.sampler.load_state_dict(saved["sampler"])
        self.curve = LossCurve(saved["losses"])
        self._began = time.perf_counter() - saved["seconds"]


def _set_learning_rate(optimizer: torch.optim.Optimizer, highest: float, step: int) -> None:
    """Linear warm-up to ``highest``, which then lasts for a while and falls as 1/sqrt(step).

    Unlike a cosine this does not depend on ``--steps``, so that a run can be lengthened.
    """
    factor = min((step + 1) / WARM_UP_STEPS, max(step / FULL_LR_STEPS, 1) ** -0.5)
    for group in optimizer.param_groups:
        group["lr"] = highest * factor


def _average_model(model: torch.nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of the weights, shorter while there are few to average."""

    @torch.no_grad()
    def update(averages: Any, weights: Any, updates: Tensor | int) -> None:
        n = int(updates) + 1  # the number of this one
        torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + n) / (10 + n)))

    return AveragedModel(model, multi_avg_fn=update)
