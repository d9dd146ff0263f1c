"""How a `Trainer` generates images: its arguments, its progress bar, and Ctrl-C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arguments, _buffers, errors
from . import _c_training as c

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ._native_trainer import Floats, Integers, NativeTrainer

METHODS = {"ddpm": c.GENERATION_DDPM, "ddim": c.GENERATION_DDIM}
MAXIMUM_COUNT = 1 << 20


def options(steps: int, method: str, eta: float, cfg_scale: float, clip: bool, ema: bool) -> c.GenerationOptions:
    """Checks what users give. Ranges are left to the library."""
    return c.GenerationOptions(
        METHODS[_arguments.choice("method", method, METHODS)],
        _arguments.integer("steps", steps),
        _arguments.real("eta", eta),
        _arguments.real("cfg_scale", cfg_scale),
        _arguments.flag("clip", clip),
        _arguments.flag("ema", ema),
    )


def seeds(seed: object, n: int) -> NDArray[np.uint64]:
    """One seed per image: seed, seed + 1, …, or those that are given."""
    if isinstance(seed, (list, tuple, np.ndarray)):
        values = [_arguments.integer(f"seed[{i}]", v, least=0, end=1 << 64) for i, v in enumerate(seed)]
        if len(values) != n:
            raise errors.SpeeDiffValueError(f"seed must have one entry for each of {n} images, got {len(values)}")
    else:
        first = _arguments.integer("seed", seed, least=0, end=1 << 64)
        values = [(first + i) % (1 << 64) for i in range(n)]
    return np.array(values, np.uint64)


def count(labels: Integers | None, n: int | None) -> int:
    """How many images there are to be."""
    if labels is not None:
        _buffers.check_shape("labels", labels, np.int64, (None,))
        if n is not None and n != len(labels):
            raise errors.SpeeDiffValueError(f"n must be left out where labels are given, got {n!r}")
        return len(labels)
    if n is None:
        raise errors.SpeeDiffTypeError("n must be given where there are no labels, got None")
    return _arguments.integer("n", n, least=0, end=MAXIMUM_COUNT + 1)


def run(
    native: NativeTrainer,
    labels: Integers | None,
    image_seeds: NDArray[np.uint64],
    how: c.GenerationOptions,
    out: Floats,
    progress: bool,
) -> None:
    """Fills `out`; an exception of the progress bar, such as Ctrl-C, stops the work and is raised again."""
    raised: list[BaseException] = []
    bar: Any = None

    def advance(_context: object, done: int, total: int) -> int:
        # ctypes would print what is raised here, and go on.
        nonlocal bar
        try:
            if progress and bar is None:
                bar = _bar(total)
            if bar is not None:
                bar.update(done - bar.n)
        except BaseException as error:
            raised.append(error)
            return 0
        return 1

    callback: Callable[..., int] = c.progress_p(advance)
    try:
        native.generate(labels, image_seeds, how, callback, out)
    except errors.SpeeDiffCancelledError:
        if raised:
            raise raised[0] from None
        raise
    finally:
        if bar is not None:
            bar.close()


def _bar(total: int) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise errors.SpeeDiffTypeError(
            "progress must be False without tqdm, got True; install it with pip install 'speediff[train]'"
        ) from None
    return tqdm(total=total, desc="sampling", unit="step")
