#!/usr/bin/env python3
"""Train a masked diffusion transformer (MDT) on Fashion-MNIST, with SpeeDiff.

  python train_mdt.py                           some minutes on two CPU cores
  python train_mdt.py --method uniform          the baseline
  python train_mdt.py --min-snr 5               with the weight that MDT's own code applies
  python train_mdt.py --learn-variance          with guided-diffusion's hybrid loss
  python train_mdt.py --resume                  continue after Ctrl-C or a crash

Each step passes every image through the network twice, as MDT does: once whole, and once with
--mask-ratio of its tokens masked. Both passes have the same timestep, so SpeeDiff draws once. Each
has its own noise; their losses are added. Generation uses only the full pass.

--min-snr G multiplies the MSE by min(SNR, G)/SNR, in addition to the weight of --method. So
`--method speed --min-snr 5` trains with the product of SpeeD's and Min-SNR's weights, and
`--method uniform --min-snr 5` with those of `--method uniform+min_snr`. MDT's own code always
applies Min-SNR-5: there the weighting `ChangeAware() / MinSNR()` leaves SpeeD's weights alone.

Compare methods by the validation loss, not by training losses. This script follows train_dit.py.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import common

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from diffusers import DDPMScheduler
    from loop import Run, Trained
    from masked_dit import MaskedDiT
    from torch import Tensor, nn

SCRIPT = Path(__file__).stem
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
    add("--learn-variance", action="store_true", help="also learn the variance, by the variational bound")
    add = parser.add_argument_group("masked training").add_argument
    add("--mask-ratio", type=common.real(0, 1), default=0.3, metavar="X", help="share of masked tokens")
    add(
        "--min-snr",
        type=common.real(0, open_=True),
        metavar="G",
        help="γ of Min-SNR; MDT's own code has 5 (default: off)",
    )
    args = common.parse(parser, TINY, SCRIPT)
    common.check_fashion_mnist(parser, args.data)
    if args.hidden % math.lcm(4, args.heads):  # 4: sines and cosines of two coordinates
        parser.error(
            f"argument --hidden: must be a multiple of 4 and of the {args.heads} heads, got {args.hidden}"
        )
    if args.decode_layers >= args.depth:
        parser.error(
            f"argument --decode-layers: must be below --depth {args.depth}, got {args.decode_layers}"
        )
    return args


def build_model(args: argparse.Namespace) -> MaskedDiT:
    """The network of ``masked_dit.py``."""
    from masked_dit import MaskedDiT

    return MaskedDiT(
        patch=args.patch,
        hidden=args.hidden,
        depth=args.depth,
        decode_layers=args.decode_layers,
        heads=args.heads,
        classes=len(common.CLASS_NAMES),
        learn_variance=args.learn_variance,
    )


def train(args: argparse.Namespace, run: Run, scheduler: DDPMScheduler) -> Trained | None:
    """Train; None if asked to stop, and in all processes but the main one."""
    import data
    import masked_dit
    import methods
    import torch

    from speediff.torch import combine, schedule_from

    model = build_model(args).to(run.device)
    images = data.fashion_mnist(args.data, "train")
    alphas_cumprod = scheduler.alphas_cumprod.double().to(run.device)
    snr = alphas_cumprod / (1 - alphas_cumprod)

    # ==== SpeeDiff, 1 of 2: once ==================================================================
    schedule = schedule_from(scheduler)
    sampler = methods.build_sampler(args.method, schedule, "epsilon", args.seed)
    # ==============================================================================================

    def make_batch(step: int) -> tuple[Tensor, ...]:
        batch = data.training_batch(images, args.seed, step, args.batch_size, run.part, args.label_dropout)
        draws = data.random_numbers(args.seed, "masked pass", step)
        scores = torch.from_numpy(draws.random((args.batch_size, model.tokens)))[run.part]
        noise = draws.standard_normal((args.batch_size, 1, 28, 28), dtype="float32")
        keep = masked_dit.kept_tokens(scores, args.mask_ratio)
        return *batch, torch.from_numpy(noise)[run.part], keep

    def terms(
        network: nn.Module, x: Tensor, t: Tensor, labels: Tensor, noise: Tensor, keep: Tensor | None
    ) -> dict[str, Tensor]:
        """The parts of the loss of one pass, (n,) each, by guided-diffusion's names."""
        x_t = scheduler.add_noise(x, noise, t)
        output = network(x_t, t, labels, keep)
        result = {"mse": ((output[:, :1] - noise) ** 2).mean(dim=(1, 2, 3))}
        if args.min_snr is not None:
            result["mse"] *= (snr.clamp(max=args.min_snr) / snr)[t].float()
        if args.learn_variance:
            result["vb"] = masked_dit.variational_bound(output, x, x_t, t, alphas_cumprod)
        return result

    def compute_loss(
        network: nn.Module, x: Tensor, labels: Tensor, noise: Tensor, masked_noise: Tensor, keep: Tensor
    ) -> Tensor:
        # ==== SpeeDiff, 2 of 2: per batch =========================================================
        t, weights = sampler.sample(len(x), x.device)
        # ==========================================================================================
        passes = [
            terms(network, x, t, labels, noise, None),
            terms(network, x, t, labels, masked_noise, keep),
        ]
        if sampler.learns:  # SpeeDiff, for methods that follow the loss: before any weight
            sampler.update(t, sum(sum(one.values()) for one in passes).detach())
        # The weight acts on the MSE, or on all of the loss, as the method's authors have it.
        return sum(combine(one, weights, on=sampler.weighs).mean() for one in passes)

    return run.train(model, sampler, make_batch, compute_loss)


