"""The flags that describe a noise schedule on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._data import npy_files
from ..errors import SpeeDiffError, SpeeDiffValueError, unknown_name
from ..schedules import NoiseSchedule

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

SCHEDULES: dict[str, Callable[..., NoiseSchedule]] = {
    "linear": NoiseSchedule.linear,
    "quadratic": NoiseSchedule.quadratic,
    "scaled_linear": NoiseSchedule.scaled_linear,
    "cosine": NoiseSchedule.cosine,
    "constant": lambda steps, beta_end=0.02: NoiseSchedule.constant(steps, beta=beta_end),
    "sigmoid": NoiseSchedule.sigmoid,
    "warmup": NoiseSchedule.warmup,
    "jsd": NoiseSchedule.jsd,
}
SCHEDULE_FLAGS: dict[str, tuple[str, ...]] = {
    "linear": ("beta_start", "beta_end"),
    "quadratic": ("beta_start", "beta_end"),
    "scaled_linear": ("beta_start", "beta_end"),
    "cosine": (),
    "constant": ("beta_end",),
    "sigmoid": ("beta_start", "beta_end"),
    "warmup": ("beta_start", "beta_end", "fraction"),
    "jsd": (),
}
"""The flags that apply to each schedule."""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Adds the group of flags."""
    group = parser.add_argument_group("schedule")
    group.add_argument("--schedule", metavar="NAME", help=f"{', '.join(SCHEDULES)} (default: linear)")
    group.add_argument("--steps", metavar="T", type=int, help="number of steps (default: 1000)")
    add_tables_to(group, unset=False)
    group.add_argument(
        "--respacing", metavar="SPEC", help="then keep only these steps: 250, 10,20,30 or ddim50"
    )


def add_tables_to(group: argparse._ArgumentGroup, *, unset: bool | None) -> None:
    """Adds the flags that shape or replace a named schedule.

    Args:
        group: The group of flags.
        unset: The value of --zero-terminal-snr if it is not given.
    """
    group.add_argument(
        "--beta-start", metavar="B", type=float, help="first β (not for constant, cosine and jsd)"
    )
    group.add_argument(
        "--beta-end", metavar="B", type=float, help="last β; for constant, every β (not for cosine and jsd)"
    )
    group.add_argument(
        "--fraction", metavar="F", type=float, help="for warmup: share of T over which β rises (default: 0.1)"
    )
    group.add_argument("--betas", metavar="FILE.npy", help="read β from a file instead of --schedule")
    group.add_argument(
        "--alphas-cumprod", metavar="FILE.npy", help="read ᾱ from a file instead of --schedule"
    )
    group.add_argument(
        "--zero-terminal-snr",
        action="store_true",
        default=unset,
        help="rescale the schedule so that ᾱ is 0 at the last step",
    )


def schedule(options: argparse.Namespace) -> tuple[str, NoiseSchedule]:
    """The label and the schedule that the flags describe."""
    label, result = _original(options)
    if options.zero_terminal_snr:
        label, result = f"{label}, zero terminal SNR", result.zero_terminal_snr()
    if options.respacing is not None:
        try:
            label, result = f"{label}, respaced to {options.respacing}", result.respaced(options.respacing)
        except SpeeDiffError as error:
            raise type(error)(f"--respacing {options.respacing}: {error}") from None
    return label, result


def _original(options: argparse.Namespace) -> tuple[str, NoiseSchedule]:
    sources = [name for name in ("schedule", "betas", "alphas_cumprod") if getattr(options, name) is not None]
    if len(sources) > 1:
        raise SpeeDiffValueError(f"{flag(sources[0])} must not be given together with {flag(sources[1])}")
    given = {
        name: getattr(options, name)
        for name in ("beta_start", "beta_end", "fraction")
        if getattr(options, name) is not None
    }
    if sources and sources[0] != "schedule":
        source = sources[0]
        if options.steps is not None:
            given["steps"] = options.steps
        for name in given:
            raise SpeeDiffValueError(f"{flag(name)} must not be given together with {flag(source)}")
        path = getattr(options, source)
        return Path(path).name, getattr(NoiseSchedule, f"from_{source}")(_load(flag(source), path))
    name = options.schedule or "linear"
    if name not in SCHEDULES:
        raise unknown_name("--schedule", name, SCHEDULES)
    for parameter in given:
        if parameter not in SCHEDULE_FLAGS[name]:
            raise SpeeDiffValueError(f"{flag(parameter)} does not apply to the {name} schedule")
    return name, SCHEDULES[name](1000 if options.steps is None else options.steps, **given)


def _load(argument: str, path: str) -> np.ndarray[Any, Any]:
    """The table in a .npy file, of any real dtype, as float64."""
    try:
        table = npy_files.load(path)
    except SpeeDiffValueError as error:
        raise SpeeDiffValueError(f"{argument} must be an array that numpy.save wrote: {error}") from None
    if table.dtype.kind not in "fiu":
        raise SpeeDiffValueError(f"{argument} must hold real numbers, got {table.dtype} in {path}")
    return np.ascontiguousarray(table, np.float64)


def flag(name: str) -> str:
    """An option's name on the command line."""
    return "--" + name.replace("_", "-")
