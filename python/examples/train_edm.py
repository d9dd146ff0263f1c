#!/usr/bin/env python3
"""Train a preconditioned U-Net on Fashion-MNIST as EDM, VP or VE, with SpeeDiff.

  python train_edm.py                           EDM with SpeeD; minutes on one CPU core
  python train_edm.py --method process          EDM as its authors train it: the baseline
  python train_edm.py --method laplace          another sampling of noise levels
  python train_edm.py --process vp --fdm        the fast diffusion model's momentum and warm-up
  python train_edm.py --resume                  continue after Ctrl-C or a crash

Noise levels are continuous here. `speediff.torch` replaces the parts of NVlabs/edm's loop, with
SpeeDiff's sampling and weights: Preconditioned for EDMPrecond, VPPrecond and VEPrecond,
DenoisingLoss for EDMLoss, VPLoss and VELoss. Methods (EDM supports fewer than VP and VE):

  process              the sampling and the weight of the process's own authors
  speed                SpeeDiff's extension of SpeeD: the process's sampling, with its convergence
                       area suppressed, and its weight times the change-aware one
  a sampling           log_normal, laplace, cauchy; for VP and VE also uniform, cosmap+uniform, ...
                       The weight is the process's own.
  a weighting          min_snr, edm*p2, ... instead of the process's own (not for EDM: sigmoid)
  sampling+weighting   both

adaptive, info_noise and uncertainty learn from the losses. Methods that are about timesteps (clts,
loss_second_moment, ...) raise an error that says so.

Compare methods and processes by the validation loss: EDM's weighted loss of the EMA weights on test
images. Its noise levels, spread over EDM's own distribution, and its noise are always the same.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import common

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from speediff.processes import Process
    from speediff.sampling import Sampling
    from speediff.weighting import Weighting

BANDS = {"σ<0.2": (0.0, 0.2), "0.2<=σ<0.6": (0.2, 0.6), "σ>=0.6": (0.6, float("inf"))}
# Where sampling begins. EDM's authors have 80 for all three. But VP and VE predict the noise, of which so
# small a network leaves 5 %: at 80 that is eight times the image's own size, and half of the samples are
# lost.
FIRST_SIGMA = {"edm": 80.0, "vp": 10.0, "ve": 10.0}
TINY = {
    "steps": 8, "batch_size": 8, "checkpoint_every": 3, "channels": 8,
    "sample_steps": 3, "columns": 2, "validation_images": 50,
}  # fmt: skip


def parse_arguments() -> argparse.Namespace:
    """The command line; bad values end the program with a message."""
    parser = common.flags(__doc__)
    parser.set_defaults(lr=2e-3, steps=2000, sample_steps=18, cfg_scale=1.5)
    add = parser.add_argument_group("model and process").add_argument
    add("--channels", type=common.integer(8), default=16, metavar="N", help="channels at 28 x 28; more below")
    add("--process", choices=("edm", "vp", "ve"), default="edm", help="the noise process")
    add("--fdm", action="store_true", help="FDM's momentum in the input scale, and --warm-up")
    add("--warm-up", type=common.integer(1), default=400, metavar="N", help="steps of FDM's clipping")
    args = common.parse(parser, TINY, Path(__file__).stem)
    if args.channels % 8:  # the groups of normalisation
        parser.error(f"argument --channels: must be a multiple of 8, got {args.channels}")
    if args.sample_steps < 2:
        parser.error(f"argument --sample-steps: must be at least 2, got {args.sample_steps}")
    return args


if __name__ == "__main__":
    ARGUMENTS = parse_arguments()  # before the slow imports, so that --help and mistakes are quick

import numpy as np
import torch
import torch.distributed as dist
from diffusers import UNet2DModel
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from speediff import SpeeDiffError, parse_method, processes, weighting
from speediff.torch import DenoisingLoss, Preconditioned


def build_model(args: argparse.Namespace) -> Preconditioned:
    """D, preconditioned as the process has it.

    It is a U-Net of three levels, 28, 14 and 7 pixels wide, without dropout: all randomness of a step
    is in its batch.
    """
    channels = args.channels
    unet = UNet2DModel(
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
    # m = 2 in FDM's paper; its code leaves m out for VE.
    momentum = (1.0 if args.process == "ve" else 2.0) if args.fdm else None
    return Preconditioned(unet, args.process, momentum=momentum)


def read_method(method: str, process: Process) -> tuple[Sampling | None, Weighting | None]:
    """The draw and the weight that ``--method`` stands for; None is the process's own."""
    if method == "process":
        return None, None
    sampling, weight = parse_method(method)
    if method.partition("(")[0] == "speed":
        weight *= weighting.EDM(process.sigma_data) if isinstance(process, processes.EDM) else weighting.SNR()
    return sampling, weight


