#!/usr/bin/env python3
"""Train a class-conditional DiT on Fashion-MNIST; SpeeDiff chooses time steps and loss weights.

  python train_dit.py                           a few minutes on two CPU cores
  python train_dit.py --method uniform          the baseline
  python train_dit.py --resume                  continue after Ctrl-C or a crash
  torchrun --nproc-per-node 2 train_dit.py      two processes, one global batch

Everything is plain PyTorch and diffusers, but for the lines marked SpeeDiff. Methods:

  uniform   every time step equally likely, every weight 1: the usual training
  speed     SpeeD as its paper defines it (arXiv 2405.17403): the steps of the convergence area
            are drawn less often, and weights follow the rate of change
  official  SpeeD as its authors' code does it, which differs in both

Training losses are NOT comparable between methods, which draw and weigh different time steps.
The validation loss is: the unweighted epsilon MSE of the EMA weights on test images, for the
same time steps and the same noise whatever the method.
"""

from __future__ import annotations

import math
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import checkpoint
import common
import data
import evaluation
import report
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

import speediff
from speediff.torch import TimestepSampler

if TYPE_CHECKING:
    import argparse

    from diffusers import DDPMScheduler, DiTTransformer2DModel

SCRIPT = Path(__file__).stem
# What decides the outcome of a step: a resumed run must have the same.
CONFIG = (
    "method", "seed", "batch_size", "lr", "ema_decay", "label_dropout",
    "hidden", "depth", "heads", "patch",
)  # fmt: skip
WARM_UP_STEPS, FULL_LR_STEPS = 100, 300
TINY = {
    "steps": 12, "batch_size": 16, "checkpoint_every": 5, "hidden": 32, "depth": 2, "heads": 2,
    "sample_steps": 4, "columns": 2, "validation_images": 100,
}  # fmt: skip


def parse_arguments() -> argparse.Namespace:
    """The command line; bad values end the program with a message."""
    parser = common.flags(__doc__, methods=("uniform", "speed", "official"))
    add = parser.add_argument_group("model").add_argument
    add("--hidden", type=common.integer(4), default=96, metavar="N", help="channels of a token")
    add("--depth", type=common.integer(1), default=4, metavar="N", help="transformer blocks")
    add("--heads", type=common.integer(1), default=3, metavar="N", help="attention heads")
    add("--patch", type=int, choices=(2, 4, 7, 14), default=4, help="pixels along a token's side")
    args = common.parse(parser, TINY)
    if args.hidden % math.lcm(4, args.heads):  # 4: sines and cosines of two coordinates
        parser.error(
            f"argument --hidden: must be a multiple of 4 and of the {args.heads} heads, got {args.hidden}"
        )
    if args.out is None:
        args.out = Path("runs") / f"dit_{args.method}{'_tiny' if args.tiny else ''}"
    return args


def set_learning_rate(optimizer: torch.optim.Optimizer, args: argparse.Namespace, step: int) -> None:
    """Linear warm-up to ``--lr``, which then lasts for a while and falls as 1/sqrt(step).

    Unlike a cosine this does not depend on ``--steps``, so that a run can be lengthened.
    """
    factor = min((step + 1) / WARM_UP_STEPS, max(step / FULL_LR_STEPS, 1) ** -0.5)
    for group in optimizer.param_groups:
        group["lr"] = args.lr * factor


def build_sampler(method: str, schedule: speediff.NoiseSchedule, seed: int) -> TimestepSampler:
    """SpeeDiff's sampler for ``--method``; it asks torch.distributed for its rank."""
    if method == "uniform":
        return TimestepSampler(schedule, sampling="uniform", weighting="uniform", seed=seed)
    if method == "official":
        return TimestepSampler.speed(schedule, preset="official", seed=seed)
    return TimestepSampler.speed(schedule, preset="paper", seed=seed)


def build_model(args: argparse.Namespace) -> DiTTransformer2DModel:
    """A DiT of diffusers, initialised as its paper does, which diffusers leaves to the user."""
    from diffusers import DiTTransformer2DModel

    model = DiTTransformer2DModel(
        sample_size=28,
        in_channels=1,
        patch_size=args.patch,
        num_layers=args.depth,
        num_attention_heads=args.heads,
        attention_head_dim=args.hidden // args.heads,
        num_embeds_ada_norm=len(data.CLASS_NAMES),
    )
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.xavier_uniform_(module.weight)
            torch.nn.init.zeros_(module.bias)
    for block in model.transformer_blocks:
        # adaLN-Zero: each block starts as the identity.
        torch.nn.init.zeros_(block.norm1.linear.weight)
        # Each block has its own label embedding, which in training drops labels by its own dice:
        # the network as a whole would next to never be without its label, which is what guidance
        # needs. The training loop drops them instead, once per image.
        block.norm1.emb.class_embedder.dropout_prob = 0.0
    torch.nn.init.zeros_(model.proj_out_1.weight)
    torch.nn.init.zeros_(model.proj_out_2.weight)
    return model


