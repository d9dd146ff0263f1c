"""The plan of `speediff compare`: its flags, and what they add to the plan in the folder."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._experiments import arms, measures, tuning
from .._experiments import plan as plans
from .._runs import run_settings, schedule_flags
from .._support import arguments
from .._trainer.options import fastest_precision
from ..errors import SpeeDiffValueError

if TYPE_CHECKING:
    import argparse

    from .._experiments.arms import Arm
    from .._experiments.plan import Plan
    from .._experiments.tuning import Tuning
    from .._runs.run_settings import Settings

METHODS = "uniform,speed"
LEAST = {
    "measure_every": 1, "images": 2, "sample_steps": 2, "samples": 0, "validation_images": 1,
    "reference_images": 2, "threads": 1,
}  # fmt: skip
"""The least value of each number in `plan.MEASURING`."""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Adds the flags. Those that the plan keeps default to None, because a resumed experiment has its own."""
    group = parser.add_argument_group("experiment")
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--methods", metavar="METHOD,…", help=f"methods as in `speediff plan` (default: {METHODS})"
    )
    which.add_argument(
        "--arms", metavar="FILE.json", help="arms by name, each an object of settings of `speediff train`"
    )
    group.add_argument("--seeds", metavar="N,N,…", help="a run of each arm for each seed (default: 0)")
    group.add_argument(
        "--tune",
        metavar="NAME=X,X,…",
        help="find each arm's best value of a setting first, such as lr=1e-3,2e-3; "
        "lr=1e-3,2e-3,... goes on until the best is at no edge",
    )
    group.add_argument(
        "--tune-seeds",
        metavar="N,N,…",
        help=f"seeds of tuning, which --seeds must not have (default: {tuning.SEED})",
    )
    group.add_argument("--tune-steps", metavar="N", type=int, help="steps of tuning (default: --steps)")
    group.add_argument(
        "--tune-by", metavar="NAME", help="the measure that decides (default: the first of --measure)"
    )
    group.add_argument(
        "--tune-tolerance",
        metavar="X",
        type=float,
        help="take the lowest value that is worse than the best by at most this share, such as 0.05 "
        "(default: 0)",
    )
    _add_measuring(parser)