def build_loss(args: argparse.Namespace) -> DenoisingLoss:
    """The loss of the process, with the draw and the weight of ``--method``."""
    process = {"edm": processes.EDM(), "vp": processes.VP(), "ve": processes.VE()}[args.process]
    sampling, weight = read_method(args.method, process)
    warm_up = args.warm_up if args.fdm else None
    return DenoisingLoss(process, seed=args.seed, warm_up=warm_up, sampling=sampling, weighting=weight)


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

    # ==== SpeeDiff, 1 of 2: once ==================================================================
    try:
        loss_fn = build_loss(args)
    except SpeeDiffError as error:
        raise SystemExit(f"{args.script}: {error}") from None
    # ==============================================================================================

    parts = {"model": model, "ema": ema, "optimizer": optimizer, "sampler": loss_fn}
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
        # Without `noise` it is PyTorch's, which depends on the number of processes.
        loss = loss_fn(network, x, labels, noise=noise).mean()
        # ==========================================================================================
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
    validation = validate(args, model, test, device)
    grid = generate(args, model, device).cpu().numpy().reshape(10, args.columns, 1, 28, 28)
    title = f"{args.process.upper()}{' with FDM' if args.fdm else ''} on Fashion-MNIST"
    common.report(args, title, losses, seconds, grid, common.CLASS_NAMES, validation)


@torch.no_grad()
def validate(
    args: argparse.Namespace, denoise: nn.Module, test: common.Images, device: torch.device
) -> dict[str, float]:
    """EDM's weighted loss on images, noise levels and noise that are the same for every method."""
    n = args.validation_images
    x, labels = map(torch.from_numpy, test.take(np.arange(n)))
    # Quantiles of EDM's distribution, ln σ ~ N(-1.2, 1.2²), one for each image.
    quantiles = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    sigmas = (1.2 * torch.special.ndtri(quantiles) - 1.2).exp().float()
    noise = torch.from_numpy(common.validation_noise(x.shape))
    losses: list[float] = []
    for part in torch.arange(n).split(250):
        x_0, label, sigma, eps = (v[part].to(device) for v in (x, labels, sigmas, noise))
        level = sigma[:, None, None, None]
        error = (denoise(x_0 + level * eps, level, label) - x_0) ** 2
        losses += ((sigma**2 + 0.5**2) / (sigma * 0.5) ** 2 * error.mean(dim=(1, 2, 3))).tolist()
    return common.in_bands(losses, sigmas.numpy(), BANDS)


@torch.no_grad()
def generate(args: argparse.Namespace, denoise: nn.Module, device: torch.device) -> Tensor:
    """Samples of every class, ``--columns`` of each, with guidance."""
    labels = torch.arange(10, device=device).repeat_interleave(args.columns)
    both = torch.cat([labels, torch.full_like(labels, 10)])  # with the class, and without

    def guided(x: Tensor, sigma: Tensor) -> Tensor:
        with_class, without = denoise(torch.cat([x, x]), torch.cat([sigma, sigma]), both).chunk(2)
        return without + args.cfg_scale * (with_class - without)

    generator = torch.Generator().manual_seed(args.seed)  # of the CPU: the same samples on every device
    noise = torch.randn((len(labels), 1, 28, 28), generator=generator).to(device)
    sigmas = noise_levels(args.sample_steps, max(denoise.sigma_min, 0.002), FIRST_SIGMA[args.process])
    return heun(guided, noise, sigmas.to(device)).float()


def noise_levels(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """σ_0 = ``sigma_max`` > ... > σ_{steps-1} = ``sigma_min``, equally spaced in σ^(1/rho), and then 0.

    This is Eq. 5 of Karras et al. 2022; float64 (steps + 1,).
    """
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1, dtype=torch.float64)])


def heun(denoise: Callable[[Tensor, Tensor], Tensor], noise: Tensor, sigmas: Tensor) -> Tensor:
    """Follow dx/dσ = (x - D(x; σ))/σ from noise to images: their Algorithm 1, in float64.

    Args:
        denoise: D, for noisy images (n, ...) and their noise levels (n,).
        noise: Standard normal (n, ...).
        sigmas: Falling noise levels that end with 0.
    """
    x = noise.double() * sigmas[0]

    def slope(x: Tensor, sigma: Tensor) -> Tensor:
        return (x - denoise(x.to(noise.dtype), sigma.to(noise).expand(len(x))).double()) / sigma

    for sigma, following in pairwise(sigmas):
        first = slope(x, sigma)
        # The trapezoidal rule, but for the last step: the slope is not defined at 0.
        second = slope(x + (following - sigma) * first, following) if following > 0 else first
        x = x + (following - sigma) * (first + second) / 2
    return x


if __name__ == "__main__":
    main(ARGUMENTS)
