"""A trainer's options, checked and as the library takes them."""

from __future__ import annotations

import ctypes

from .. import errors
from .._native import c_training as c
from .._support import arguments

PRECISIONS = {
    "float32": c.PRECISION_FLOAT32,
    "bfloat16": c.PRECISION_BFLOAT16,
    "auto": c.PRECISION_AUTO,
}
"""The precisions of the factors of matrix products, with the library's numbers."""


def native(
    *,
    learning_rate: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    ema_decay: float,
    ema_warmup: bool,
    max_grad_norm: float | None,
    warmup_steps: int,
    seed: int,
    threads: int | None,
    precision: str,
) -> c.TrainerOptions:
    """The options of `Trainer`, whose names and ranges they have."""
    if not (isinstance(betas, (tuple, list)) and len(betas) == 2):
        raise errors.SpeeDiffTypeError(f"betas must be a pair of numbers, got {betas!r}")
    return c.TrainerOptions(
        ctypes.sizeof(c.TrainerOptions),
        arguments.real("learning_rate", learning_rate),
        arguments.real("betas[0]", betas[0]),
        arguments.real("betas[1]", betas[1]),
        arguments.real("eps", eps),
        arguments.real("weight_decay", weight_decay),
        arguments.real("ema_decay", ema_decay),
        arguments.flag("ema_warmup", ema_warmup),
        arguments.positive_or_none("max_grad_norm", max_grad_norm),
        arguments.integer("warmup_steps", warmup_steps, least=0),
        arguments.integer("seed", seed, least=0, end=1 << 64),
        thread_count(threads),
        precision_code(precision),
    )


def thread_count(threads: int | None) -> int:
    """The number of threads; None is 0 for the library."""
    return 0 if threads is None else arguments.integer("threads", threads, least=1, end=1025)


def precision_code(precision: object) -> int:
    """The library's number of a precision."""
    return PRECISIONS[arguments.choice("precision", precision, PRECISIONS)]


def fastest_precision() -> str:
    """The name of the precision that "auto" takes in this process."""
    code = ctypes.c_int64()
    c.speediff_fastest_precision(code)
    return precision_name(code.value)


def precision_name(code: int) -> str:
    """The name of a precision."""
    return next(name for name, value in PRECISIONS.items() if value == code)
