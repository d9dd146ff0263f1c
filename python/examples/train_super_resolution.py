#!/usr/bin/env python3
"""Train super-resolution on Fashion-MNIST, 7 x 7 to 28 x 28; SpeeDiff chooses timesteps and weights.

  python train_super_resolution.py                        minutes on one CPU core
  python train_super_resolution.py --method uniform       the baseline
  python train_super_resolution.py --low-resolution 14    half of the size, not a quarter
  python train_super_resolution.py --resume               continue after Ctrl-C or a crash

The network sees the noisy image and, as extra channels, the small image scaled up to its size, as
in SR3 or a cascaded diffusion model. Noise levels are drawn as for any DDPM. samples.png shows test
images: the input, the output and the original. Details must differ, because many images have the
same 49 pixels.

Compare methods by the validation loss: the unweighted epsilon MSE of the EMA weights on test
images. Its timesteps and noise are the same for every method.
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

TINY = {
    "steps": 8, "batch_size": 8, "checkpoint_every": 3, "channels": 8,
    "sample_steps": 3, "columns": 2, "validation_images": 50,
}  # fmt: skip


def parse_arguments() -> argparse.Namespace:
    """The command line; bad values end the program with a message."""
    parser = common.flags(__doc__, guidance=False)
    parser.set_defaults(lr=2e-3, steps=2000)
    add = parser.add_argument_group("model").add_argument
    add("--low-resolution", type=int, choices=(7, 14), default=7, help="width of the small images")
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
from diffusers import DDPMScheduler, UNet2DModel
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
        in_channels=2,  # the noisy image, and the small one scaled up
        out_channels=1,
        block_out_channels=(channels, 2 * channels, 4 * channels),
        down_block_types=("DownBlock2D",) * 3,  # attention is in the block between down and up
        up_block_types=("UpBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=16,
    )


def shrink(x: Tensor, size: int) -> Tensor:
    """Images (n, 1, 28, 28) with ``size`` x ``size`` pixels, scaled up again: the condition."""
    small = nn.functional.adaptive_avg_pool2d(x, size)
    return nn.functional.interpolate(small, size=x.shape[-2:], mode="bilinear")


def predict_noise(network: nn.Module, x_t: Tensor, t: Tensor, small: Tensor) -> Tensor:
    """The epsilon that ``network`` sees in ``x_t``, whose image scaled down and up is ``small``."""
    prediction: Tensor = network(torch.cat([x_t, small], dim=1), t, return_dict=False)[0]
    return prediction


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
    scheduler = DDPMScheduler()  # its defaults are the paper's: 1000 steps, linear betas, epsilon

    # ==== SpeeDiff, 1 of 2: once ==================================================================
    # With one method this is TimestepSampler.for_scheduler(scheduler, "asymmetric", "change_aware").
    try:
        schedule = schedule_from(scheduler)
        sampler = TimestepSampler.from_text(schedule, args.method, args.seed, prediction="epsilon")
    except SpeeDiffError as error:
        raise SystemExit(f"{args.script}: {error}") from None
    # ==============================================================================================

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
        x, _, noise = (torch.from_numpy(array).to(device) for array in batch)
        small = shrink(x, args.low_resolution)
        # ==== SpeeDiff, 2 of 2: per batch =========================================================
        t, weights = sampler.sample(len(x), device)
        # ==========================================================================================
        eps_pred = predict_noise(network, scheduler.add_noise(x, noise, t), t, small)
        loss_of_each = ((eps_pred - noise) ** 2).mean(dim=(1, 2, 3))
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
    validation = validate(args, model, scheduler, test)
    shown = torch.from_numpy(test.take(np.arange(args.columns))[0])
    small = shrink(shown, args.low_resolution)
    made = generate(args, model, scheduler, small.to(device)).cpu()
    size = f"{args.low_resolution} x {args.low_resolution}"
    grid, names = torch.stack([small, made, shown]).numpy(), (f"{size}, scaled up", "sample", "original")
    common.report(args, f"{size} to 28 x 28", losses, seconds, grid, names, validation)


@torch.no_grad()
def validate(
    args: argparse.Namespace, model: nn.Module, scheduler: DDPMScheduler, test: common.Images
) -> dict[str, float]:
    """The unweighted epsilon MSE on images, timesteps and noise that are the same for every method."""
    n = args.validation_images
    x = torch.from_numpy(test.take(np.arange(n))[0])
    small = shrink(x, args.low_resolution)
    t = (torch.arange(n) * 1000 + 500) // n  # spread evenly
    noise = torch.from_numpy(common.validation_noise(x.shape))
    losses: list[float] = []
    for part in torch.arange(n).split(250):
        x_0, given, level, eps = (v[part].to(model.device) for v in (x, small, t, noise))
        eps_pred = predict_noise(model, scheduler.add_noise(x_0, eps, level), level, given)
        losses += ((eps_pred - eps) ** 2).mean(dim=(1, 2, 3)).tolist()
    return common.in_bands(losses, t.numpy(), common.BANDS)


@torch.no_grad()
def generate(args: argparse.Namespace, model: nn.Module, scheduler: DDPMScheduler, small: Tensor) -> Tensor:
    """What the network makes of small images, scaled up: one sample of each, by DDPM's ancestral sampling.

    That rather than DDIM: it forgets its early errors, and after a short training these are large,
    since at a noise level of t = 999 an error in epsilon counts 157 times in the image.
    """
    # From t = 999 on, which is nearly pure noise; by default diffusers starts lower.
    scheduler = scheduler.from_config(scheduler.config, timestep_spacing="trailing")
    scheduler.set_timesteps(args.sample_steps)
    generator = torch.Generator().manual_seed(args.seed)  # of the CPU: the same samples on every device
    x = torch.randn(small.shape, generator=generator).to(model.device)
    for t in tqdm(scheduler.timesteps, desc="sampling", unit="step"):
        eps = predict_noise(model, x, t.to(model.device).expand(len(x)), small)
        x = scheduler.step(eps, t, x, generator=generator).prev_sample
    return x


if __name__ == "__main__":
    main(ARGUMENTS)
