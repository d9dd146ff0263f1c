"""The flags that `speediff train` and `speediff compare` share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _schedule_flags
from ._recipe import PREDICTIONS, STRATA
from ._training_settings import (
    DEFAULTS,
    MASKING,
    NETWORK,
    OFFICIAL_RATE,
    PATCH,
    SMALL,
    SMALL_PATCH,
    SMALL_RATE,
)

if TYPE_CHECKING:
    import argparse


def add_to(parser: argparse.ArgumentParser, *, out: str) -> None:
    """Adds the positional DATA and the groups of flags.

    A flag that is a setting of the run is None unless it is given: a resumed run has its own.

    Args:
        parser: The sub-command's.
        out: The folder where --out names none.
    """
    _add_data(parser)
    _add_network(parser)
    _add_noise(parser)
    _add_optimization(parser)
    group = parser.add_argument_group("run")
    group.add_argument("--out", metavar="FOLDER", default=out, help=f"where everything goes (default: {out})")
    group.add_argument("--resume", action="store_true", help="continue the run in --out, if there is one")
    group.add_argument("--seed", metavar="N", type=int, help="of all randomness (default: 0)")
    group.add_argument(
        "--threads", metavar="N", type=int, help="default: a share of the processors this process may use"
    )
    group.add_argument(
        "--checkpoint-every", metavar="N", type=int, default=500, help="in steps (default: 500)"
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data",
        metavar="DATA",
        help="fashion-mnist, digits, a folder (idx files, CIFAR-10's, or pictures), a .npy or .npz file",
    )
    group = parser.add_argument_group("data")
    group.add_argument(
        "--input-size", metavar="N", type=int, help="crop and scale a folder's pictures to N×N"
    )
    group.add_argument(
        "--background",
        metavar="COLOR",
        help="what transparent pictures of a folder are shown on (default: white)",
    )
    group.add_argument("--flip", action="store_true", default=None, help="mirror half of the pictures")
    group.add_argument("--unconditional", action="store_true", default=None, help="ignore the labels")


def _add_network(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("network, a DiT or an MDT")
    group.add_argument(
        "--model",
        metavar="NAME",
        help="DiT-S/2 … DiT-XL/8, MDT-S/2 … (the paper's) or MDTv2-S/2 … (the authors' code), instead of the "
        "flags below but --learn-sigma",
    )
    for name, what in (("hidden", "channels of a token"), ("depth", "blocks"), ("heads", "attention heads")):
        group.add_argument(f"--{name}", metavar="N", type=int, help=f"{what} (default: {NETWORK[name]})")
    group.add_argument(
        "--patch",
        metavar="N",
        type=int,
        help=f"pixels along a token's side (default: {PATCH}, or {SMALL_PATCH} for sizes up to {SMALL})",
    )
    group.add_argument(
        "--mdt", metavar="V", type=int, help="1 or 2: make it an MDT of this version, with a masked pass"
    )
    group.add_argument(
        "--decode-layer",
        metavar="N",
        type=int,
        help=f"an MDT's blocks that decode (default: {MASKING['decode_layer']})",
    )
    group.add_argument(
        "--mask-ratio",
        metavar="X",
        type=float,
        help=f"share of tokens that an MDT masks; with version 2 up to 0.2 more (default: "
        f"{MASKING['mask_ratio']:g})",
    )
    group.add_argument("--learn-sigma", action="store_true", default=None, help="learn the variance as well")


def _add_noise(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("noise")
    group.add_argument("--prediction", metavar="TARGET", help=f"{', '.join(PREDICTIONS)} (default: epsilon)")
    group.add_argument("--strata", metavar="NAME", help=f"{', '.join(STRATA)} (default: none)")
    group.add_argument("--normalize", action="store_true", default=None, help="divide the weights by E[w]")
    group.add_argument(
        "--schedule", metavar="NAME", help=f"{', '.join(_schedule_flags.SCHEDULES)} (default: linear)"
    )
    group.add_argument("--timesteps", metavar="T", type=int, help="of the schedule (default: 1000)")
    group.add_argument("--beta-start", metavar="B", type=float, help="first β of a named schedule")
    group.add_argument("--beta-end", metavar="B", type=float, help="last β; the β of constant")
    group.add_argument("--fraction", metavar="F", type=float, help="warmup's share of T (default: 0.1)")
    group.add_argument("--betas", metavar="FILE.npy", help="instead of a name: a table of β")
    group.add_argument("--alphas-cumprod", metavar="FILE.npy", help="instead of a name: a table of ᾱ")
    group.add_argument(
        "--zero-terminal-snr", action="store_true", default=None, help="rescale it: ᾱ is 0 at the last step"
    )


def _add_optimization(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("optimization, AdamW")
    for name, kind, text in (
        ("steps", int, "optimizer steps in all"),
        ("batch_size", int, "of one step, in all its micro-batches"),
        ("accumulation", int, "micro-batches per step: less memory"),
        ("lr", float, "learning rate"),
        ("warmup", int, "steps over which it rises"),
        ("weight_decay", float, "decoupled"),
        ("ema_decay", float, "of the averaged weights; less at the start"),
        ("clip", float, "largest norm of the gradient"),
        ("label_dropout", float, "share of images trained without their label, for guidance"),
    ):
        flag, default = _schedule_flags.flag(name), DEFAULTS[name]
        if name == "lr":
            text += f" (default: {SMALL_RATE:g}, or {OFFICIAL_RATE:g} with --model)"
        else:
            text += f" (default: {'none' if default is None else f'{default:g}'})"
        group.add_argument(flag, metavar="N" if kind is int else "X", type=kind, help=text)
