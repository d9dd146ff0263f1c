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
  speed                SpeeDiff's extension of SpeeD to noise levels
  a sampling           log_normal, laplace, cauchy; for VP and VE also uniform, cosmap, ...
  a weighting          min_snr, p2, edm, ... (not for EDM: sigmoid)
  sampling+weighting   both; sigma_methods.py has the details

Methods that learn from losses (adaptive, ...) need timesteps, and raise an error that says so.

Compare methods and processes by the validation loss: EDM's weighted loss of the EMA weights on test
images. Its noise levels, spread over EDM's own distribution, and its noise are always the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import common

if TYPE_CHECKING:
    import argparse

    from loop import Run, Trained
    from torch import Tensor, nn

    from speediff.torch import DenoisingLoss, Preconditioned

SCRIPT = Path(__file__).stem
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
    add = parser.add_argument_group("model").add_argument
    add(
        "--channels",
        type=common.integer(8),
        default=16,
        metavar="N",
        help="channels at 28 x 28; lower resolutions have 2 and 4 times as many",
    )
    add = parser.add_argument_group("process").add_argument
    add("--process", choices=("edm", "vp", "ve"), default="edm", help="the noise process")
    add("--fdm", action="store_true", help="FDM's momentum in the input scale, and --warm-up")
    add(
        "--warm-up",
        type=common.integer(1),
        default=400,
        metavar="N",
        help="steps during which FDM clips weights",
    )
    args = common.parse(parser, TINY, SCRIPT)
    common.check_fashion_mnist(parser, args.data)
    if args.channels % 8:  # the groups of normalisation
        parser.error(f"argument --channels: must be a multiple of 8, got {args.channels}")
    if args.sample_steps < 2:
        parser.error(f"argument --sample-steps: must be at least 2, got {args.sample_steps}")
    return args


def build_model(args: argparse.Namespace) -> Preconditioned:
    """D: a U-Net, preconditioned as the process has it."""
    from networks import small_unet

    from speediff.torch import Preconditioned

    unet = small_unet(args.channels, classes=len(common.CLASS_NAMES))
    # m = 2 in FDM's paper; its code leaves m out for VE.
    momentum = (1.0 if args.process == "ve" else 2.0) if args.fdm else None
    return Preconditioned(unet, args.process, momentum=momentum)


def build_loss(args: argparse.Namespace) -> DenoisingLoss:
    """The loss of the process, with the draw and the weight of ``--method``."""
    import sigma_methods

    from speediff.torch import DenoisingLoss

    process = DenoisingLoss(args.process).sampler.process
    sampling, weighting = sigma_methods.read(args.method, process)
    warm_up = args.warm_up if args.fdm else None
    return DenoisingLoss(process, seed=args.seed, warm_up=warm_up, sampling=sampling, weighting=weighting)


def train(args: argparse.Namespace, run: Run) -> Trained | None:
    """Train; None if asked to stop, and in all processes but the main one."""
    import data

    images = data.fashion_mnist(args.data, "train")

    # ==== SpeeDiff, 1 of 2: once ==================================================================
    model = build_model(args).to(run.device)
    loss_fn = build_loss(args)
    # ==============================================================================================

    def make_batch(step: int) -> tuple[Tensor, ...]:
        return data.training_batch(images, args.seed, step, args.batch_size, run.part, args.label_dropout)

    def compute_loss(network: nn.Module, x: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        # ==== SpeeDiff, 2 of 2: per batch =========================================================
        # Without `noise` it is PyTorch's, which depends on the number of processes.
        return loss_fn(net=network, images=x, labels=labels, noise=noise).mean()
        # ==========================================================================================

    return run.train(model, loss_fn.sampler, make_batch, compute_loss)


def validation_loss(args: argparse.Namespace, trained: Trained, run: Run) -> dict[str, float]:
    """EDM's weighted loss, over all noise levels and in :data:`BANDS`."""
    import data
    import evaluation
    import torch

    test = data.fashion_mnist(args.data, "t10k").first(args.validation_images)
    x = data.to_model_range(test.pixels)
    # Quantiles of EDM's distribution, ln σ ~ N(-1.2, 1.2²), one for each image.
    quantiles = (torch.arange(len(x), dtype=torch.float64) + 0.5) / len(x)
    sigmas = (1.2 * torch.special.ndtri(quantiles) - 1.2).exp().float()

    def loss_at(sigma: Tensor, x: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
        level = sigma[:, None, None, None]
        error = trained.network(x + level * noise, level, labels) - x
        return (sigma**2 + 0.5**2) / (sigma * 0.5) ** 2 * (error**2).mean(dim=(1, 2, 3))

    tensors = (x, evaluation.fixed_noise(x.shape), test.labels)
    return evaluation.validation_loss(loss_at, sigmas, tensors, BANDS, run.device)


def show(args: argparse.Namespace, trained: Trained, run: Run) -> None:
    """Write the curve and samples of every class, and print the validation loss."""
    import evaluation
    import heun
    import report
    import torch

    names, network = common.CLASS_NAMES, trained.network
    labels = torch.arange(len(names), device=run.device).repeat_interleave(args.columns)
    predict = evaluation.guided(network, labels, torch.full_like(labels, len(names)), args.cfg_scale)
    noise, _ = evaluation.starting_noise((len(labels), 1, 28, 28), args.seed)
    ends = max(network.sigma_min, 0.002), FIRST_SIGMA[args.process]
    levels = heun.noise_levels(args.sample_steps, *ends)
    samples = heun.sample(predict, noise.to(run.device), levels.to(run.device))
    grid = samples.float().unflatten(0, (len(names), args.columns))
    title = f"{args.process.upper()}{' with FDM' if args.fdm else ''} on Fashion-MNIST"
    report.show(args, trained, title, grid, names, validation_loss(args, trained, run))


def main() -> None:
    """Train, then show what came of it."""
    args = parse_arguments()
    from loop import Run

    with Run(args, SCRIPT) as run:
        trained = train(args, run)
    if trained is not None:
        show(args, trained, run)


if __name__ == "__main__":
    main()
