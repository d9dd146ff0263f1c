"""`speediff plan`: what a schedule and a method mean for training, as a table, a picture or JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import __version__
from .errors import SpeeDiffError, SpeeDiffValueError, unknown_name
from .plan import make_plan
from .sampler import TimestepSampler
from .schedules import NoiseSchedule

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

DESCRIPTION = """\
Shows what a noise schedule and a training method do to each other: the three areas of the process
(acceleration, deceleration, convergence), which share of the draws and of the objective each area
gets, P, w and E[w]. Without flags it shows SpeeD with the paper's setting.
"""
EPILOG = """\
examples:
  speediff plan
  speediff plan --schedule cosine --method speed --method official --plot plan.svg
  speediff plan --alphas-cumprod table.npy --r 20 --json > plan.json
"""

SCHEDULES: dict[str, Callable[..., NoiseSchedule]] = {
    "linear": NoiseSchedule.linear,
    "quadratic": NoiseSchedule.quadratic,
    "scaled_linear": NoiseSchedule.scaled_linear,
    "cosine": NoiseSchedule.cosine,
    "constant": lambda steps, beta_end=0.02: NoiseSchedule.constant(steps, beta=beta_end),
}
SCHEDULE_FLAGS: dict[str, tuple[str, ...]] = {
    "linear": ("beta_start", "beta_end"),
    "quadratic": ("beta_start", "beta_end"),
    "scaled_linear": ("beta_start", "beta_end"),
    "cosine": (),
    "constant": ("beta_end",),
}


def _uniform(schedule: NoiseSchedule, normalize: bool) -> TimestepSampler:
    return TimestepSampler(schedule, normalize=normalize)


def _official(schedule: NoiseSchedule, **parameters: Any) -> TimestepSampler:
    return TimestepSampler.speed(schedule, preset="official", **parameters)


METHODS: dict[str, Callable[..., TimestepSampler]] = {
    "uniform": _uniform,
    "speed": TimestepSampler.speed,
    "official": _official,
}
METHOD_FLAGS: dict[str, tuple[str, ...]] = {
    "uniform": (),
    "speed": ("k", "lam", "tau", "r"),
    "official": ("k", "lam", "tau", "r"),
}
"""The flags that a method's constructor takes, where the user gives them."""