def guided(network: nn.Module, labels: Tensor, scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Classifier-free guidance of epsilon; a learned variance is that of the class."""
    import torch

    both = torch.cat([labels, torch.full_like(labels, len(common.CLASS_NAMES))])

    def predict(x: Tensor, t: Tensor) -> Tensor:
        output, without = network(torch.cat([x, x]), torch.cat([t, t]), both).chunk(2)
        eps = without[:, :1] + scale * (output[:, :1] - without[:, :1])
        return torch.cat([eps, output[:, 1:]], dim=1)

    return predict


def show(args: argparse.Namespace, trained: Trained, scheduler: DDPMScheduler, run: Run) -> None:
    """Write the curve and samples of every class, and print the validation loss."""
    import data
    import evaluation
    import report
    import torch

    def predict_noise(x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return trained.network(x_t, t, labels)[:, :1]

    names = common.CLASS_NAMES
    labels = torch.arange(len(names), device=run.device).repeat_interleave(args.columns)
    samples = evaluation.generate(
        guided(trained.network, labels, args.cfg_scale),
        (len(labels), 1, 28, 28), scheduler, args.sample_steps, args.seed, run.device,
    )  # fmt: skip
    test = data.fashion_mnist(args.data, "t10k").first(args.validation_images)
    x = data.to_model_range(test.pixels)
    validation = evaluation.epsilon_validation(predict_noise, x, test.labels, scheduler, run.device)
    grid = samples.unflatten(0, (len(names), args.columns))
    report.show(args, trained, "MDT on Fashion-MNIST", grid, names, validation)


def main() -> None:
    """Train, then show what came of it."""
    args = parse_arguments()
    from diffusers import DDPMScheduler
    from loop import Run

    # Its defaults are the paper's: 1000 steps, linear betas, epsilon prediction.
    scheduler = DDPMScheduler(variance_type="learned_range" if args.learn_variance else "fixed_small")
    with Run(args, SCRIPT) as run:
        trained = train(args, run, scheduler)
    if trained is not None:
        show(args, trained, scheduler, run)


if __name__ == "__main__":
    main()
