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

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import common

if TYPE_CHECKING:
    import argparse

    from diffusers import FlowMatchEulerDiscreteScheduler
    from loop import Run, Trained
    from torch import Tensor, nn

SCRIPT = Path(__file__).stem
TINY = {
    "steps": 8, "batch_size": 8, "checkpoint_every": 3, "channels": 8,
    "sample_steps": 3, "columns": 2, "validation_images": 50,
}  # fmt: skip
BANDS = {"sigma<0.5": (0, 0.5), "0.5<=sigma<0.923": (0.5, 0.923), "sigma>=0.923": (0.923, 1.01)}


def parse_arguments() -> argparse.Namespace:
    """The command line; bad values end the program with a message."""
    parser = common.flags(__doc__)
    parser.set_defaults(lr=2e-3, steps=2000)
    add = parser.add_argument_group("model").add_argument
    add("--shift", type=common.real(0, open_=True), default=1.0, metavar="A", help="σ to Aσ/(1+(A-1)σ)")
    add("--channels", type=common.integer(8), default=16, metavar="N", help="channels at 28 x 28; more below")
    args = common.parse(parser, TINY, SCRIPT)
    common.check_fashion_mnist(parser, args.data)
    if args.channels % 8:
        parser.error(f"argument --channels: must be a multiple of 8, got {args.channels}")
    return args


def mix(x: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """x_t: images (n, 1, 28, 28) and noise at the levels σ (n,)."""
    sigma = sigma[:, None, None, None]
    return (1 - sigma) * x + sigma * noise


def train(args: argparse.Namespace, run: Run, scheduler: FlowMatchEulerDiscreteScheduler) -> Trained | None:
    """Train; None if asked to stop, and in all processes but the main one."""
    import data
    import methods
    from networks import predict, small_unet

    from speediff.torch import schedule_from

    model = small_unet(args.channels, classes=len(common.CLASS_NAMES)).to(run.device)
    images = data.fashion_mnist(args.data, "train")

    # ==== SpeeDiff, 1 of 2: once ==================================================================
    # With one method this is TimestepSampler.for_scheduler(scheduler, "asymmetric", "change_aware"),
    # which draws the scheduler's own timesteps: 1000 σ, and not their numbers.
    schedule = schedule_from(scheduler)
    sampler = methods.build_sampler(args.method, schedule, "flow", args.seed)
    # ==============================================================================================
    sigmas = scheduler.sigmas[: schedule.steps].flip(0).to(run.device)  # from little noise to pure noise

    def make_batch(step: int) -> tuple[Tensor, ...]:
        return data.training_batch(images, args.seed, step, args.batch_size, run.part, args.label_dropout)

    def compute_loss(network: nn.Module, x: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        # ==== SpeeDiff, 2 of 2: per batch =========================================================
        t, weights = sampler.sample(len(x), x.device)
        # ==========================================================================================
        sigma = sigmas[t]
        velocity = predict(network, mix(x, noise, sigma), 1000 * sigma, labels)
        losses = ((velocity - (noise - x)) ** 2).mean(dim=(1, 2, 3))
        if sampler.learns:  # SpeeDiff, for methods that follow the loss: before any weight
            sampler.update(t, losses.detach())
        return (weights * losses).mean()

    return run.train(model, sampler, make_batch, compute_loss)


def show(
    args: argparse.Namespace, trained: Trained, scheduler: FlowMatchEulerDiscreteScheduler, run: Run
) -> None:
    """Write the curve and samples of every class, and print the validation loss."""
    import data
    import evaluation
    import networks
    import results

    predict = partial(networks.predict, trained.network)

    def loss_at(sigma: Tensor, x: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
        velocity = predict(mix(x, noise, sigma), 1000 * sigma, labels)
        return ((velocity - (noise - x)) ** 2).mean(dim=(1, 2, 3))

    test = data.fashion_mnist(args.data, "t10k").first(args.validation_images)
    x = data.to_model_range(test.pixels)
    # Whatever the shift is: it chooses what to train on, and samples are judged all the way.
    sigma = (evaluation.stratified_steps(len(x)) + 1) / 1000
    questions = x, evaluation.fixed_noise(x.shape), test.labels
    validation = evaluation.validation_loss(loss_at, sigma, questions, BANDS, run.device)
    title = "Rectified flow on Fashion-MNIST"
    results.show_classes(args, trained, title, predict, scheduler, validation, run.device)


def main() -> None:
    """Train, then show what came of it."""
    args = parse_arguments()
    from diffusers import FlowMatchEulerDiscreteScheduler
    from loop import Run

    scheduler = FlowMatchEulerDiscreteScheduler(shift=args.shift)
    with Run(args, SCRIPT) as run:
        trained = train(args, run, scheduler)
    if trained is not None:
        show(args, trained, scheduler, run)


if __name__ == "__main__":
    main()
