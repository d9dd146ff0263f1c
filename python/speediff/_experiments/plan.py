"""The plan of an experiment, and `experiment.json`, which keeps it.

A plan can grow: by arms, seeds, values of tuning and steps. Nothing else may change, since then its runs
could not be compared.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._runs import run_settings, schedule_flags
from .._support import text_names
from .._support.replacement import replace_text
from .._support.version import __version__
from ..errors import SpeeDiffError, SpeeDiffValueError
from . import tuning
from .arms import Arm
from .tuning import Tuning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .._runs.run_settings import Settings

NAME = "experiment.json"
MEASURING: dict[str, Any] = {
    "measure": ["loss"], "measure_every": 250, "images": 1000, "sample_steps": 50, "cfg_scale": 1.0,
    "samples": 10, "validation_images": 2000, "features": {}, "reference_images": None, "threads": 1,
}  # fmt: skip
"""How runs are measured, by the flag's name, with its default."""

AUTO = "auto"
"""The value of a setting that a trainer chooses by the processor."""
CHANGEABLE = ("steps", "samples")
"""What may change without another experiment: no measurement depends on it."""


@dataclass(frozen=True)
class Plan:
    """Everything that determines the results of an experiment."""

    source: str
    """The data, as the user named them."""
    fingerprint: str | None
    """The data's fingerprint; None before they have been read."""
    settings: Settings
    """The settings that the arms share; None where the default depends on others."""
    measuring: dict[str, Any]
    """Values for the names in `MEASURING`."""
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    tuning: Tuning | None

    def arm(self, name: str) -> Arm:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)

    def seeds_of(self, arm: Arm) -> tuple[int, ...]:
        """The seeds of an arm."""
        return self.seeds if arm.seeds is None else arm.seeds

    @property
    def seeds_text(self) -> str:
        """The seeds of all arms, and in parentheses those of arms with their own."""
        own: dict[tuple[int, ...], list[str]] = {}
        for arm in self.arms:
            if arm.seeds not in (None, self.seeds):
                own.setdefault(self.seeds_of(arm), []).append(f"`{arm.name}`")
        others = [f"{', '.join(names)}: {', '.join(map(str, seeds))}" for seeds, names in own.items()]
        return ", ".join(map(str, self.seeds)) + (f" ({'; '.join(others)})" if others else "")

    def grid_of(self, arm: Arm) -> tuple[float, ...]:
        """The values that an arm's tuning begins with; none if it is not tuned, or has a value of its own."""
        if self.tuning is None or self.tuning.setting in arm.settings:
            return ()
        return (
            self.tuning.values if arm.tune is None or "values" not in arm.tune else tuple(arm.tune["values"])
        )

    def settings_of(self, arm: Arm, seed: int, **tuned: Any) -> Settings:
        """All settings of a run.

        Raises:
            SpeeDiffError: If they are invalid or contradict each other.
        """
        return run_settings.resolve({**self.settings, **arm.settings, **tuned, "seed": seed}, None)

    def tuning_steps(self, arm: Arm) -> int:
        """The steps of an arm's runs of tuning."""
        assert self.tuning is not None
        own = (arm.tune or {}).get("steps") or self.tuning.steps
        steps: int = own or self.settings_of(arm, 0)["steps"]
        return steps

    def check(self) -> None:
        """Raises SpeeDiffError if an arm is invalid, or a seed serves both tuning and comparison."""
        for arm in self.arms:
            try:
                settings = self.settings_of(arm, 0)
                run_settings.make_sampler(settings, run_settings.make_schedule(settings)).close()
            except SpeeDiffError as error:
                if arm.settings.keys() == {"method"}:
                    raise
                raise type(error)(f"the arm {arm.name!r}: {error}") from None
            grid = self.grid_of(arm)
            if arm.tune is not None and self.tuning is None:
                raise SpeeDiffValueError(f"--tune must be given, since the arm {arm.name!r} has tune")
            if grid:
                tuning.check_grid(f"the grid of {arm.name!r}", grid)
            for seed in self.seeds_of(arm) if self.tuning is not None else ():
                if seed in self.tuning.seeds:  # type: ignore[union-attr]
                    raise SpeeDiffValueError(f"--tune-seeds must differ from --seeds, got {seed} in both")


def write(folder: Path, plan: Plan) -> None:
    """Writes `experiment.json`, unless it has this content."""
    path = folder / NAME
    text = text_names.to_json(
        {
            "speediff": __version__,
            "data": {"source": plan.source, "fingerprint": plan.fingerprint},
            "settings": plan.settings,
            "measuring": plan.measuring,
            "seeds": list(plan.seeds),
            "tuning": None if plan.tuning is None else plan.tuning.to_json(),
            "arms": {arm.name: _arm_to_json(arm) for arm in plan.arms},
        }
    )
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        replace_text(path, text)


