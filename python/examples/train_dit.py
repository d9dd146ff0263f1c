#!/usr/bin/env python3
"""Train a class-conditional DiT; SpeeDiff chooses timesteps and loss weights.

  python train_dit.py                           Fashion-MNIST, minutes on a CPU core
  python train_dit.py --method uniform          the baseline
  python train_dit.py --method laplace+min_snr  a sampling and a weighting
  python train_dit.py --resume                  continue after Ctrl-C or a crash
  python train_dit.py --backend swift           the same steps on SpeeDiff's CPU trainer
  torchrun --nproc-per-node 2 train_dit.py      two processes, one global batch
  python train_dit.py --data imagenet --image-size 256 --vae sd-vae-ft-ema --patch 2 --device cuda
                                                a folder of pictures per class, as latents

Everything except the lines marked SpeeDiff is plain PyTorch and diffusers. `speediff methods` lists
the methods; speed is SpeeD as its paper defines it (arXiv 2405.17403), official as its code does it.

Training losses are NOT comparable between methods, which draw and weight timesteps differently. Compare
the validation loss: the epsilon MSE of the EMA weights, on the same images, timesteps and noise.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

TINY = {
    "steps": 12, "batch_size": 16, "checkpoint_every": 5, "hidden": 32, "depth": 2, "heads": 2,
    "sample_steps": 4, "columns": 2, "validation_images": 100,
}  # fmt: skip


def parse_arguments() -> argparse.Namespace:
    """The command line; bad values end the program with a message."""
    parser = common.flags(__doc__)
    add = parser.add_argument_group("model and images").add_argument
    add("--backend", choices=("torch", "swift"), default="torch", help="swift: SpeeDiff's CPU trainer")
    add("--image-size", type=common.integer(8), default=28, metavar="N", help="of a folder of pictures")
    add("--vae", type=Path, metavar="DIR", help="an AutoencoderKL of diffusers, to train on latents")
    add("--hidden", type=common.integer(4), default=96, metavar="N", help="width of a token")
    add("--depth", type=common.integer(1), default=4, metavar="N", help="transformer blocks")
    add("--heads", type=common.integer(1), default=3, metavar="N", help="attention heads")
    add("--patch", type=common.integer(1), default=4, metavar="N", help="side of a patch in pixels")
    args = common.parse(parser, TINY, Path(__file__).stem)
    if args.backend == "swift" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        parser.error("argument --backend: swift is for one process")
    if args.hidden % math.lcm(4, args.heads):  # 4: sines and cosines of two coordinates
        parser.error(f"argument --hidden: must be a multiple of 4 and of --heads, got {args.hidden}")
    return args


if __name__ == "__main__":
    ARGUMENTS = parse_arguments()  # before the slow imports, so that --help and mistakes are quick

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderKL, DDPMScheduler, DiTTransformer2DModel
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from speediff import SpeeDiffError
from speediff.torch import TimestepSampler, adopt, schedule_from


def build_model(args: argparse.Namespace, shape: Sequence[int], classes: int) -> DiTTransformer2DModel:
    """A DiT of diffusers, initialised as its paper does, which diffusers leaves to the user."""
    channels, side, _ = shape
    if side % args.patch:
        raise SystemExit(f"--patch must divide what the network sees, {side} x {side}, got {args.patch}")
    model = DiTTransformer2DModel(
        sample_size=side,
        in_channels=channels,
        patch_size=args.patch,
        num_layers=args.depth,
        num_attention_heads=args.heads,
        attention_head_dim=args.hidden // args.heads,
        num_embeds_ada_norm=classes,
    )
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    for block in model.transformer_blocks:
        # adaLN-Zero: each block starts as the identity.
        nn.init.zeros_(block.norm1.linear.weight)
        # Each block embeds the label, and would drop it by its own dice: hardly ever all at once, as
        # guidance needs it. The training batch drops labels instead, once per image.
        block.norm1.emb.class_embedder.dropout_prob = 0.0
        if args.backend == "swift":
            # SpeeDiff trains one embedder for all blocks, as DiT's paper has it.
            block.norm1.emb = model.transformer_blocks[0].norm1.emb
    nn.init.zeros_(model.proj_out_1.weight)
    nn.init.zeros_(model.proj_out_2.weight)
    return model


def predict_noise(network: nn.Module, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """The epsilon that ``network`` sees in ``x_t``, of the shape of ``x_t``."""
    prediction: Tensor = network(x_t, timestep=t, class_labels=labels, return_dict=False)[0]
    return prediction


def load_vae(folder: Path, device: torch.device) -> list[Callable[[Tensor], Tensor]]:
    """Encoder and decoder of a VAE of diffusers, which ``save_pretrained`` wrote: Stable Diffusion's, say."""
    try:
        vae = AutoencoderKL.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise SystemExit(f"--vae {folder}: no AutoencoderKL there: {error}".partition("\n")[0]) from None
    vae = vae.to(device).eval().requires_grad_(False)
    scale, shift = vae.config.scaling_factor, vae.config.shift_factor or 0.0

    def encode(images: Tensor) -> Tensor:
        """Latents of about unit variance: the means of the encoder's distributions, without its noise."""
        images = images.expand(-1, vae.config.in_channels, -1, -1)  # gray ones, too
        latents = [vae.encode(part).latent_dist.mode() for part in images.split(32)]
        return (torch.cat(latents) - shift) * scale

    def decode(latents: Tensor) -> Tensor:
        parts = (latents / scale + shift).split(16)
        return torch.cat([vae.decode(part).sample for part in parts]).clamp(-1, 1)

    return [encode, decode]


