"""The flags that `speediff train` and `speediff compare` share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._runs import schedule_flags
from .._runs.run_settings import (
    AUTO,
    DEFAULTS,
    MASKING,
    NETWORK,
    OFFICIAL_RATE,
    PATCH,
    SMALL,
    SMALL_PATCH,
    SMALL_RATE,
)
from .._samplers.recipe import PREDICTIONS, STRATA
from .._trainer.options import PRECISIONS

if TYPE_CHECKING:
    import argparse

THREADS = "this process's share of the processors available to it"


def add_to(
    parser: argparse.ArgumentParser, *, out: str, is_data_needed: bool = True, threads: str = THREADS
) -> None:
    """Adds the positional DATA and the groups of flags.

    Flags that are settings of the run default to None, because a resumed run has its own settings.

    Args:
        parser: The parser of the sub-command.
        out: The default of --out.
        is_data_needed: Whether DATA must be given.
        threads: The default of --threads, in words.
    """
    _add_data(parser, is_data_needed)
    _add_network(parser)
    _add_noise(parser)
    _add_optimization(parser)
    group = parser.add_argument_group("run")
    group.add_argument("--out", metavar="FOLDER", default=out, help=f"output folder (default: {out})")
    group.add_argument("--resume", action="store_true", help="continue the run in --out, if there is one")
    group.add_argument("--seed", metavar="N", type=int, help="seed of all randomness (default: 0)")
    group.add_argument("--threads", metavar="N", type=int, help=f"threads (default: {threads})")
    group.add_argument(
        "--precision",
        metavar="NAME",
        help=f"of the factors of matrix products: {', '.join(PRECISIONS)}; auto is the one that this "
        "processor is faster with (default: float32)",
    )
    group.add_argument(
        "--checkpoint-every", metavar="N", type=int, default=500, help="save every N steps (default: 500)"
    )


def tell_precision(options: argparse.Namespace, taken: str) -> None:
    """Prints the precision that "auto" took."""
    if options.precision == AUTO:
        print(f"--precision {AUTO}: matrix products in {taken}", flush=True)


def add_source(parser: argparse.ArgumentParser, *, is_needed: bool = True) -> argparse._ArgumentGroup:
    """Adds the positional DATA, and a group of flags about reading it. Returns the group."""
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs=None if is_needed else "?",
        help="fashion-mnist, openclipart, digits, a folder (of idx files, CIFAR-10 or pictures), or a "
        ".npy or .npz file",
    )
    group = parser.add_argument_group("data")
    group.add_argument(
        "--input-size",
        metavar="N",
        type=int,
        help="crop and scale a folder's pictures to N×N, or scale openclipart's drawings (default: 32)",
    )
    group.add_argument(
        "--background",
        metavar="COLOR",
        help="background color for transparent pictures of a folder (default: white)",
    )
    return group


def _add_data(parser: argparse.ArgumentParser, is_needed: bool) -> None:
    group = add_source(parser, is_needed=is_needed)
    group.add_argument("--flip", action="store_true", default=None, help="mirror half of the pictures")
    group.add_argument("--unconditional", action="store_true", default=None, help="ignore the labels")


def _add_network(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("network, a DiT or an MDT")
    group.add_argument(
        "--model",
        metavar="NAME",
        help="a named network: DiT-S/2 … DiT-XL/8, MDT-S/2 … (the paper's), MDTv2-S/2 … (the authors' code). "
        "It replaces the flags below, except --learn-sigma",
    )
    for name, what in (("hidden", "width of a token"), ("depth", "blocks"), ("heads", "attention heads")):
        group.add_argument(f"--{name}", metavar="N", type=int, help=f"{what} (default: {NETWORK[name]})")
    group.add_argument(
        "--patch",
        metavar="N",
        type=int,
        help=f"side of a patch in pixels (default: {PATCH}, or {SMALL_PATCH} for sizes up to {SMALL})",
    )
    group.add_argument("--mdt", metavar="V", type=int, help="train an MDT of version 1 or 2 instead of a DiT")
    group.add_argument(
        "--decode-layer",
        metavar="N",
        type=int,
        help=f"for an MDT: decoding blocks (default: {MASKING['decode_layer']})",
    )
    group.add_argument(
        "--mask-ratio",
        metavar="X",
        type=float,
        help=f"for an MDT: share of masked tokens; version 2 masks up to 0.2 more (default: "
        f"{MASKING['mask_ratio']:g})",
    )
    group.add_argument("--learn-sigma", action="store_true", default=None, help="also learn the variance")


def _add_noise(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("noise")
    group.add_argument(
        "--prediction",
        metavar="TARGET",
        help=f"what the network predicts: {', '.join(PREDICTIONS)} (default: epsilon)",
    )
    group.add_argument(
        "--strata",
        metavar="NAME",
        help=f"how to spread a batch over the noise levels: {', '.join(STRATA)} (default: none)",
    )
    group.add_argument("--normalize", action="store_true", default=None, help="divide the weights by E[w]")
    group.add_argument(
        "--schedule", metavar="NAME", help=f"{', '.join(schedule_flags.SCHEDULES)} (default: linear)"
    )
    group.add_argument(
        "--timesteps", metavar="T", type=int, help="number of steps of the schedule (default: 1000)"
    )
    schedule_flags.add_tables_to(group, unset=None)


def _add_optimization(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("optimization, AdamW")
    for name, kind, text in (
        ("steps", int, "total number of optimizer steps"),
        ("batch_size", int, "images per step, over all micro-batches and processes"),
        ("accumulation", int, "micro-batches per step; more micro-batches need less memory"),
        ("lr", float, "learning rate"),
        ("warmup", int, "steps of linear learning-rate warm-up"),
        ("weight_decay", float, "decoupled weight decay"),
        ("ema_decay", float, "decay of the EMA weights; warms up from a lower value"),
        ("clip", float, "clip the gradient to this norm"),
        ("label_dropout", float, "share of images trained without their label, for guidance"),
    ):
        flag, default = schedule_flags.flag(name), DEFAULTS[name]
        if name == "lr":
            text += f" (default: {SMALL_RATE:g}, or {OFFICIAL_RATE:g} with --model)"
        else:
            text += f" (default: {'none' if default is None else f'{default:g}'})"
        group.add_argument(flag, metavar="N" if kind is int else "X", type=kind, help=text)
