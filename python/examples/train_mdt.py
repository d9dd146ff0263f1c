#!/usr/bin/env python3
"""Train a masked diffusion transformer (MDT) on Fashion-MNIST, with SpeeDiff.

  python train_mdt.py                           some minutes on two CPU cores
  python train_mdt.py --method uniform          the baseline
  python train_mdt.py --method uniform+min_snr  with the weight that MDT's own code applies
  python train_mdt.py --method 'asymmetric+change_aware*min_snr'     the same, times SpeeD's
  python train_mdt.py --resume                  continue after Ctrl-C or a crash

Each step passes every image through the network twice, as MDT does: once whole, and once with
--mask-ratio of its tokens masked. Both passes have the same timestep, so SpeeDiff draws once. Each
has its own noise; their losses are added. Generation uses only the full pass.

Compare methods by the validation loss, not by training losses. This script follows train_dit.py.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common

if TYPE_CHECKING:
    import argparse

TINY = {
    "steps": 12, "batch_size": 16, "checkpoint_every": 5, "hidden": 32, "depth": 2, "heads": 2,
    "sample_steps": 4, "columns": 2, "validation_images": 100,
}  # fmt: skip


def parse_arguments() -> argparse.Namespace:
    """The command line; bad values end the program with a message."""
    parser = common.flags(__doc__)
    parser.set_defaults(steps=2000)
    add = parser.add_argument_group("model").add_argument
    add("--hidden", type=common.integer(4), default=96, metavar="N", help="width of a token")
    add("--depth", type=common.integer(2), default=4, metavar="N", help="blocks of encoder and decoder")
    add("--decode-layers", type=common.integer(1), default=1, metavar="N", help="how many of them decode")
    add("--heads", type=common.integer(1), default=3, metavar="N", help="attention heads")
    add("--patch", type=int, choices=(2, 4, 7), default=4, help="side of a patch in pixels")
    add("--mask-ratio", type=common.real(0, 1), default=0.3, metavar="X", help="share of masked tokens")
    args = common.parse(parser, TINY, Path(__file__).stem)
    if args.hidden % math.lcm(4, args.heads):  # 4: sines and cosines of two coordinates
        parser.error(f"argument --hidden: must be a multiple of 4 and of --heads, got {args.hidden}")
    if args.decode_layers >= args.depth:
        parser.error(f"argument --decode-layers: must be below --depth, got {args.decode_layers}")
    return args


if __name__ == "__main__":
    ARGUMENTS = parse_arguments()  # before the slow imports, so that --help and mistakes are quick

import numpy as np
import torch
import torch.distributed as dist
from diffusers import DDPMScheduler
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from speediff import SpeeDiffError
from speediff.torch import TimestepSampler, schedule_from

# The network of MDT's paper (Gao et al., ICCV 2023), version 1. Shapes: n images, L tokens,
# K of them kept, D channels of a token.
#   full    patches + positions ──────────────► encoder ──────────────────────────► decoder ► patches
#   masked  patches + positions ► kept tokens ► encoder ► side-interpolater ──────► decoder ► patches


def linear(inputs: int, outputs: int, *, zero: bool = False) -> nn.Linear:
    """A layer that starts as DiT's do; those that gate or shift start as zero."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.bias)
    nn.init.zeros_(layer.weight) if zero else nn.init.xavier_uniform_(layer.weight)
    return layer


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without weights, then the shift and scale, (n, D) each, of all tokens of an image."""
    return nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]


sinusoids = partial(get_timestep_embedding, downscale_freq_shift=0)  # of positions (m,): (m, channels)


def kept_tokens(scores: Tensor, mask_ratio: float) -> Tensor:
    """The places (n, K) of the tokens that the encoder sees, with the smallest ``scores`` (n, L)."""
    count = max(1, int(scores.shape[1] * (1 - mask_ratio)))  # as in MDT's code
    return scores.argsort(dim=1)[:, :count].sort(dim=1).values


class Block(nn.Module):
    """A transformer block with adaLN-Zero, as DiT's, and a learned bias for each offset of two tokens."""

    def __init__(self, side: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = linear(hidden, 3 * hidden), linear(hidden, hidden)
        self.mlp = nn.Sequential(
            linear(hidden, 4 * hidden), nn.GELU(approximate="tanh"), linear(4 * hidden, hidden)
        )
        self.modulation = nn.Sequential(nn.SiLU(), linear(hidden, 6 * hidden, zero=True))
        self.bias = nn.Parameter(nn.init.trunc_normal_(torch.empty((2 * side - 1) ** 2, heads), std=0.02))
        row, column = torch.arange(side).repeat_interleave(side), torch.arange(side).repeat(side)
        down, right = row[:, None] - row + side - 1, column[:, None] - column + side - 1
        self.register_buffer("offsets", down * (2 * side - 1) + right, persistent=False)  # (L, L)

    def forward(self, x: Tensor, condition: Tensor, keep: Tensor | None = None) -> Tensor:
        """``x`` (n, L, D), or (n, K, D) with the places ``keep`` (n, K) of its tokens."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition).chunk(6, dim=1)
        qkv = self.qkv(modulate(x, shift1, scale1)).unflatten(2, (3, self.heads, -1))
        offsets = self.offsets[None] if keep is None else self.offsets[keep[:, :, None], keep[:, None]]
        bias = self.bias[offsets].permute(0, 3, 1, 2)  # (n or 1, heads, L or K, L or K)
        mixed = nn.functional.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4), attn_mask=bias)
        x = x + gate1[:, None] * self.out(mixed.transpose(1, 2).flatten(2))
        return x + gate2[:, None] * self.mlp(modulate(x, shift2, scale2))


class MaskedDiT(nn.Module):
    """MDT: encoder, side-interpolater (one block, for the masked pass alone), decoder."""

    def __init__(self, hidden: int, depth: int, decode_layers: int, heads: int, patch: int = 4) -> None:
        super().__init__()
        self.hidden, self.side = hidden, 28 // patch
        self.patches = nn.Conv2d(1, hidden, kernel_size=patch, stride=patch)
        nn.init.xavier_uniform_(self.patches.weight.view(hidden, -1))
        nn.init.zeros_(self.patches.bias)
        self.time = nn.Sequential(linear(hidden, hidden), nn.SiLU(), linear(hidden, hidden))
        self.label = nn.Embedding(len(common.CLASS_NAMES) + 1, hidden)  # the last: no class given
        self.mask_token = nn.Parameter(torch.empty(hidden))
        for tensor in (self.time[0].weight, self.time[2].weight, self.label.weight, self.mask_token):
            nn.init.normal_(tensor, std=0.02)
        places = torch.arange(self.side)
        axes = places.repeat(self.side), places.repeat_interleave(self.side)  # columns and rows
        grid = torch.cat([sinusoids(axis, hidden // 2) for axis in axes], dim=1)
        self.positions, self.decoder_positions = nn.Parameter(grid), nn.Parameter(grid.clone())
        *blocks, self.side_interpolater = (Block(self.side, hidden, heads) for _ in range(depth + 1))
        self.encoder = nn.ModuleList(blocks[: depth - decode_layers])
        self.decoder = nn.ModuleList(blocks[depth - decode_layers :])
        self.modulation = nn.Sequential(nn.SiLU(), linear(hidden, 2 * hidden, zero=True))
        self.out = linear(hidden, patch * patch, zero=True)
        self.unpatchify = nn.Sequential(nn.Unflatten(2, (self.side, self.side)), nn.PixelShuffle(patch))

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, keep: Tensor | None = None) -> Tensor:
        """The epsilon in ``x`` (n, 1, 28, 28); ``keep`` is for the masked pass, from :func:`kept_tokens`."""
        condition = self.time(sinusoids(t, self.hidden)) + self.label(labels)
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions  # (n, L, D)
        if keep is not None:
            places = keep[:, :, None].expand(-1, -1, self.hidden)
            x = x.gather(1, places)  # (n, K, D)
        for block in self.encoder:
            x = block(x, condition, keep)
        if keep is not None:
            x = self.mask_token.expand(len(x), self.side**2, -1).scatter(1, places, x)
        x = x + self.decoder_positions
        if keep is not None:  # the side-interpolater guesses the masked tokens alone
            seen = torch.zeros_like(x[..., :1], dtype=torch.bool).scatter(1, keep[:, :, None], True)
            x = torch.where(seen, x, self.side_interpolater(x, condition))
        for block in self.decoder:
            x = block(x, condition)
        patches = self.out(modulate(x, *self.modulation(condition).chunk(2, dim=1)))
        return self.unpatchify(patches.transpose(1, 2))


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
    model = MaskedDiT(args.hidden, args.depth, args.decode_layers, args.heads, args.patch).to(device)
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
        x, labels, noise = (torch.from_numpy(array).to(device) for array in batch)
        draws = common.random_numbers(args.seed, "masked pass", step)
        scores = draws.random((args.batch_size, model.side**2))[part]
        other = draws.standard_normal((args.batch_size, 1, 28, 28), dtype=np.float32)[part]
        keep = kept_tokens(torch.from_numpy(scores), args.mask_ratio).to(device)
        passes = ((noise, None), (torch.from_numpy(other).to(device), keep))
        # ==== SpeeDiff, 2 of 2: per batch =========================================================
        t, weights = sampler.sample(len(x), device)
        # ==========================================================================================
        loss_of_each = torch.zeros(len(x), device=device)
        for eps, kept in passes:
            error = network(scheduler.add_noise(x, eps, t), t, labels, kept) - eps
            loss_of_each = loss_of_each + (error**2).mean(dim=(1, 2, 3))
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
    validation = validate(args, model, scheduler, test, device)
    grid = generate(args, model, scheduler, device).cpu().numpy().reshape(10, args.columns, 1, 28, 28)
    title = "MDT on Fashion-MNIST"
    common.report(args, title, losses, seconds, grid, common.CLASS_NAMES, validation)


@torch.no_grad()
def validate(
    args: argparse.Namespace, model: nn.Module, scheduler: DDPMScheduler, test: common.Images, device: Any
) -> dict[str, float]:
    """The unweighted epsilon MSE on images, timesteps and noise that are the same for every method."""
    n = args.validation_images
    x, labels = map(torch.from_numpy, test.take(np.arange(n)))
    t = (torch.arange(n) * 1000 + 500) // n  # spread evenly
    noise = torch.from_numpy(common.validation_noise(x.shape))
    losses: list[float] = []
    for part in torch.arange(n).split(250):
        x_0, label, level, eps = (v[part].to(device) for v in (x, labels, t, noise))
        eps_pred = model(scheduler.add_noise(x_0, eps, level), level, label)
        losses += ((eps_pred - eps) ** 2).mean(dim=(1, 2, 3)).tolist()
    return common.in_bands(losses, t.numpy(), common.BANDS)


@torch.no_grad()
def generate(
    args: argparse.Namespace, model: nn.Module, scheduler: DDPMScheduler, device: torch.device
) -> Tensor:
    """Samples of every class, ``--columns`` of each, by DDPM's ancestral sampling with guidance.

    That rather than DDIM: it forgets its early errors, and after a short training these are large,
    since at a noise level of t = 999 an error in epsilon counts 157 times in the image.
    """
    labels = torch.arange(10, device=device).repeat_interleave(args.columns)
    both = torch.cat([labels, torch.full_like(labels, 10)])  # with the class, and without
    # From t = 999 on, which is nearly pure noise; by default diffusers starts lower.
    scheduler = scheduler.from_config(scheduler.config, timestep_spacing="trailing")
    scheduler.set_timesteps(args.sample_steps)
    generator = torch.Generator().manual_seed(args.seed)  # of the CPU: the same samples on every device
    x = torch.randn((len(labels), 1, 28, 28), generator=generator).to(device)
    for t in tqdm(scheduler.timesteps, desc="sampling", unit="step"):
        twice = t.to(device).expand(2 * len(x))
        eps, eps_without = model(torch.cat([x, x]), twice, both).chunk(2)
        eps = eps_without + args.cfg_scale * (eps - eps_without)
        x = scheduler.step(eps, t, x, generator=generator).prev_sample
    return x


if __name__ == "__main__":
    main(ARGUMENTS)
