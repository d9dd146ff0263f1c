#!/usr/bin/env python3
"""Train a class-conditional U-Net on Fashion-MNIST; SpeeDiff chooses timesteps and loss weights.

  python train_unet.py                                     minutes on one CPU core
  python train_unet.py --method uniform                    the baseline
  python train_unet.py --schedule cosine --method min_snr  another noise schedule, another method
  python train_unet.py --resume                            continue after Ctrl-C or a crash

The network is diffusers' UNet2DModel, the training that of DDPM. SpeeDiff reads the schedule from
the scheduler. For any schedule, SpeeD finds where the process accelerates, decelerates and
converges. `speediff plan --schedule cosine` shows it.

Compare methods by the validation loss, and only within one schedule: another schedule has another
noise level at the same timestep.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import common

if TYPE_CHECKING:
    import argparse

    from diffusers import DDPMScheduler
    from loop import Run, Trained
    from torch import Tensor, nn

SCRIPT = Path(__file__).stem
SCHEDULES = {  # as papers call them, and as diffusers does
    "linear": "linear",
    "quadratic": "scaled_linear",
    "cosine": "squaredcos_cap_v2",
}
TINY = {
    "steps": 8, "batch_size": 8, "checkpoint_every": 3, "channels": 8,
    "sample_steps": 3, "columns": 2, "validation_images": 50,
}  # fmt: skip


def parse_arguments() -> argparse.Namespace:
    """The command line; bad values end the program with a message."""
    parser = common.flags(__doc__)
    parser.set_defaults(lr=2e-3, steps=2000)
    add = parser.add_argument_group("model").add_argument
    add("--schedule", choices=SCHEDULES, default="linear", help="the noise schedule")
    add("--channels", type=common.integer(8), default=16, metavar="N", help="channels at 28 x 28; more below")
    args = common.parse(parser, TINY, SCRIPT)
    common.check_fashion_mnist(parser, args.data)
    if args.channels % 8:
        parser.error(f"argument --channels: must be a multiple of 8, got {args.channels}")
    return args


def train(args: argparse.Namespace, run: Run, scheduler: DDPMScheduler) -> Trained | None:
    """Train; None if asked to stop, and in all processes but the main one."""
    import data
    import methods
    from networks import predict, small_unet

    from speediff.torch import schedule_from

    model = small_unet(args.channels, classes=len(common.CLASS_NAMES)).to(run.device)
    images = data.fashion_mnist(args.data, "train")

    # ==== SpeeDiff, 1 of 2: once ==================================================================
    # With one method this is TimestepSampler.for_scheduler(scheduler, "asymmetric", "change_aware").
    schedule = schedule_from(scheduler)
    sampler = methods.build_sampler(args.method, schedule, "epsilon", args.seed)
    # ==============================================================================================

    def make_batch(step: int) -> tuple[Tensor, ...]:
        return data.training_batch(images, args.seed, step, args.batch_size, run.part, args.label_dropout)

    def compute_loss(network: nn.Module, x: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        # ==== SpeeDiff, 2 of 2: per batch =========================================================
        t, weights = sampler.sample(len(x), x.device)
        # ==========================================================================================
        eps_pred = predict(network, scheduler.add_noise(x, noise, t), t, labels)
        losses = ((eps_pred - noise) ** 2).mean(dim=(1, 2, 3))
        if sampler.learns:  # SpeeDiff, for methods that follow the loss: before any weight
            sampler.update(t, losses.detach())
        return (weights * losses).mean()

    return run.train(model, sampler, make_batch, compute_loss)


def show(args: argparse.Namespace, trained: Trained, scheduler: DDPMScheduler, run: Run) -> None:
    """Write the curve and samples of every class, and print the validation loss."""
    import data
    import evaluation
    import networks
    import results

    predict = partial(networks.predict, trained.network)
    test = data.fashion_mnist(args.data, "t10k").first(args.validation_images)
    x = data.to_model_range(test.pixels)
    validation = evaluation.epsilon_validation(predict, x, test.labels, scheduler, run.device)
    title = f"U-Net on Fashion-MNIST, {args.schedule} schedule"
    results.show_classes(args, trained, title, predict, scheduler, validation, run.device)


def main() -> None:
    """Train, then show what came of it."""
    args = parse_arguments()
    from diffusers import DDPMScheduler
    from loop import Run

    scheduler = DDPMScheduler(beta_schedule=SCHEDULES[args.schedule])
    with Run(args, SCRIPT) as run:
        trained = train(args, run, scheduler)
    if trained is not None:
        show(args, trained, scheduler, run)


if __name__ == "__main__":
    main()