def predict_noise(network: torch.nn.Module, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """The epsilon that ``network`` sees in ``x_t``, shape (n, 1, 28, 28)."""
    prediction: Tensor = network(x_t, timestep=t, class_labels=labels, return_dict=False)[0]
    return prediction


def average_model(model: torch.nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of the weights, shorter while there are few to average."""

    @torch.no_grad()
    def update(averages: Any, weights: Any, updates: Tensor | int) -> None:
        n = int(updates)
        torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + n) / (10 + n)))

    return AveragedModel(model, multi_avg_fn=update)


def train(
    args: argparse.Namespace,
    scheduler: DDPMScheduler,
    processes: common.Processes,
    stop: common.StopRequest,
) -> tuple[torch.nn.Module, report.LossCurve, float] | None:
    """Train up to ``args.steps``.

    Returns:
        The network with its EMA weights, the loss curve and the images per second; None if asked
        to stop earlier.

    Raises:
        checkpoint.CheckpointError: If a checkpoint in ``args.out`` cannot be continued, or is
            there without ``--resume``.
    """
    device, part = processes.device, processes.part(args.batch_size)
    torch.manual_seed(args.seed)
    model = build_model(args).to(device)
    ema = average_model(model, args.ema_decay)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.0)
    images = data.fashion_mnist(args.data, "train")
    curve, start, earlier_seconds = report.LossCurve(), 0, 0.0

    # ==== SpeeDiff, 1 of 2: once ==================================================================
    schedule = speediff.NoiseSchedule.from_betas(scheduler.betas.double().numpy())
    sampler = build_sampler(args.method, schedule, args.seed)
    # ==============================================================================================

    path, config = args.out / "checkpoint.pt", {name: getattr(args, name) for name in CONFIG}
    if path.exists():
        if not args.resume:
            raise checkpoint.CheckpointError(f"{path} exists: add --resume, or take another --out")
        start, state = checkpoint.load(path, SCRIPT, config, args.steps)
        model.load_state_dict(state["model"])
        ema.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
        sampler.load_state_dict(state["sampler"])
        processes.restore_rng_state(state["rng"])
        curve, earlier_seconds = report.LossCurve(state["losses"]), state["seconds"]

    began = time.perf_counter()

    def seconds() -> float:
        return earlier_seconds + time.perf_counter() - began

    def save(steps: int) -> None:
        # The order of the data is a function of seed and step, and needs no saving.
        state = {
            "model": model.state_dict(),
            "ema": ema.state_dict(),
            "optimizer": optimizer.state_dict(),
            "sampler": sampler.state_dict(),
            "rng": processes.rng_states(),  # all processes must call this
            "losses": curve.raw,
            "seconds": seconds(),
        }
        if processes.is_main:
            checkpoint.save(path, SCRIPT, config, steps, state)

    network = DistributedDataParallel(model) if processes.world_size > 1 else model
    bar = tqdm(total=args.steps, initial=start, unit="step", disable=not processes.is_main)
    with bar:
        for step in range(start, args.steps):
            batch = data.training_batch(images, args.seed, step, args.batch_size, part, args.label_dropout)
            x, labels, noise = (tensor.to(device) for tensor in batch)

            # ==== SpeeDiff, 2 of 2: per batch =====================================================
            t, weights = sampler.sample(len(x), device)
            # ======================================================================================

            eps_pred = predict_noise(network, scheduler.add_noise(x, noise, t), t, labels)
            loss = (weights * ((eps_pred - noise) ** 2).mean(dim=(1, 2, 3))).mean()
            set_learning_rate(optimizer, args, step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ema.update_parameters(model)

            mean_loss, stopping = processes.agree(loss, stop.made)
            if not math.isfinite(mean_loss):
                raise SystemExit(f"{SCRIPT}: the loss is {mean_loss} at step {step + 1}; lower --lr")
            curve.append(mean_loss)
            bar.update()
            rate = args.batch_size * (bar.format_dict["rate"] or 0)
            bar.set_postfix_str(f"loss={curve.smoothed[-1]:.4f}, {rate:.0f} images/s", refresh=False)
            done = step + 1 == args.steps
            if done or stopping or (step + 1) % args.checkpoint_every == 0:
                save(step + 1)
            if stopping and not done:
                return None
    return ema.module.eval(), curve, args.steps * args.batch_size / seconds()


def show(
    args: argparse.Namespace,
    network: torch.nn.Module,
    curve: report.LossCurve,
    images_per_second: float,
    scheduler: DDPMScheduler,
    device: torch.device,
) -> None:
    """Write the curve and the samples, print where they are, and one line of results."""
    predict = partial(predict_noise, network)
    paths = [args.out / name for name in ("loss.csv", "loss.png", "samples.png")]
    title = f"DiT on Fashion-MNIST: {args.method}, {args.steps} steps"
    curve.write_csv(paths[0])
    curve.plot(paths[1], f"{title}\n(not comparable between methods)", "weighted training loss")
    labels = torch.arange(data.NULL_LABEL, device=device).repeat_interleave(args.columns)
    samples = evaluation.generate(predict, labels, args.cfg_scale, scheduler, args.sample_steps, args.seed)
    grid = samples.reshape(data.NULL_LABEL, args.columns, 28, 28)
    report.save_samples(paths[2], grid, data.CLASS_NAMES, title)
    images = data.fashion_mnist(args.data, "t10k").first(args.validation_images)
    validation = evaluation.validation_loss(predict, images, scheduler, device)
    print(*paths, sep="\n")
    print(report.result_line(args.method, curve, images_per_second, validation))


def main() -> None:
    """Train, then show what came of it."""
    args = parse_arguments()
    from diffusers import DDPMScheduler

    # Its defaults are the paper's: 1000 steps, linear betas, epsilon prediction.
    scheduler = DDPMScheduler()
    processes = common.Processes.join(args.device, args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        with common.StopRequest() as stop:
            trained = train(args, scheduler, processes, stop)
    except checkpoint.CheckpointError as error:
        raise SystemExit(f"{SCRIPT}: {error}" if processes.is_main else 1) from None
    finally:
        processes.leave()
    if processes.is_main and trained is None:
        print(f"Stopped. The same command with --resume continues {args.out}.")
    elif processes.is_main and trained is not None:
        show(args, *trained, scheduler, processes.device)


if __name__ == "__main__":
    main()