def add_to(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Adds the sub-command to the command line."""
    parser = subparsers.add_parser(
        "plan",
        help="areas, P and w of a schedule and a method",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    schedule = parser.add_argument_group("schedule")
    schedule.add_argument("--schedule", metavar="NAME", help=f"{', '.join(SCHEDULES)} (default: linear)")
    schedule.add_argument("--steps", metavar="T", type=int, help="number of steps (default: 1000)")
    schedule.add_argument(
        "--beta-start", metavar="B", type=float, help="first β of the linear and quadratic forms"
    )
    schedule.add_argument(
        "--beta-end", metavar="B", type=float, help="last β of those forms; the β of constant"
    )
    schedule.add_argument("--betas", metavar="FILE.npy", help="instead of a name: a table of β")
    schedule.add_argument("--alphas-cumprod", metavar="FILE.npy", help="instead of a name: a table of ᾱ")
    method = parser.add_argument_group("method")
    method.add_argument(
        "--method",
        metavar="NAME",
        action="append",
        help=f"{', '.join(METHODS)} (default: speed); repeat the flag to compare",
    )
    method.add_argument("--k", type=float, help="how many times as often to draw a step up to τ (default: 5)")
    method.add_argument("--lam", type=float, help="λ: weights span [1-λ, λ] (default: 0.6)")
    method.add_argument("--tau", type=int, help="τ: the step at which convergence begins")
    method.add_argument(
        "--r", type=float, help="τ is the first step with 1/ᾱ > r (default: 143.5; official has τ = 700)"
    )
    method.add_argument("--normalize", action="store_true", help="divide the weights by E[w]")
    method.add_argument(
        "--batch",
        metavar="N",
        type=int,
        default=256,
        help="global batch, for official's exact distribution (default: 256)",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--plot", metavar="FILE", help="draw a picture: .png, .svg or .pdf")
    output.add_argument("--json", action="store_true", help="print everything, tables included, as JSON")


def run(options: argparse.Namespace) -> None:
    """Computes the plan, draws it if asked, and prints it."""
    plots = _plots(options.plot)
    label, schedule = _schedule(options)
    samplers = _samplers(options, schedule)
    plan = make_plan(schedule, samplers, label=label, r=options.r, tau=options.tau, batch=options.batch)
    if options.json:
        text = json.dumps({"speediff": __version__, **plan.to_dict()}, allow_nan=False)
    else:
        table = _table()
    if plots is not None:
        plots.save(plan, options.plot)
    if options.json:
        print(text)
    else:
        table.print_plan(plan)
        if plots is not None:
            print(f"picture: {options.plot}")


def _schedule(options: argparse.Namespace) -> tuple[str, NoiseSchedule]:
    """The schedule that the flags describe, with what to call it."""
    sources = [flag for flag in ("schedule", "betas", "alphas_cumprod") if getattr(options, flag) is not None]
    if len(sources) > 1:
        raise SpeeDiffValueError(f"{_flag(sources[0])} must not be given together with {_flag(sources[1])}")
    given = {
        flag: getattr(options, flag)
        for flag in ("beta_start", "beta_end")
        if getattr(options, flag) is not None
    }
    if sources and sources[0] != "schedule":
        source = sources[0]
        if options.steps is not None:
            given["steps"] = options.steps
        for flag in given:
            raise SpeeDiffValueError(f"{_flag(flag)} must not be given together with {_flag(source)}")
        path = getattr(options, source)
        return Path(path).name, getattr(NoiseSchedule, f"from_{source}")(_load(_flag(source), path))
    name = options.schedule or "linear"
    if name not in SCHEDULES:
        raise unknown_name("--schedule", name, SCHEDULES)
    for flag in given:
        if flag not in SCHEDULE_FLAGS[name]:
            raise SpeeDiffValueError(f"{_flag(flag)} does not apply to the {name} schedule")
    return name, SCHEDULES[name](1000 if options.steps is None else options.steps, **given)


def _load(flag: str, path: str) -> np.ndarray[Any, Any]:
    """The table in a .npy file, of any real dtype, as float64."""
    try:
        table = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise SpeeDiffValueError(f"{flag} must be an array that numpy.save wrote, got {path}") from None
    if not isinstance(table, np.ndarray) or table.dtype.kind not in "fiu":
        what = table.dtype if isinstance(table, np.ndarray) else type(table).__name__
        raise SpeeDiffValueError(f"{flag} must hold one array of real numbers, got {what} in {path}")
    return np.ascontiguousarray(table, np.float64)


def _samplers(options: argparse.Namespace, schedule: NoiseSchedule) -> dict[str, TimestepSampler]:
    """The samplers of the methods that the flags name."""
    names = list(dict.fromkeys(options.method or ["speed"]))
    for name in names:
        if name not in METHODS:
            raise unknown_name("--method", name, METHODS)
    for flag in ("k", "lam"):
        if getattr(options, flag) is not None and not any(flag in METHOD_FLAGS[name] for name in names):
            raise SpeeDiffValueError(f"{_flag(flag)} does not apply to the method {', '.join(names)}")
    samplers = {}
    for name in names:
        parameters = {flag: getattr(options, flag) for flag in METHOD_FLAGS[name]}
        given = {flag: value for flag, value in parameters.items() if value is not None}
        samplers[name] = METHODS[name](schedule, normalize=options.normalize, **given)
    return samplers


def _plots(path: str | None) -> ModuleType | None:
    """The module that draws, if a picture is wanted and can be drawn."""
    if path is None:
        return None
    try:
        from . import plots
    except ImportError as error:
        raise SpeeDiffError(f"--plot needs matplotlib ({error}): pip install -e 'python[cli]'") from None
    plots.check_path(path)
    return plots


def _table() -> ModuleType:
    try:
        from . import _plan_table
    except ImportError as error:
        raise SpeeDiffError(
            f"the table needs rich ({error}): pip install -e 'python[cli]', or use --json"
        ) from None
    return _plan_table


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
