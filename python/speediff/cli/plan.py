"""`speediff plan`: the effect of a schedule and a method on training, as a table, a picture or JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._methods.method_text import MethodReader
from .._runs import schedule_flags
from .._samplers.recipe import PREDICTIONS
from .._support import arguments, extras, replacement
from .._support.version import __version__
from ..errors import SpeeDiffValueError
from ..plan import Plan, make_plan
from ..sampler import TimestepSampler
from . import subcommand
from .methods import TABLE

if TYPE_CHECKING:
    import argparse
    from types import ModuleType

    from ..schedules import NoiseSchedule

DESCRIPTION = """\
Shows how a noise schedule and a training method interact, before you train. Prints the three areas of the
process (acceleration, deceleration, convergence), each area's share of the draws and of the objective, and
P, w, E[w] and the emphasis over log-SNR. The default is SpeeD with the paper's settings.
"""
EPILOG = """\
methods:
  speed                SpeeD as in the paper
  official             SpeeD as in its released code
  SAMPLING             with uniform weights
  WEIGHTING            with uniform sampling
  SAMPLING+WEIGHTING   both
  Parameters go in parentheses, and * multiplies weightings. `speediff methods` lists all names.

examples:
  speediff plan
  speediff plan --schedule cosine --method speed --method official --plot plan.svg
  speediff plan --method laplace+min_snr --method 'log_normal(p_mean=-0.4)' --prediction v
  speediff plan --method 'edm(sigma_data=1)' --method 'shifted(base=laplace(scale=1), shift=3)'
  speediff plan --alphas-cumprod table.npy --r 20 --json > plan.json
"""

PRESET_FLAGS = ("k", "lam", "tau", "r")


def add_to(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Adds the sub-command to the command line."""
    parser = subcommand.add(
        subparsers,
        "plan",
        run,
        summary="show the areas, P, w and emphasis of a schedule and a method",
        description=DESCRIPTION,
        epilog=EPILOG,
        prints=True,
    )
    schedule_flags.add_to(parser)
    method = parser.add_argument_group("method")
    method.add_argument(
        "--method",
        metavar="METHOD",
        action="append",
        help="see below (default: speed); repeat the flag to compare methods",
    )
    method.add_argument(
        "--prediction",
        metavar="TARGET",
        default="epsilon",
        help=f"what the network predicts: {', '.join(PREDICTIONS)} (default: epsilon)",
    )
    method.add_argument(
        "--k", type=float, help="for speed, official: steps up to τ are drawn K times as often (default: 5)"
    )
    method.add_argument("--lam", type=float, help="for speed, official: weights span [1-λ, λ] (default: 0.6)")
    method.add_argument(
        "--tau", type=int, help="τ, the last step before convergence, also for speed and official"
    )
    method.add_argument(
        "--r", type=float, help="τ is the first step with 1/ᾱ > r (default: 143.5; official has τ = 700)"
    )
    method.add_argument("--normalize", action="store_true", help="divide the weights by E[w]")
    method.add_argument(
        "--batch",
        metavar="N",
        type=int,
        default=256,
        help="batch of one rank and micro-batch, for official's exact distribution (default: 256)",
    )
    method.add_argument(
        "--at-step",
        metavar="N",
        type=int,
        help="show blend and clts at this training step (default: 0)",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--plot", metavar="FILE", help="draw a picture: .png, .svg or .pdf")
    output.add_argument("--json", action="store_true", help="print everything as JSON, with the tables")


def run(options: argparse.Namespace) -> None:
    """Computes the plan, draws it if asked, and prints it."""
    plots = _plots(options.plot)
    plan = _plan(options)
    if options.json:
        text = json.dumps({"speediff": __version__, **plan.to_dict()}, allow_nan=False)
    else:
        table = extras.load_own("cli.plan_table", "the table", **TABLE)
    if plots is not None:
        plots.save(plan, options.plot)
    if options.json:
        print(text)
    else:
        table.print_plan(plan)
        if plots is not None:
            print(f"picture: {options.plot}")


def _plan(options: argparse.Namespace) -> Plan:
    label, schedule = schedule_flags.schedule(options)
    samplers = _samplers(options, schedule)
    plan = make_plan(schedule, samplers, label=label, r=options.r, tau=options.tau, batch=options.batch)
    if options.at_step is not None and not any(method.changes for method in plan.methods):
        raise SpeeDiffValueError(f"--at-step does not apply to the method {', '.join(samplers)}")
    return plan


def _samplers(options: argparse.Namespace, schedule: NoiseSchedule) -> dict[str, TimestepSampler]:
    """The samplers of the given methods, by their texts."""
    arguments.choice("--prediction", options.prediction, PREDICTIONS)
    given = {flag: getattr(options, flag) for flag in PRESET_FLAGS if getattr(options, flag) is not None}
    reader = MethodReader(
        TimestepSampler,
        schedule,
        name="--method",
        preset_parameters=given,
        prediction=options.prediction,
        normalize=options.normalize,
    )
    texts = ["".join(text.split()) for text in options.method or ["speed"]]
    samplers = {text: reader.sampler(text) for text in texts}
    for flag in ("k", "lam"):
        if flag in given and flag not in reader.used:
            raise SpeeDiffValueError(f"--{flag} does not apply to the method {', '.join(samplers)}")
    if options.at_step is not None:
        step = arguments.integer("--at-step", options.at_step, least=0)
        for sampler in samplers.values():
            sampler.load_state_dict({**sampler.state_dict(), "step": step})
    return samplers


def _plots(path: str | None) -> ModuleType | None:
    """The plotting module, if a picture is requested; raises if it cannot be drawn."""
    if path is None:
        return None
    plots = extras.load_own("plots", "--plot", install="speediff[cli]")
    plots.check_path(path)
    replacement.check(Path(path))
    return plots
