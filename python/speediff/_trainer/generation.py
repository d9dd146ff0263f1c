"""How a `Trainer` generates images: its arguments, its progress bar, and Ctrl-C."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import errors
from .._native import buffers
from .._native import c_training as c
from .._support import arguments as checks
from .._support import progress as progress_bars

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._native.native_trainer import Floats, Integers, NativeTrainer

METHODS = {"ddpm": c.GENERATION_DDPM, "ddim": c.GENERATION_DDIM}
MAXIMUM_COUNT = 1 << 20


def options(
    steps: int, method: str, eta: float, cfg_scale: float, clip: bool, ema: bool
) -> c.GenerationOptions:
    """Checks what users give. Ranges are left to the library."""
    return c.GenerationOptions(
        METHODS[checks.choice("method", method, METHODS)],
        checks.integer("steps", steps),
        checks.real("eta", eta),
        checks.real("cfg_scale", cfg_scale),
        checks.flag("clip", clip),
        checks.flag("ema", ema),
    )


def seeds(seed: object, n: int) -> NDArray[np.uint64]:
    """One seed per image: seed, seed + 1, …, or those that are given."""
    if isinstance(seed, (list, tuple, np.ndarray)):
        values = [checks.integer(f"seed[{i}]", v, least=0, end=1 << 64) for i, v in enumerate(seed)]
        if len(values) != n:
            raise errors.SpeeDiffValueError(
                f"seed must have one entry for each of {n} images, got {len(values)}"
            )
    else:
        first = checks.integer("seed", seed, least=0, end=1 << 64)
        values = [(first + i) % (1 << 64) for i in range(n)]
    return np.array(values, np.uint64)


def count(labels: Integers | None, n: int | None) -> int:
    """How many images there are to be."""
    if labels is not None:
        buffers.check_shape("labels", labels, np.int64, (None,))
        if n is not None and n != len(labels):
            raise errors.SpeeDiffValueError(f"n must be left out where labels are given, got {n!r}")
        return len(labels)
    if n is None:
        raise errors.SpeeDiffTypeError("n must be given where there are no labels, got None")
    return checks.integer("n", n, least=0, end=MAXIMUM_COUNT + 1)


def run(
    native: NativeTrainer,
    labels: Integers | None,
    image_seeds: NDArray[np.uint64],
    how: c.GenerationOptions,
    out: Floats,
    progress: bool,
) -> None:
    """Fills `out`. What is raised meanwhile, by Ctrl-C or by the progress bar, stops the work and goes on.

    The library works in a thread of its own: ctypes drops what a signal's handler raises in a callback.
    """
    work = _Work(native, labels, image_seeds, how, out)
    bar: Any = None

    def show() -> None:
        nonlocal bar
        if progress and work.total:
            bar = progress_bars.bar(label="sampling", total=work.total) if bar is None else bar
            bar.update(work.done - bar.n)

    try:
        work.start()
        while not work.finished.wait(0.1):
            show()
        show()
    finally:
        work.is_wanted = False
        work.finished.wait()
        if bar is not None:
            bar.close()
    if work.error is not None:
        raise work.error


class _Work:
    """A generation on its way."""

    def __init__(self, native: NativeTrainer, *arguments: Any) -> None:
        self.finished = threading.Event()
        self.is_wanted = True
        self.done = self.total = 0
        self.error: BaseException | None = None
        self._native, self._arguments = native, arguments

    def start(self) -> None:
        try:
            threading.Thread(target=self._run, name="speediff.generate", daemon=True).start()
        except RuntimeError as error:
            self.finished.set()
            raise errors.SpeeDiffMemoryError(
                f"generate must be able to start a thread, got {error}"
            ) from error

    def _run(self) -> None:
        labels, image_seeds, how, out = self._arguments
        try:
            self._native.generate(labels, image_seeds, how, c.progress_p(self._advance), out)
        except BaseException as error:
            self.error = error
        finally:
            self.finished.set()

    def _advance(self, _context: object, done: int, total: int) -> int:
        self.done, self.total = done, total
        return int(self.is_wanted)
