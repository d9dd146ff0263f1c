"""The arms of an experiment: named settings of `speediff train` that are compared with each other."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._runs import run_settings, schedule_flags
from .._support import arguments
from ..errors import SpeeDiffError, SpeeDiffTypeError, SpeeDiffValueError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .._runs.run_settings import Settings

INTEGERS = (
    "hidden", "depth", "heads", "patch", "mdt", "decode_layer", "timesteps", "steps", "batch_size",
    "accumulation", "warmup",
)  # fmt: skip
REALS = (
    "mask_ratio", "beta_start", "beta_end", "fraction", "lr", "weight_decay", "ema_decay", "clip",
    "label_dropout",
)  # fmt: skip
FLAGS = ("flip", "learn_sigma", "normalize", "zero_terminal_snr")
TEXTS = ("model", "method", "prediction", "strata", "schedule", "betas", "alphas_cumprod", "precision")
SHARED = ("input_size", "background", "unconditional", "seed")
"""Settings that no arm may have of its own: they change what is measured, or have a flag of the command."""
OF_PROCESS = (
    "prediction", "normalize", "schedule", "timesteps", "beta_start", "beta_end", "fraction", "betas",
    "alphas_cumprod", "zero_terminal_snr",
)  # fmt: skip
"""Settings on which the emphasis of a sampler depends, in addition to its method."""
EXTRA = ("emphasis_of", "seeds", "tune")
"""Keys of an arm in a file that are no settings."""


@dataclass(frozen=True)
class Arm:
    """What is compared with other arms."""

    name: str
    settings: Settings
    """The settings that it does not share with the experiment, `method` among them."""
    seeds: tuple[int, ...] | None = None
    """Its seeds; None: those of the experiment."""
    tune: dict[str, Any] | None = None
    """Its own `values` or `steps` of tuning; {"values": []}: none. None: those of the experiment."""


def of_methods(text: str) -> list[Arm]:
    """An arm for each method of a comma-separated list."""
    return [Arm(method, {"method": method}) for method in split_methods(text)]


def of_file(path: Path, shared: Settings) -> list[Arm]:
    """The arms of a JSON file: an object of arms by name, each an object of settings.

    Besides settings of `speediff train`, an arm may have `emphasis_of`, the name of another arm whose
    emphasis P·w it takes; `seeds`; and `tune`, false or an object of `values` and `steps`.

    Args:
        path: The file.
        shared: The settings of the experiment, which an arm has where it gives none.

    Raises:
        SpeeDiffError: If the file is no such file, or an arm has a key or a value that it cannot have.
        OSError: If the file cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise SpeeDiffValueError(f"--arms must be a JSON file, got {path}: {error}") from None
    if not (isinstance(content, dict) and content and all(isinstance(arm, dict) for arm in content.values())):
        raise SpeeDiffValueError(
            f'--arms must be a file of settings by arm, such as {{"fast": {{"lr": 0.002}}}}, got {path}'
        )
    try:
        arms = {name: _arm(name, given) for name, given in content.items()}
        for name, given in content.items():
            if "emphasis_of" in given:
                arms[name] = _with_emphasis(arms[name], arms, given["emphasis_of"], shared)
        check_names(list(arms))
    except SpeeDiffError as error:
        raise type(error)(f"--arms {path}: {error}") from None
    return list(arms.values())


def check_names(names: list[str]) -> None:
    """Raises SpeeDiffValueError if two arms would have the same folder, or one has none."""
    folders = [folder_name(name) for name in names]
    for name, folder in zip(names, folders, strict=True):
        if not folder or folders.count(folder) > 1:
            raise SpeeDiffValueError(f"an arm's name must be unique and have a letter, got {name!r}")


def split_methods(text: str) -> list[str]:
    """Splits a list at its commas, except those within parentheses."""
    methods, depth = [""], 0
    for letter in "".join(text.split()):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            methods.append("")
        else:
            methods[-1] += letter
    names = [folder_name(method) for method in methods]
    if len(set(names)) < len(names) or not all(names):
        raise SpeeDiffValueError(f"--methods must be different methods, got {text!r}")
    return methods


def folder_name(name: str) -> str:
    """An arm's name as a folder name."""
    return re.sub(r"[^\w.+-]+", "_", name).strip("_.")


def _arm(name: str, given: Mapping[str, Any]) -> Arm:
    settings: Settings = {"method": "".join(name.split())} if "method" not in given else {}
    if "method" not in given and "emphasis_of" in given:
        settings["method"] = "uniform"
    for key, value in given.items():
        if key in EXTRA:
            continue
        if key in SHARED:
            raise SpeeDiffValueError(
                f"{name}: {key} is the same for all arms: give {schedule_flags.flag(key)}"
            )
        settings[key] = setting(f"{name}: {key}", key, value)
    settings["method"] = "".join(settings["method"].split())
    seeds = given.get("seeds")
    return Arm(
        name,
        settings,
        None if seeds is None else check_seeds(f"{name}: seeds", seeds),
        _tune(f"{name}: tune", given["tune"]) if "tune" in given else None,
    )


def setting(argument: str, key: str, value: Any) -> Any:
    """The value of a setting, if it has the setting's type."""
    if key not in run_settings.DEFAULTS:
        raise unknown_name(argument, key, (*run_settings.DEFAULTS, *EXTRA))
    if key in INTEGERS:
        return arguments.integer(argument, value)
    if key in REALS:
        return arguments.real(argument, value)
    if key in FLAGS:
        return arguments.flag(argument, value)
    if not isinstance(value, str):
        raise SpeeDiffTypeError(f"{argument} must be a text, got {value!r}")
    return value


def check_seeds(argument: str, seeds: Any) -> tuple[int, ...]:
    """Different seeds, at least one."""
    if not isinstance(seeds, (list, tuple)) or not seeds:
        raise SpeeDiffTypeError(f"{argument} must be a list of integers, got {seeds!r}")
    found = tuple(arguments.integer(argument, seed, least=0, end=1 << 64) for seed in seeds)
    for seed in found:
        if found.count(seed) > 1:
            raise SpeeDiffValueError(f"{argument} must be different, got {seed} twice")
    return found


def _tune(argument: str, given: Any) -> dict[str, Any]:
    if given is False:
        return {"values": []}
    if not isinstance(given, dict) or not given or not given.keys() <= {"values", "steps"}:
        raise SpeeDiffValueError(f"{argument} must be false or have values and steps, got {given!r}")
    found: dict[str, Any] = {}
    if "values" in given:
        if not isinstance(given["values"], list):
            raise SpeeDiffTypeError(f"{argument}: values must be a list of numbers, got {given['values']!r}")
        found["values"] = [arguments.real(f"{argument}: values", value) for value in given["values"]]
    if "steps" in given:
        found["steps"] = arguments.integer(f"{argument}: steps", given["steps"], least=1)
    return found


def _with_emphasis(arm: Arm, arms: Mapping[str, Arm], of: Any, shared: Settings) -> Arm:
    """The arm with the weights that give it another arm's emphasis."""
    other = arms[arguments.choice(f"{arm.name}: emphasis_of", of, arms)]
    own, its = ({**run_settings.DEFAULTS, **shared, **each.settings} for each in (arm, other))
    for name in OF_PROCESS:
        if own[name] != its[name]:
            raise SpeeDiffValueError(
                f"{arm.name}: {name} must be that of the arm whose emphasis it takes, {its[name]}, "
                f"got {own[name]}"
            )
    method = f"{arm.settings['method']}+to_emphasis(of={other.settings['method']})"
    return Arm(arm.name, {**arm.settings, "method": method}, arm.seeds, arm.tune)