def read(folder: Path) -> Plan:
    """The plan in a folder.

    Raises:
        SpeeDiffValueError: If the folder holds none, or it is damaged.
    """
    path = folder / NAME
    try:
        plain = json.loads(path.read_bytes())
        return Plan(
            plain["data"]["source"],
            plain["data"]["fingerprint"],
            {**run_settings.DEFAULTS, **plain["settings"]},
            {**MEASURING, **plain["measuring"]},
            tuple(plain["seeds"]),
            tuple(_arm_from_json(name, arm) for name, arm in plain["arms"].items()),
            None if plain["tuning"] is None else Tuning.from_json(plain["tuning"]),
        )
    except FileNotFoundError:
        raise SpeeDiffValueError(
            f"{folder} must be a folder that `speediff compare` wrote, but {NAME} is missing"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpeeDiffValueError(f"{path} is damaged: {error}") from None


def _arm_to_json(arm: Arm) -> dict[str, Any]:
    plain: dict[str, Any] = {"settings": arm.settings}
    if arm.seeds is not None:
        plain["seeds"] = list(arm.seeds)
    if arm.tune is not None:
        plain["tune"] = arm.tune
    return plain


def _arm_from_json(name: str, plain: Mapping[str, Any]) -> Arm:
    seeds = plain.get("seeds")
    return Arm(name, plain["settings"], None if seeds is None else tuple(seeds), plain.get("tune"))


def grown(saved: Plan, given: Plan, named: frozenset[str]) -> Plan:
    """A saved plan with what a command adds to it.

    Args:
        saved: The plan in the folder.
        given: The plan of the command, which has the saved values where the command gave none.
        named: The parts that the command gave: "arms", "seeds", "tuning".

    Raises:
        SpeeDiffValueError: If the command's experiment is another one; the error names the first difference.
    """
    if given.fingerprint != saved.fingerprint:
        raise _another(f"{saved.source} ({saved.fingerprint})", f"{given.source} ({given.fingerprint})")
    for kind in ("settings", "measuring"):
        for name, value in getattr(saved, kind).items():
            own = getattr(given, kind)[name]
            if own != value and name not in CHANGEABLE:
                raise _another(f"{schedule_flags.flag(name)} {_shown(value)}", _shown(own))
    arms = {arm.name: arm for arm in saved.arms}
    if "arms" in named:
        for arm in given.arms:
            arms[arm.name] = _grown_arm(arms[arm.name], arm) if arm.name in arms else arm
    return replace(
        saved,
        settings=given.settings,
        measuring=given.measuring,
        seeds=_union(saved.seeds, given.seeds) if "seeds" in named else saved.seeds,
        arms=tuple(arms.values()),
        tuning=_grown_tuning(saved.tuning, given.tuning) if "tuning" in named else saved.tuning,
    )


def _grown_arm(saved: Arm, given: Arm) -> Arm:
    # What a trainer chose when the experiment began holds.
    settled = {name: saved.settings.get(name) for name, new in given.settings.items() if new == AUTO}
    given = replace(given, settings={**given.settings, **settled})
    for name in (*saved.settings, *given.settings):
        old, new = saved.settings.get(name), given.settings.get(name)
        if old != new and name != "steps":
            raise _another(
                f"{schedule_flags.flag(name)} {_shown(old)} in the arm {saved.name!r}", _shown(new)
            )
    tune = given.tune
    if saved.tune is not None and given.tune is not None:
        if saved.tune.get("steps") != given.tune.get("steps"):
            raise _another(
                f"tune.steps {_shown(saved.tune.get('steps'))} in the arm {saved.name!r}",
                _shown(given.tune.get("steps")),
            )
        if saved.tune.get("values") and given.tune.get("values"):
            tune = {**given.tune, "values": sorted({*saved.tune["values"], *given.tune["values"]})}
    seeds = given.seeds
    if seeds is not None and saved.seeds is not None:
        seeds = _union(saved.seeds, seeds)
    return Arm(saved.name, {**saved.settings, **given.settings}, seeds, tune)


def _grown_tuning(saved: Tuning | None, given: Tuning | None) -> Tuning | None:
    if saved is None or given is None:
        raise _another("--tune none" if saved is None else f"--tune {saved.setting}", _shown(given))
    for name, value in saved.to_json().items():
        own = given.to_json()[name]
        if own != value and name not in ("values", "seeds", "grows", "tolerance"):
            flag = "--tune" if name == "setting" else f"--tune-{name}"
            raise _another(f"{flag} {_shown(value)}", _shown(own))
    return replace(
        saved,
        values=tuple(sorted({*saved.values, *given.values})),
        seeds=_union(saved.seeds, given.seeds),
        grows=saved.grows or given.grows,
        tolerance=given.tolerance,
    )


def _union(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _another(saved: str, given: str) -> SpeeDiffValueError:
    return SpeeDiffValueError(
        f"--resume needs the settings of the experiment: {saved}, got {given}; choose another --out"
    )


def _shown(value: Any) -> str:
    if isinstance(value, Tuning):
        return value.setting
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return " ".join(f"{name}:{each}" for name, each in value.items()) or "none"
    return "none" if value is None else str(value)