def _add_measuring(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("measurements")
    group.add_argument(
        "--measure",
        metavar="NAME,…",
        help=f"{', '.join(measures.MEASURES)} (default: loss). All but the loss need speediff[evaluate]",
    )
    group.add_argument(
        "--measure-every",
        "--validate-every",
        metavar="N",
        type=int,
        help="measure every N steps (default: 250)",
    )
    for name, metavar, kind, text in (
        ("images", "N", int, "generated images for fd, kid and accuracy"),
        ("sample_steps", "N", int, "DDIM steps of a generated image"),
        ("cfg_scale", "X", float, "guidance scale of generated images, 1 for none"),
        ("samples", "N", int, "images per arm and step in samples.png, 0 for none"),
        ("validation_images", "N", int, "at most N held-out images for the loss"),
    ):
        default = plans.MEASURING[name]
        group.add_argument(
            schedule_flags.flag(name), metavar=metavar, type=kind, help=f"{text} (default: {default:g})"
        )
    group.add_argument(
        "--features",
        metavar="[MEASURE:]NAME[=PATH]",
        action="append",
        help="extractor as in `speediff evaluate`, for all or for one, as in kid:efficientnet-lite0; "
        f"may be repeated (default: {measures.CLASSIFIER})",
    )
    group.add_argument(
        "--reference-images",
        metavar="N",
        type=int,
        help="at most N training images as the reference of fd and kid (default: all)",
    )


def draft(options: argparse.Namespace, saved: Plan | None) -> Plan:
    """The plan of the command, with what the folder's plan has already.

    Raises:
        SpeeDiffError: If a flag is invalid, or the experiment in the folder is another one.
    """
    if options.seed is not None and options.seeds is not None:
        raise SpeeDiffValueError("--seed must not be given together with --seeds")
    given = {**vars(options), "seed": None, "method": None}
    settings = _settings(given, saved)
    measuring = _measuring(options, saved)
    seeds = _seeds(options) or (saved.seeds if saved is not None else (0,))
    named = {
        "arms": options.arms is not None or options.methods is not None,
        "seeds": options.seeds is not None or options.seed is not None,
        "tuning": options.tune is not None,
    }
    plan = plans.Plan(
        options.data if saved is None else saved.source,
        None if saved is None else saved.fingerprint,
        settings,
        measuring,
        seeds,
        tuple(_arms(options, settings, saved)),
        _tuning(options, measuring, saved),
    )
    if saved is not None:
        plan = plans.grown(saved, plan, frozenset(name for name, is_given in named.items() if is_given))
        plan = replace(plan, source=options.data)
    plan.check()
    return plan


def _settings(given: dict[str, Any], saved: Plan | None) -> Settings:
    """The settings that all arms share. A learning rate that was not given depends on the arm's network."""
    before = None if saved is None else saved.settings
    settings = run_settings.resolve(given, before)
    rate = given["lr"] if given["lr"] is not None else (before or {}).get("lr")
    if settings["precision"] == run_settings.AUTO:
        settings["precision"] = fastest_precision()
    return {**settings, "lr": rate}


def _measuring(options: argparse.Namespace, saved: Plan | None) -> dict[str, Any]:
    found = {**plans.MEASURING} if saved is None else {**saved.measuring}
    for name in plans.MEASURING:
        value = getattr(options, name)
        if value is None:
            continue
        if name in LEAST:
            arguments.integer(schedule_flags.flag(name), value, least=LEAST[name])
        elif name == "measure":
            value = measures.parse(value)
        elif name == "features":
            value = measures.parse_features(value)
        found[name] = value
    if not math.isfinite(found["cfg_scale"]):
        raise SpeeDiffValueError(f"--cfg-scale must be finite, got {found['cfg_scale']}")
    return found


def _arms(options: argparse.Namespace, settings: Settings, saved: Plan | None) -> list[Arm]:
    if options.arms is not None:
        return arms.of_file(Path(options.arms), settings)
    if options.methods is None and saved is not None:
        return list(saved.arms)
    return arms.of_methods(options.methods or METHODS)


def _seeds(options: argparse.Namespace) -> tuple[int, ...]:
    if options.seed is not None:
        return arms.check_seeds("--seed", [options.seed])
    return () if options.seeds is None else _listed("--seeds", options.seeds)


def _tuning(options: argparse.Namespace, measuring: dict[str, Any], saved: Plan | None) -> Tuning | None:
    before = None if saved is None else saved.tuning
    if options.tune is None:
        for name in ("tune_seeds", "tune_steps", "tune_by", "tune_tolerance"):
            if getattr(options, name) is not None:
                raise SpeeDiffValueError(f"{schedule_flags.flag(name)} must be given together with --tune")
        return before
    setting, values, grows = tuning.parse(options.tune)
    if options.tune_steps is not None:
        arguments.integer("--tune-steps", options.tune_steps, least=1)
    by = options.tune_by
    if by is not None:
        arguments.choice("--tune-by", by, measuring["measure"])
    if before is not None:
        seeds, steps, default, tolerance = before.seeds, before.steps, before.by, before.tolerance
    else:
        seeds, steps, default, tolerance = (tuning.SEED,), None, measuring["measure"][0], 0.0
    return tuning.Tuning(
        setting,
        values,
        seeds if options.tune_seeds is None else _listed("--tune-seeds", options.tune_seeds),
        steps if options.tune_steps is None else options.tune_steps,
        by or default,
        grows,
        tolerance if options.tune_tolerance is None else tuning.check_tolerance(options.tune_tolerance),
    )


def _listed(flag: str, text: str) -> tuple[int, ...]:
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise SpeeDiffValueError(
            f"{flag} must be integers with commas, such as 0,1,2, got {text!r}"
        ) from None
    return arms.check_seeds(flag, seeds)
