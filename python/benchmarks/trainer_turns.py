"""Contenders that must agree, and then take turns."""

from __future__ import annotations

import math
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

from trainer_contenders import NAMES, Contender, ContenderError

if TYPE_CHECKING:
    from contextlib import ExitStack

    from trainer_cases import Case

TOLERANCES = {
    "eager": (1e-4, 1e-3), "compile": (1e-4, 1e-3),
    "bf16": (5e-2, 2e-1), "speediff_bf16": (5e-2, 2e-1), "compile_bf16": (5e-2, 2e-1),
}  # fmt: skip
"""How far losses and gradient norms may be off SpeeDiff's, relative. bf16 is other arithmetic."""
CHECKED_STEPS = 3
PAUSE = 0.05
"""Seconds between turns, in which the threads of the last contender stop spinning."""
SQUARE_SECONDS = 0.065
"""About what the square product takes."""
TURN = 0.25
"""Seconds of steps in a turn, at least."""


def summary(seconds: list[float]) -> dict[str, Any]:
    """What is told of repeated times."""
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    figures = {"min": min(seconds), "lower_quartile": low, "median": median, "upper_quartile": high}
    return {**figures, "max": max(seconds), "all": [round(s, 6) for s in seconds]}


def start(stack: ExitStack, kinds: list[str], case: Case, threads: int, seed: int) -> dict[str, Contender]:
    """The contenders that there are; of the others, why not."""
    contenders = {}
    for kind in kinds:
        try:
            contenders[kind] = Contender(kind, case, threads, seed)
            stack.callback(contenders[kind].close)
        except ContenderError as error:
            drop(kind, error)
    return contenders


def drop(kind: str, error: ContenderError) -> None:
    """Says that a contender is left out, or stops where there is nothing to compare without it."""
    if kind in ("speediff", "eager", "torch.mm"):
        sys.exit(f"{NAMES.get(kind, kind)} failed: {error}")
    print(f"{NAMES.get(kind, kind)} is left out: {error}", file=sys.stderr)


def check(case: Case, contenders: dict[str, Contender]) -> dict[str, Any]:
    """Stops unless all train alike. Leaves out a compiler that fails."""
    answers = {}
    for kind in list(contenders):
        try:
            answers[kind] = contenders[kind].ask("check", CHECKED_STEPS)
        except ContenderError as error:
            drop(kind, error)
            del contenders[kind]
    expected = answers["speediff"]
    for kind, (for_loss, for_norm) in TOLERANCES.items():
        if kind in answers:
            for what, tolerance in (("losses", for_loss), ("norms", for_norm)):
                pairs = zip(answers[kind][what], expected[what], strict=True)
                worst = max(abs(a - b) / abs(b) for a, b in pairs)
                answers[kind][f"{what}_error"] = worst
                if not worst <= tolerance:
                    both = f"{answers[kind][what]} and {expected[what]}"
                    sys.exit(f"{case.title}: {what} of {NAMES[kind]} and SpeeDiff differ: {both}: no timing")
    return answers


def take_turns(
    contenders: dict[str, Contender], libraries: dict[str, Contender], rounds: int
) -> tuple[dict[str, list[float]], dict[str, int], dict[str, list[list[float]]], dict[str, list[float]]]:
    """Seconds of every step, page faults of one, and seconds of the libraries' products, round by round.

    The last are of the square product in stretches as long as SpeeDiff's step: a slow moment meets both.
    """
    first = {kind: contender.ask("step", 2)["seconds"][1] for kind, contender in contenders.items()}
    longest = max(first.values())
    squares = max(2, round(first.get("speediff", longest) / SQUARE_SECONDS))
    times = max(1, math.ceil(TURN / longest))
    seconds: dict[str, list[float]] = {kind: [] for kind in contenders}
    products: dict[str, list[list[float]]] = {kind: [] for kind in libraries}
    sustained: dict[str, list[float]] = {kind: [] for kind in libraries}
    faults = {}
    for _ in range(rounds):
        for kind, contender in contenders.items():
            time.sleep(PAUSE)
            answer = contender.ask("step", times)
            seconds[kind] += answer["seconds"]
            faults[kind] = answer["faults"]
        for kind, library in libraries.items():
            time.sleep(PAUSE)
            products[kind].append(library.ask("products"))
            sustained[kind].append(library.ask("square", squares)["seconds"])
    return seconds, faults, products, sustained


def take_turns_updating(
    contenders: dict[str, Contender], library: Contender, rounds: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of AdamW and EMA alone, and the best bandwidth by pass."""
    seconds: dict[str, list[float]] = {kind: [] for kind in ("speediff", "eager")}
    bandwidth: dict[str, float] = {}
    for _ in range(rounds):
        for kind, found in seconds.items():
            time.sleep(PAUSE)
            found += contenders[kind].ask("update", 2)["seconds"]
        time.sleep(PAUSE)
        for name, rate in library.ask("bandwidth").items():
            bandwidth[name] = max(rate, bandwidth.get(name, 0))
    return seconds, bandwidth
