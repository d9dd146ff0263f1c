#!/usr/bin/env python3
"""Train a rectified flow on Fashion-MNIST; SpeeDiff chooses noise levels and loss weights.

  python train_flow.py                                 minutes on one CPU core
  python train_flow.py --method uniform                the baseline
  python train_flow.py --method logit_normal           Stable Diffusion 3's sampling
  python train_flow.py --shift 3                       noise levels shifted towards more noise
  python train_flow.py --method 'asymmetric(r=10)'     suppresses more levels than r = 143.5 does

A rectified flow goes straight from noise to image: x_t = (1-σ) x + σ ε. The network learns the
velocity ε - x, and sampling follows it from σ = 1 to 0. The levels are those of diffusers'
FlowMatchEulerDiscreteScheduler, σ = 0.001, 0.002, ..., 1 unless they are shifted.

SpeeD's paper is about DDPM. Here its areas follow from the same signal-to-noise ratio,
((1-σ)/σ)²: the convergence area begins at σ = 0.923 (for r = 143.5), and the process changes
fastest at σ = 0.5. inverse_snr and sigmoid raise an error, because they are undefined at σ = 1,
where no signal is left.

Compare methods by the validation loss: the unweighted velocity MSE at evenly spread σ.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import common

if TYPE_CHECKING:
    import argparse

BANDS = {"sigma<0.5": (0, 0.5), "0.5<=sigma<0.923": (0.5, 0.923), "sigma>=0.923": (0.923, 1.01)}
TINY = {
    "steps": 8, "batch_size": 8, "checkpoint_every": 3, "channels": 8,
    "sample_steps": 3, "columns": 2, "validation_images": 50,
}  # fmt: skip


def parse_arguments() -> argparse.Namespace:
    """The command line; bad values end the program with a message."""
    parser = common.flags(__doc__)
    parser.set_defaults(lr=2e-3, steps=2000)
    add = parser.add_argument_group("model").add_argument
    add("--shift", type=common.real(0, open_=True), default=1.0, metavar="A", help="σ to Aσ/(1+(A-1)σ)")
    add("--channels", type=common.integer(8), default=16, metavar="N", help="channels at 28 x 28; more below")
    args = common.parse(parser, TINY, Path(__file__).stem)
    if args.channels % 8:  # the groups of normalisation
        parser.error(f"argument --channels: must be a multiple of 8, got {args.channels}")
    return args


if __name__ == "__main__":
    ARGUMENTS = parse_arguments()  # before the slow imports, so that --help and mistakes are quick

import numpy as np
import torch
import torch.distributed as dist
from diffusers import FlowMatchEulerDiscreteScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from speediff import SpeeDiffError
from speediff.torch import TimestepSampler, schedule_from


def build_model(args: argparse.Namespace) -> UNet2DModel:
    """A U-Net of three levels, 28, 14 and 7 pixels wide.

    It has no dropout: all randomness of a step is in its batch.
    """
    channels = args.channels
    return UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        block_out_channels=(channels, 2 * channels, 4 * channels),
        down_block_types=("DownBlock2D",) * 3,  # attention is in the block between down and up
        up_block_types=("UpBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=16,
        num_class_embeds=len(common.CLASS_NAMES) + 1,  # the last one stands for "no class given"
    )


def predict_velocity(network: nn.Module, x_t: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    """The velocity that ``network`` sees in ``x_t`` at the levels σ (n,), of the shape of ``x_t``."""
    prediction: Tensor = network(x_t, 1000 * sigma, class_labels=labels, return_dict=False)[0]
    return prediction


def mix(x: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """x_t: images (n, 1, 28, 28) and noise at the levels σ (n,)."""
    sigma = sigma[:, None, None, None]
    return (1 - sigma) * x + sigma * noise


def main(args: argparse.Namespace) -> None:
    """Train, then show what came of it."""
    # torchrun describes the processes in the environment. Without it, this is process 0 of 1.
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    cuda = args.device != "cpu" and torch.cuda.is_available()
    if args.device == "cuda" and not cuda:
        raise SystemExit("--device cuda: PyTorch finds no CUDA device")
    device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if cuda else "cpu")
    if cuda:
        torch.cuda.set_device(device)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    if world_size > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    share = args.batch_size // world_size
    part = slice(rank * share, (rank + 1) * share)  # of the global batch

    images, test = common.load_images(args.data)
    model = build_model(args).to(device)
    network = DistributedDataParallel(model) if world_size > 1 else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.0)
    ema = EMAModel(model.parameters(), decay=args.ema_decay, foreach=True)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=args.shift)

    # ==== SpeeDiff, 1 of 2: once ==================================================================
    # With one method this is TimestepSampler.for_scheduler(scheduler, "asymmetric", "change_aware"),
    # which draws the scheduler's own timesteps: 1000 σ, and not their numbers.
    try:
        schedule = schedule_from(scheduler)
        sampler = TimestepSampler.from_text(schedule, args.method, args.seed, prediction="flow")
    except SpeeDiffError as error:
        raise SystemExit(f"{args.script}: {error}") from None
    # ==============================================================================================
    sigmas = scheduler.sigmas[: schedule.steps].flip(0).to(device)  # from little noise to pure noise

    parts = {"model": model, "ema": ema, "optimizer": optimizer, "sampler": sampler}
    losses, seconds, path = [], 0.0, args.out / "checkpoint.pt"
    if path.exists():
        saved = torch.load(path, map_location="cpu", weights_only=True)
        losses, seconds = saved["losses"], saved["seconds"]
        common.check_resumed(path, saved["config"], len(losses), args)
        for name, each in parts.items():
            each.load_state_dict(saved[name])
        ema.to(device)
    args.out.mkdir(parents=True, exist_ok=True)

    stop = threading.Event()  # Ctrl-C and SIGTERM end the run after a whole step
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    began = time.perf_counter() - seconds
    steps = range(len(losses), args.steps)
    bar = tqdm(steps, total=args.steps, initial=len(losses), unit="step", disable=rank > 0)
    for step in bar:
        # Warm up, stay, then fall as 1/sqrt(step): whatever --steps is, so that a run can be lengthened.
        optimizer.param_groups[0]["lr"] = args.lr * min((step + 1) / 100, max(step / 300, 1) ** -0.5)
        batch = common.training_batch(args, images, step, part)
        x, labels, noise = (torch.from_numpy(array).to(device) for array in batch)
        # ==== SpeeDiff, 2 of 2: per batch =========================================================
        t, weights = sampler.sample(len(x), device)
        # ==========================================================================================
        velocity = predict_velocity(network, mix(x, noise, sigmas[t]), sigmas[t], labels)
        loss_of_each = ((velocity - (noise - x)) ** 2).mean(dim=(1, 2, 3))
        if sampler.learns:  # SpeeDiff, for methods that follow the loss: before any weight
            sampler.update(t, loss_of_each.detach())
        loss = (weights * loss_of_each).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.step(model.parameters())

        totals = torch.tensor([loss.item(), stop.is_set()], dtype=torch.float64, device=device)
        if world_size > 1:
            dist.all_reduce(totals)  # so that all processes stop after the same step
        losses.append(totals[0].item() / world_size)
        stopping, done = totals[1].item() > 0, step + 1 == args.steps
        if not math.isfinite(losses[-1]):
            raise SystemExit(f"{args.script}: the loss is {losses[-1]} at step {step + 1}; lower --lr")
        bar.set_postfix(loss=losses[-1], refresh=False)
        if rank == 0 and (stopping or done or (step + 1) % args.checkpoint_every == 0):
            state = {name: each.state_dict() for name, each in parts.items()}
            spent = time.perf_counter() - began
            common.save(path, {"config": common.config(args), "losses": losses, "seconds": spent, **state})
        if stopping and not done:
            break
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if world_size > 1:
        # First: if this held the last reference to the group, its end could wait for a thread of gloo that
        # in turn waits for Python's lock.
        del network
        dist.destroy_process_group()
    if len(losses) < args.steps and rank == 0:
        print(f"Stopped. The same command with --resume continues {args.out}.")
    if len(losses) < args.steps or rank > 0:
        return
    seconds = time.perf_counter() - began
    ema.copy_to(model.parameters())
    model.eval()
    validation = validate(args, model, test)
    grid = generate(args, model, scheduler).cpu().numpy().reshape(10, args.columns, 1, 28, 28)
    common.report(
        args, "Rectified flow on Fashion-MNIST", losses, seconds, grid, common.CLASS_NAMES, validation
    )


@torch.no_grad()
def validate(args: argparse.Namespace, model: nn.Module, test: common.Images) -> dict[str, float]:
    """The unweighted velocity MSE on images, levels and noise that are the same for every method."""
    n = args.validation_images
    x, labels = map(torch.from_numpy, test.take(np.arange(n)))
    # Whatever the shift is: it chooses what to train on, and samples are judged all the way.
    sigmas = ((torch.arange(n) * 1000 + 500) // n + 1) / 1000
    noise = torch.from_numpy(common.validation_noise(x.shape))
    losses: list[float] = []
    for part in torch.arange(n).split(250):
        x_0, label, sigma, x_1 = (v[part].to(model.device) for v in (x, labels, sigmas, noise))
        velocity = predict_velocity(model, mix(x_0, x_1, sigma), sigma, label)
        losses += ((velocity - (x_1 - x_0)) ** 2).mean(dim=(1, 2, 3)).tolist()
    return common.in_bands(losses, sigmas.numpy(), BANDS)


@torch.no_grad()
def generate(
    args: argparse.Namespace, model: nn.Module, scheduler: FlowMatchEulerDiscreteScheduler
) -> Tensor:
    """Samples of every class, ``--columns`` of each, by Euler's method with guidance."""
    labels = torch.arange(10, device=model.device).repeat_interleave(args.columns)
    both = torch.cat([labels, torch.full_like(labels, 10)])  # with the class, and without
    scheduler.set_timesteps(args.sample_steps)
    generator = torch.Generator().manual_seed(args.seed)  # of the CPU: the same samples on every device
    x = torch.randn((len(labels), 1, 28, 28), generator=generator).to(model.device)
    for t in tqdm(scheduler.timesteps, desc="sampling", unit="step"):
        twice = (t / 1000).to(model.device).expand(2 * len(x))
        with_class, without = predict_velocity(model, torch.cat([x, x]), twice, both).chunk(2)
        velocity = without + args.cfg_scale * (with_class - without)
        x = scheduler.step(velocity, t, x, generator=generator).prev_sample
    return x


if __name__ == "__main__":
    main(ARGUMENTS)
