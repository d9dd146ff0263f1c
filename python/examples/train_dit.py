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

Everything except the lines marked SpeeDiff is plain PyTorch and diffusers. Methods:

  uniform   every timestep equally likely, every weight 1: ordinary training
  speed     SpeeD as its paper defines it (arXiv 2405.17403): the steps of the convergence area
            are drawn less often, and weights follow the rate of change
  official  SpeeD as its authors' code does it, which differs in both
  ...       any sampling or weighting that `speediff methods` lists

Training losses are NOT comparable between methods, which draw and weight timesteps differently.
Compare the validation loss: the unweighted epsilon MSE of the EMA weights on test images. Its
timesteps and noise are the same for every method.
"""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import common

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    import torch
    from data import LabelledImages
    from diffusers import DDPMScheduler, DiTTransformer2DModel
    from latents import Space
    from loop import Run, Trained
    from torch import Tensor, nn

    from speediff.torch import Adoption

SCRIPT = Path(__file__).stem
TINY = {
    "steps": 12, "batch_size": 16, "checkpoint_every": 5, "hidden": 32, "depth": 2, "heads": 2,
    "sample_steps": 4, "columns": 2, "validation_images": 100,
}  # fmt: skip


def parse_arguments() -> argparse.Namespace:
    """The command line; bad values end the program with a message."""
    parser = common.flags(__doc__)
    backends = {"choices": ("torch", "swift"), "default": "torch"}
    parser.add_argument("--backend", **backends, help="what trains: swift is SpeeDiff's CPU trainer")
    add = parser.add_argument_group("images").add_argument
    add(
        "--image-size",
        type=common.integer(8),
        default=28,
        metavar="N",
        help="image size, for a folder of pictures",
    )
    add("--vae", type=Path, metavar="DIR", help="an AutoencoderKL of diffusers, to train on latents")
    add = parser.add_argument_group("model").add_argument
    add("--hidden", type=common.integer(4), default=96, metavar="N", help="width of a token")
    add("--depth", type=common.integer(1), default=4, metavar="N", help="transformer blocks")
    add("--heads", type=common.integer(1), default=3, metavar="N", help="attention heads")
    add("--patch", type=common.integer(1), default=4, metavar="N", help="side of a patch in pixels")
    args = common.parse(parser, TINY, SCRIPT)
    if args.backend == "swift":
        args.device = "cpu"
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            parser.error("argument --backend: swift is for one process")
    if not common.has_pictures(args.data):
        common.check_fashion_mnist(parser, args.data)
    if args.hidden % math.lcm(4, args.heads):  # 4: sines and cosines of two coordinates
        parser.error(
            f"argument --hidden: must be a multiple of 4 and of the {args.heads} heads, got {args.hidden}"
        )
    return args


def build_model(args: argparse.Namespace, shape: Sequence[int], classes: int) -> DiTTransformer2DModel:
    """A DiT of diffusers, initialised as its paper does, which diffusers leaves to the user."""
    from diffusers import DiTTransformer2DModel
    from torch.nn import Linear
    from torch.nn.init import xavier_uniform_, zeros_

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
        if isinstance(module, Linear):
            xavier_uniform_(module.weight)
            zeros_(module.bias)
    for block in model.transformer_blocks:
        # adaLN-Zero: each block starts as the identity.
        zeros_(block.norm1.linear.weight)
        # Each block has its own label embedding, which in training drops labels by its own dice:
        # the network as a whole would next to never be without its label, which is what guidance
        # needs. The training batch drops them instead, once per image.
        block.norm1.emb.class_embedder.dropout_prob = 0.0
        if args.backend == "swift":
            # SpeeDiff trains one embedder for all blocks, as DiT's paper has it.
            block.norm1.emb = model.transformer_blocks[0].norm1.emb
    zeros_(model.proj_out_1.weight)
    zeros_(model.proj_out_2.weight)
    return model


def predict_noise(network: nn.Module, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """The epsilon that ``network`` sees in ``x_t``, of the shape of ``x_t``."""
    prediction: Tensor = network(x_t, timestep=t, class_labels=labels, return_dict=False)[0]
    return prediction


def load_data(args: argparse.Namespace) -> tuple[LabelledImages, LabelledImages]:
    """Images for training and for validation: Fashion-MNIST, or a folder of pictures."""
    import data
    import pictures

    if common.is_fashion_mnist(args.data):
        return data.fashion_mnist(args.data, "train"), data.fashion_mnist(args.data, "t10k")
    return pictures.read_folder(args.data, args.image_size)


def train(
    args: argparse.Namespace, run: Run, scheduler: DDPMScheduler, images: LabelledImages, space: Space
) -> Trained | None:
    """Train; None if asked to stop, and in all processes but the main one."""
    import data
    import methods
    import torch

    from speediff.torch import schedule_from

    model = build_model(args, space.shape, len(images.class_names)).to(run.device)

    # ==== SpeeDiff, 1 of 2: once ==================================================================
    # With one method this is TimestepSampler.for_scheduler(scheduler, "asymmetric", "change_aware").
    schedule = schedule_from(scheduler)
    sampler = methods.build_sampler(args.method, schedule, "epsilon", args.seed)
    # ==============================================================================================

    def make_batch(step: int) -> tuple[Tensor, ...]:
        return data.training_batch(
            images, args.seed, step, args.batch_size, run.part, args.label_dropout, space.shape
        )

    def compute_loss(network: nn.Module, images: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        x = space.encode(images)  # the images themselves, unless there is a VAE
        # ==== SpeeDiff, 2 of 2: per batch =========================================================
        t, weights = sampler.sample(len(x), x.device)
        # ==========================================================================================
        eps_pred = predict_noise(network, scheduler.add_noise(x, noise, t), t, labels)
        losses = ((eps_pred - noise) ** 2).mean(dim=(1, 2, 3))
        if sampler.learns:  # SpeeDiff, for methods that follow the loss: before any weight
            sampler.update(t, losses.detach())
        return (weights * losses).mean()

    def swift_loss(adoption: Adoption, images: Tensor, labels: Tensor, noise: Tensor) -> float:
        """The same, and its gradient, of the network that SpeeDiff has adopted."""
        x = space.encode(images)
        t, weights = sampler.sample(len(x))
        loss = adoption.backward(x, labels, t=t, noise=noise, weights=weights)
        if sampler.learns:
            sampler.update(t, torch.from_numpy(adoption.trainer.losses))
        return loss

    return run.train(
        model, sampler, make_batch, compute_loss, swift_loss if args.backend == "swift" else None
    )


def show(
    args: argparse.Namespace,
    trained: Trained,
    scheduler: DDPMScheduler,
    test: LabelledImages,
    space: Space,
    device: torch.device,
) -> None:
    """Write the curve and samples of every class, and print the validation loss."""
    import data
    import evaluation
    import results

    predict = partial(predict_noise, trained.network)
    test = test.first(args.validation_images)
    x = space.encode(data.to_model_range(test.pixels))
    validation = evaluation.epsilon_validation(predict, x, test.labels, scheduler, device)
    results.show_classes(
        args, trained, f"DiT on {args.data.name}", predict, scheduler, validation, device,
        shape=space.shape, class_names=test.class_names, decode=space.decode,
    )  # fmt: skip


def main() -> None:
    """Train, then show what came of it."""
    args = parse_arguments()
    import latents
    import torch
    from diffusers import DDPMScheduler
    from loop import Run

    # Its defaults are the paper's: 1000 steps, linear betas, epsilon prediction.
    scheduler = DDPMScheduler()
    with Run(args, SCRIPT) as run:
        images, test = load_data(args)
        shape = images.pixels_at(torch.tensor([0])).shape[1:]
        space = latents.Space(shape) if args.vae is None else latents.LatentSpace(args.vae, shape, run.device)
        trained = train(args, run, scheduler, images, space)
    if trained is not None:
        show(args, trained, scheduler, test, space, run.device)


if __name__ == "__main__":
    main()
