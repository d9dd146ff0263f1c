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
    args = common.parse(parser, TINY, SCRIPT)
    common.check_fashion_mnist(parser, args.data)
    if args.channels % 8:
        parser.error(f"argument --channels: must be a multiple of 8, got {args.channels}")
    return args


def shrink(x: Tensor, size: int) -> Tensor:
    """Images (n, 1, 28, 28) with ``size`` x ``size`` pixels, scaled up again: the condition."""
    from torch.nn.functional import adaptive_avg_pool2d, interpolate

    return interpolate(adaptive_avg_pool2d(x, size), size=x.shape[-2:], mode="bilinear")


def predict_noise(network: nn.Module, x_t: Tensor, t: Tensor, small: Tensor) -> Tensor:
    """The epsilon that ``network`` sees in ``x_t``, whose image scaled down and up is ``small``."""
    import networks
    import torch

    return networks.predict(network, torch.cat([x_t, small], dim=1), t)


def train(args: argparse.Namespace, run: Run, scheduler: DDPMScheduler) -> Trained | None:
    """Train; None if asked to stop, and in all processes but the main one."""
    import data
    import methods
    from networks import small_unet

    from speediff.torch import schedule_from

    model = small_unet(args.channels, in_channels=2).to(run.device)
    images = data.fashion_mnist(args.data, "train")

    # ==== SpeeDiff, 1 of 2: once ==================================================================
    # With one method this is TimestepSampler.for_scheduler(scheduler, "asymmetric", "change_aware").
    schedule = schedule_from(scheduler)
    sampler = methods.build_sampler(args.method, schedule, "epsilon", args.seed)
    # ==============================================================================================

    def make_batch(step: int) -> tuple[Tensor, ...]:
        x, _, noise = data.training_batch(images, args.seed, step, args.batch_size, run.part)
        return x, shrink(x, args.low_resolution), noise

    def compute_loss(network: nn.Module, x: Tensor, small: Tensor, noise: Tensor) -> Tensor:
        # ==== SpeeDiff, 2 of 2: per batch =========================================================
        t, weights = sampler.sample(len(x), x.device)
        # ==========================================================================================
        eps_pred = predict_noise(network, scheduler.add_noise(x, noise, t), t, small)
        losses = ((eps_pred - noise) ** 2).mean(dim=(1, 2, 3))
        if sampler.learns:  # SpeeDiff, for methods that follow the loss: before any weight
            sampler.update(t, losses.detach())
        return (weights * losses).mean()

    return run.train(model, sampler, make_batch, compute_loss)


def show(args: argparse.Namespace, trained: Trained, scheduler: DDPMScheduler, run: Run) -> None:
    """Write the curve and some test images with what the network makes of them, and print losses."""
    import data
    import evaluation
    import report
    import torch

    predict = partial(predict_noise, trained.network)
    test = data.fashion_mnist(args.data, "t10k").first(args.validation_images)
    x = data.to_model_range(test.pixels)
    small = shrink(x, args.low_resolution)
    validation = evaluation.epsilon_validation(predict, x, small, scheduler, run.device)

    shown, given = x[: args.columns], small[: args.columns].to(run.device)
    made = evaluation.generate(
        lambda x_t, t: predict(x_t, t, given),
        shown.shape, scheduler, args.sample_steps, args.seed, run.device,
    )  # fmt: skip
    grid = torch.stack([given.cpu(), made.cpu(), shown])
    size = f"{args.low_resolution} x {args.low_resolution}"
    names = (f"{size}, scaled up", "sample", "original")
    report.show(args, trained, f"{size} to 28 x 28", grid, names, validation)


def main() -> None:
    """Train, then show what came of it."""
    args = parse_arguments()
    from diffusers import DDPMScheduler
    from loop import Run

    scheduler = DDPMScheduler()  # 1000 steps, linear betas, epsilon prediction
    with Run(args, SCRIPT) as run:
        trained = train(args, run, scheduler)
    if trained is not None:
        show(args, trained, scheduler, run)


if __name__ == "__main__":
    main()
