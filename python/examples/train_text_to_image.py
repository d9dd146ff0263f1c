#!/usr/bin/env python3
"""Train a text-to-image transformer on named emoji, with SpeeDiff.

  python train_text_to_image.py                           emoji from their names
  python train_text_to_image.py --method uniform          the baseline
  python train_text_to_image.py --emoji 1377              all emoji: needs many more --steps
  python train_text_to_image.py --text-encoder DIR        another encoder: CLIP, T5 or BERT
  python train_text_to_image.py --resume                  continue after Ctrl-C or a crash

The network is diffusers' PixArt-alpha: a DiT with cross-attention to a frozen text encoder, which
runs once, before training. It predicts v; SpeeDiff needs to know that because weights depend on it.
Nothing else about text concerns SpeeDiff.

The picture at the end shows prompts from the training set and, below them, held-out ones, such as
"green heart", whose parts the network knows. Compare methods by the validation loss, which is that of
held-out emoji, never by the training loss.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import common

if TYPE_CHECKING:
    import argparse

    from data import Images
    from diffusers import DDPMScheduler, PixArtTransformer2DModel
    from loop import Run, Trained
    from text_encoder import Prompts
    from torch import Tensor, nn

SCRIPT = Path(__file__).stem
TINY = {
    "steps": 8, "batch_size": 8, "checkpoint_every": 3, "hidden": 16, "depth": 1, "heads": 2,
    "emoji": 60, "sample_steps": 3, "columns": 2, "validation_images": 20,
}  # fmt: skip


def parse_arguments() -> argparse.Namespace:
    """The command line; bad values end the program with a message."""
    parser = common.flags(__doc__, data=None)
    parser.set_defaults(lr=3e-3, steps=2500, cfg_scale=2.0, columns=6, validation_images=1000)
    add = parser.add_argument_group("text and images").add_argument
    add(
        "--text-encoder",
        type=Path,
        metavar="DIR",
        help="CLIP, T5 or BERT (default: MiniLM, from its package)",
    )
    add(
        "--emoji",
        type=common.integer(25),
        default=400,
        metavar="N",
        help="how many of the 1377 emoji, evenly spread",
    )
    add = parser.add_argument_group("model").add_argument
    add("--hidden", type=common.integer(8), default=128, metavar="N", help="width of a token")
    add("--depth", type=common.integer(1), default=4, metavar="N", help="transformer blocks")
    add("--heads", type=common.integer(1), default=4, metavar="N", help="attention heads")
    add("--patch", type=int, choices=(2, 4, 8), default=4, help="side of a patch in pixels")
    args = common.parse(parser, TINY, SCRIPT)
    if args.hidden % (4 * args.heads):  # 4: sines and cosines of two coordinates
        parser.error(
            f"argument --hidden: must be a multiple of 4 times the {args.heads} heads, got {args.hidden}"
        )
    return args


def load_emoji(args: argparse.Namespace) -> tuple[list[str], Images, Images]:
    """The names, and images for training and for validation, whose labels are places in the names."""
    import emoji_data

    missing = emoji_data.missing_files()
    if missing:
        names = ", ".join(map(str, missing))
        raise SystemExit(f"{SCRIPT}: no {names}: apt-get install fonts-noto-color-emoji unicode-data")
    every = emoji_data.named_emoji()
    # Those of the picture first, then every so many.
    shown = [one for one in every if one.name in (*emoji_data.SEEN, *emoji_data.UNSEEN)]
    others = [one for one in every if one not in shown]
    count = max(0, min(args.emoji, len(every)) - len(shown))
    chosen = shown + [others[place * len(others) // count] for place in range(count)]
    return [one.name for one in chosen], *emoji_data.split(chosen)


def load_prompts(args: argparse.Namespace, names: list[str]) -> Prompts:
    """The encoded names, and last "", which stands for no text."""
    import text_encoder

    try:
        folder = text_encoder.find(args.text_encoder)
        return text_encoder.encode(folder, [*names, ""]).standardized()
    except text_encoder.TextEncoderError as error:
        raise SystemExit(f"{SCRIPT}: {error}") from None


def build_model(args: argparse.Namespace, prompts: Prompts) -> PixArtTransformer2DModel:
    """A small PixArt-alpha of diffusers, with an initialisation, which is left to the user.

    It is that of its authors but for the text: theirs, who begin with a DiT that is trained already,
    lets cross-attention start without effect.
    """
    from diffusers import PixArtTransformer2DModel
    from torch.nn import Linear
    from torch.nn.init import normal_, xavier_uniform_, zeros_

    model = PixArtTransformer2DModel(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        patch_size=args.patch,
        num_layers=args.depth,
        num_attention_heads=args.heads,
        attention_head_dim=args.hidden // args.heads,
        cross_attention_dim=args.hidden,
        caption_channels=prompts.tokens.shape[2],
        use_additional_conditions=False,  # of pictures in several sizes
    )
    for module in model.modules():
        if isinstance(module, Linear):
            xavier_uniform_(module.weight)
            zeros_(module.bias)
    embedder = model.adaln_single.emb.timestep_embedder
    for layer in (embedder.linear_1, embedder.linear_2, model.adaln_single.linear):
        normal_(layer.weight, std=0.02)
    zeros_(model.proj_out.weight)
    return model


def predict_velocity(network: nn.Module, prompts: Prompts, x_t: Tensor, t: Tensor, texts: Tensor) -> Tensor:
    """The v that ``network`` sees in ``x_t``, (n, 3, 32, 32), given places (n,) in ``prompts``."""
    prediction: Tensor = network(
        x_t,
        timestep=t,
        encoder_hidden_states=prompts.tokens[texts],
        encoder_attention_mask=prompts.mask[texts],
        # What diffusers before 0.32 asks for also where a network has no such conditions.
        added_cond_kwargs={"resolution": None, "aspect_ratio": None},
        return_dict=False,
    )[0]
    return prediction


def train(
    args: argparse.Namespace, run: Run, scheduler: DDPMScheduler, images: Images, prompts: Prompts
) -> Trained | None:
    """Train; None if asked to stop, and in all processes but the main one."""
    import data
    import methods
    import torch

    from speediff.torch import schedule_from

    model = build_model(args, prompts).to(run.device)
    no_text = len(prompts.tokens) - 1

    # ==== SpeeDiff, 1 of 2: once ==================================================================
    schedule = schedule_from(scheduler)
    sampler = methods.build_sampler(args.method, schedule, "v", args.seed)
    # ==============================================================================================

    def make_batch(step: int) -> tuple[Tensor, ...]:
        # No flips: there is a "right arrow", and a "left arrow".
        chosen = torch.from_numpy(data.batch_indices(args.seed, step, args.batch_size, len(images)))[run.part]
        draws = data.random_numbers(args.seed, "training batch", step)
        dropped = torch.from_numpy(draws.random(args.batch_size) < args.label_dropout)[run.part]
        x = data.to_model_range(images.pixels[chosen])
        texts = images.labels[chosen].masked_fill(dropped, no_text)
        return x, texts, data.noise_for(args.seed, step, args.batch_size, run.part, x.shape[1:])

    def compute_loss(network: nn.Module, x: Tensor, texts: Tensor, noise: Tensor) -> Tensor:
        # ==== SpeeDiff, 2 of 2: per batch =========================================================
        t, weights = sampler.sample(len(x), x.device)
        # ==========================================================================================
        v_pred = predict_velocity(network, prompts, scheduler.add_noise(x, noise, t), t, texts)
        losses = ((v_pred - scheduler.get_velocity(x, noise, t)) ** 2).mean(dim=(1, 2, 3))
        if sampler.learns:  # SpeeDiff, for methods that follow the loss: before any weight
            sampler.update(t, losses.detach())
        return (weights * losses).mean()

    return run.train(model, sampler, make_batch, compute_loss)


def show(
    args: argparse.Namespace,
    trained: Trained,
    scheduler: DDPMScheduler,
    run: Run,
    names: list[str],
    held_out: Images,
    prompts: Prompts,
) -> None:
    """Write the curve and samples for some prompts, and print the validation loss."""
    import data
    import emoji_data
    import evaluation
    import report
    import torch

    predict = partial(predict_velocity, trained.network, prompts)
    alphas_cumprod = scheduler.alphas_cumprod.to(run.device)

    def predict_noise(x_t: Tensor, t: Tensor, texts: Tensor) -> Tensor:
        a = alphas_cumprod[t][:, None, None, None]
        return a.sqrt() * predict(x_t, t, texts) + (1 - a).sqrt() * x_t

    # Each held-out emoji several times, at different time steps.
    again = torch.arange(args.validation_images) * 7919 % len(held_out)
    x, texts = data.to_model_range(held_out.pixels[again]), held_out.labels[again]
    validation = evaluation.epsilon_validation(predict_noise, x, texts, scheduler, run.device)

    rows = [*emoji_data.SEEN, *emoji_data.UNSEEN]
    chosen = torch.tensor([names.index(name) for name in rows], device=run.device)
    chosen = chosen.repeat_interleave(args.columns)
    no_text = torch.full_like(chosen, len(names))
    samples = evaluation.generate(
        evaluation.guided(predict, chosen, no_text, args.cfg_scale),
        (len(chosen), 3, 32, 32), scheduler, args.sample_steps, args.seed, run.device,
    )  # fmt: skip
    grid = samples.unflatten(0, (len(rows), args.columns))
    labels = [f"{name}{'' if name in emoji_data.SEEN else ' (unseen)'}" for name in rows]
    report.show(args, trained, "PixArt on emoji", grid, labels, validation)


def main() -> None:
    """Train, then show what came of it."""
    args = parse_arguments()
    from diffusers import DDPMScheduler
    from loop import Run

    # Its defaults are the paper's: 1000 steps, linear betas. After a short training v, which is
    # nearly the image itself where there is much noise, gives better samples than epsilon.
    scheduler = DDPMScheduler(prediction_type="v_prediction")
    with Run(args, SCRIPT) as run:
        names, images, held_out = load_emoji(args)
        prompts = load_prompts(args, names).to(run.device)
        trained = train(args, run, scheduler, images, prompts)
    if trained is not None:
        show(args, trained, scheduler, run, names, held_out, prompts)


if __name__ == "__main__":
    main()