def main(args: argparse.Namespace) -> None:
    """Train, then show what came of it."""
    # torchrun describes the processes in the environment. Without it, this is process 0 of 1.
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    cuda = args.device != "cpu" and args.backend != "swift" and torch.cuda.is_available()
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

    images, test = common.load_images(args.data, args.image_size)
    encode, decode = load_vae(args.vae, device) if args.vae else [nn.Identity()] * 2
    first = torch.from_numpy(images.take(np.array([0]))[0])
    shape = encode(first.to(device)).shape[1:]  # of what the network sees

    model = build_model(args, shape, len(images.class_names)).to(device)
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
    swift = args.backend == "swift"
    # SpeeDiff's CPU trainer computes on the memory of the network, its average and its AdamW.
    with adopt(model, ema, optimizer, sampler) if swift else nullcontext() as adoption:
        for step in bar:
            # Warm up, stay, then fall as 1/sqrt(step): whatever --steps is, so that a run can be lengthened.
            optimizer.param_groups[0]["lr"] = args.lr * min((step + 1) / 100, max(step / 300, 1) ** -0.5)
            batch = common.training_batch(args, images, step, part, noise_shape=shape)
            x, labels, noise = (torch.from_numpy(array).to(device) for array in batch)
            x = encode(x)
            # ==== SpeeDiff, 2 of 2: per batch =====================================================
            t, weights = sampler.sample(len(x), device)
            # ======================================================================================
            if swift:
                loss = adoption.backward(x, labels, t=t, noise=noise, weights=weights)
                loss_of_each = torch.from_numpy(adoption.trainer.losses)
            else:
                eps_pred = predict_noise(network, scheduler.add_noise(x, noise, t), t, labels)
                loss_of_each = ((eps_pred - noise) ** 2).mean(dim=(1, 2, 3))
                mean_loss = (weights * loss_of_each).mean()
                optimizer.zero_grad()
                mean_loss.backward()
                loss = mean_loss.item()
            if sampler.learns:  # SpeeDiff, for methods that follow the loss: before any weight
                sampler.update(t, loss_of_each.detach())
            if swift:
                adoption.apply()
            else:
                optimizer.step()
                ema.step(model.parameters())

            totals = torch.tensor([loss, stop.is_set()], dtype=torch.float64, device=device)
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
                common.save(
                    path, {"config": common.config(args), "losses": losses, "seconds": spent, **state}
                )
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
    validation = validate(args, model, scheduler, test, encode)
    samples = decode(generate(args, model, scheduler, shape, len(images.class_names))).cpu().numpy()
    names = images.class_names[:10]
    grid = samples.reshape(len(names), args.columns, *samples.shape[1:])
    common.report(args, f"DiT on {args.data.name}", losses, seconds, grid, names, validation)


@torch.no_grad()
def validate(
    args: argparse.Namespace, model: nn.Module, scheduler: DDPMScheduler, test: common.Images, encode: Any
) -> dict[str, float]:
    """The unweighted epsilon MSE on images, timesteps and noise that are the same for every method."""
    images, labels = map(torch.from_numpy, test.take(np.arange(min(args.validation_images, len(test)))))
    x_0, n = encode(images.to(model.device)), len(labels)
    t = (torch.arange(n) * 1000 + 500) // n  # spread evenly
    noise = torch.from_numpy(common.validation_noise(x_0.shape))
    losses: list[float] = []
    for part in torch.arange(n).split(250):
        label, level, eps = (v[part].to(x_0.device) for v in (labels, t, noise))
        eps_pred = predict_noise(model, scheduler.add_noise(x_0[part], eps, level), level, label)
        losses += ((eps_pred - eps) ** 2).mean(dim=(1, 2, 3)).tolist()
    return common.in_bands(losses, t.numpy(), common.BANDS)


@torch.no_grad()
def generate(
    args: argparse.Namespace, model: nn.Module, scheduler: DDPMScheduler, shape: Sequence[int], classes: int
) -> Tensor:
    """Samples of the first ten classes, ``--columns`` of each, by DDPM's ancestral sampling with guidance.

    That rather than DDIM: it forgets its early errors, and after a short training these are large,
    since at a noise level of t = 999 an error in epsilon counts 157 times in the image.
    """
    labels = torch.arange(min(classes, 10), device=model.device).repeat_interleave(args.columns)
    both = torch.cat([labels, torch.full_like(labels, classes)])  # with the class, and without
    # From t = 999 on, which is nearly pure noise; by default diffusers starts lower.
    scheduler = scheduler.from_config(scheduler.config, timestep_spacing="trailing")
    scheduler.set_timesteps(args.sample_steps)
    generator = torch.Generator().manual_seed(args.seed)  # of the CPU: the same samples on every device
    x = torch.randn((len(labels), *shape), generator=generator).to(model.device)
    for t in tqdm(scheduler.timesteps, desc="sampling", unit="step"):
        twice = t.to(model.device).expand(2 * len(x))
        eps, eps_without = predict_noise(model, torch.cat([x, x]), twice, both).chunk(2)
        eps = eps_without + args.cfg_scale * (eps - eps_without)
        x = scheduler.step(eps, t, x, generator=generator).prev_sample
    return x


if __name__ == "__main__":
    main(ARGUMENTS)
