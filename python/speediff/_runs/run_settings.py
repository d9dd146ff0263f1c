"""The settings that determine a training run, from flags or from the resumed run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .._data.pictures import WHITE, color
from .._methods.method_text import MethodReader
from .._samplers.recipe import PREDICTIONS, STRATA
from .._support import arguments
from .._trainer.options import PRECISIONS
from ..errors import SpeeDiffValueError
from ..networks import MDT, DiT
from ..sampler import TimestepSampler
from ..training import Trainer
from . import schedule_flags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._data.datasets import Dataset
    from .._distributed.group import Group
    from ..schedules import NoiseSchedule

    Settings = dict[str, Any]

DEFAULTS: Settings = {
    "input_size": None, "background": WHITE, "unconditional": False, "flip": False,
    "model": None, "hidden": None, "depth": None, "heads": None, "patch": None, "learn_sigma": False,
    "mdt": None, "decode_layer": None, "mask_ratio": None,
    "method": "speed", "prediction": "epsilon", "strata": "none", "normalize": False,
    "schedule": None, "timesteps": None, "beta_start": None, "beta_end": None, "fraction": None,
    "betas": None, "alphas_cumprod": None, "zero_terminal_snr": False,
    "steps": 8000, "batch_size": 64, "accumulation": 1, "lr": None, "warmup": 100, "weight_decay": 0.0,
    "ema_decay": 0.999, "clip": None, "label_dropout": 0.1, "seed": 0,
    "precision": "float32",
}  # fmt: skip
"""Every setting by its flag's name, with its default."""
NETWORK = {"hidden": 96, "depth": 4, "heads": 3}
"""The default DiT without --model. It learns Fashion-MNIST in a few minutes on two cores."""
SMALL, SMALL_PATCH, PATCH = 16, 2, 4
"""Its patch size: 2 for images up to 16 pixels, 4 for larger ones."""
MASKING = {"decode_layer": 2, "mask_ratio": 0.3}
"""Defaults of --mdt. Version 2 has Min-SNR-5 in its loss, like its authors' code."""
OFFICIAL_RATE, SMALL_RATE = 1e-4, 1.5e-3
"""Default learning rates: DiT's own with --model, otherwise one for small networks."""
MAX_BATCH = 1 << 20
"""The limit of the batch size. A larger one is surely a mistake and needs gigabytes."""
AUTO = "auto"
"""The precision that is chosen by the processor when a run begins."""
CHANGEABLE = ("steps",)
"""The settings that may change on resume."""


def resolve(given: Mapping[str, Any], saved: Settings | None) -> Settings:
    """The settings of a run.

    Args:
        given: Values by name; None where the user gave none.
        saved: The settings of the resumed run, used as defaults; None: a new run.

    Raises:
        SpeeDiffValueError: If a given value differs from the resumed run. The error lists every difference.
    """
    result = DEFAULTS if saved is None else saved
    chosen = {name: given[name] for name in DEFAULTS if given.get(name) is not None}
    if "method" in chosen:
        chosen["method"] = "".join(chosen["method"].split())
    if "background" in chosen:
        chosen["background"] = color(chosen["background"])
    if saved is not None:
        # The run has what this took when it began.
        if chosen.get("precision") == AUTO:
            del chosen["precision"]
        differences = [
            f"{schedule_flags.flag(name)} {saved[name]}, got {value}"
            for name, value in chosen.items()
            if value != saved[name] and name not in CHANGEABLE
        ]
        if differences:
            raise SpeeDiffValueError(f"--resume needs the settings of the run: {'; '.join(differences)}")
    settings = {**result, **chosen}
    if settings["lr"] is None:
        settings["lr"] = SMALL_RATE if settings["model"] is None else OFFICIAL_RATE
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    """Checks the settings that the library does not check."""
    for name in ("steps", "accumulation"):
        arguments.integer(schedule_flags.flag(name), settings[name], least=1)
    arguments.integer("--batch-size", settings["batch_size"], least=1, end=MAX_BATCH + 1)
    if settings["batch_size"] % settings["accumulation"]:
        raise SpeeDiffValueError(
            f"--batch-size must be a multiple of --accumulation ({settings['accumulation']}), "
            f"got {settings['batch_size']}"
        )
    if settings["input_size"] is not None:
        arguments.integer("--input-size", settings["input_size"], least=1)
    arguments.integer("--seed", settings["seed"], least=0, end=1 << 64)
    arguments.choice("--prediction", settings["prediction"], PREDICTIONS)
    arguments.choice("--strata", settings["strata"], STRATA)
    arguments.choice("--precision", settings["precision"], PRECISIONS)
    if settings["model"] is not None:
        for name in (*NETWORK, "patch", "mdt", *MASKING):
            if settings[name] is not None:
                raise SpeeDiffValueError(
                    f"{schedule_flags.flag(name)} must not be given together with --model"
                )

    if settings["mdt"] is None:
        for name in MASKING:
            if settings[name] is not None:
                raise SpeeDiffValueError(
                    f"{schedule_flags.flag(name)} must be given together with --mdt, got {settings[name]}"
                )


def make_schedule(settings: Settings) -> NoiseSchedule:
    """The noise schedule."""
    if settings["timesteps"] is not None:
        for name in ("betas", "alphas_cumprod"):
            if settings[name] is not None:
                raise SpeeDiffValueError(
                    f"--timesteps must not be given together with {schedule_flags.flag(name)}"
                )
    flags = argparse.Namespace(**{**settings, "steps": settings["timesteps"], "respacing": None})
    return schedule_flags.schedule(flags)[1]


def make_sampler(settings: Settings, schedule: NoiseSchedule) -> TimestepSampler:
    """The method's sampler, with the run's seed and accumulation."""
    options = {name: settings[name] for name in ("prediction", "normalize", "accumulation", "strata", "seed")}
    reader = MethodReader(TimestepSampler, schedule, name="--method", **options)
    sampler: TimestepSampler = reader.sampler(settings["method"])
    return sampler


def make_trainer(
    settings: Settings, data: Dataset, *, threads: int | None, group: Group | None = None
) -> Trainer:
    """A trainer for this data, with initial weights."""
    channels, size = data.values.shape[1:3]
    return Trainer(
        settings["model"] or _network(settings, size),
        make_sampler(settings, make_schedule(settings)),
        input_size=size,
        in_channels=channels,
        num_classes=data.num_classes,
        learn_sigma=settings["learn_sigma"],
        class_dropout_prob=settings["label_dropout"],
        learning_rate=settings["lr"],
        weight_decay=settings["weight_decay"],
        ema_decay=settings["ema_decay"],
        ema_warmup=True,
        max_grad_norm=settings["clip"],
        warmup_steps=settings["warmup"],
        seed=settings["seed"],
        threads=threads,
        precision=settings["precision"],
        group=group,
    )


def _network(settings: Settings, size: int) -> DiT | MDT:
    defaults = {**NETWORK, "patch": SMALL_PATCH if size <= SMALL else PATCH, **MASKING}
    chosen = {name: settings[name] for name in defaults if settings[name] is not None}
    hidden, depth, heads, patch, decode_layer, mask_ratio = {**defaults, **chosen}.values()
    if settings["mdt"] is None:
        return DiT(hidden, depth, heads, patch)
    version = settings["mdt"]
    return MDT(
        hidden,
        depth,
        heads,
        patch,
        version=version,
        decode_layer=decode_layer,
        mask_ratio=mask_ratio,
        min_snr_gamma=5.0 if version == 2 else None,
    )
