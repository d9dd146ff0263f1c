"""A training step as a whole, of one process or among several."""

from __future__ import annotations

import math
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from .. import errors
from .._distributed.group import on_all
from . import micro_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._native.native_trainer import Floats, Integers
    from ..training import Trainer

Result = TypeVar("Result")

COUNT = struct.Struct("<q")
"""A rank's number of images, in a message."""
OUTCOME = struct.Struct("<d?")
"""A rank's part of the loss, and whether it wants to stop."""


def step(
    trainer: Trainer,
    x: Floats,
    y: Integers | None,
    *,
    total: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[float, bool]:
    """`Trainer.step` of this rank's part of the global batch.

    Args:
        trainer: The trainer. What goes wrong on one rank of its group is an error on all, and nothing was
            applied.
        x: This rank's images.
        y: Their classes.
        total: The images of all ranks, where each has `group.part(total)` of them: one exchange less.
        stop: Whether this rank wants this step to be the last one; asked after its backward.

    Returns:
        The loss of the global batch; and whether any rank wants to stop.
    """
    if trainer.group.world_size > 1:
        return whole(trainer, _shared(trainer, x, y, total, stop))
    return whole(trainer, _alone(trainer, x, y, stop))


def _alone(
    trainer: Trainer, x: Floats, y: Integers | None, stop: Callable[[], bool]
) -> Callable[[], tuple[float, bool]]:
    """Checks the batch of the only process; the step itself."""
    micro_batches.check(trainer, x, y)
    accumulation = trainer.sampler.recipe.drawing.accumulation
    if len(x) % accumulation:
        raise errors.SpeeDiffValueError(
            f"x must have a multiple of accumulation = {accumulation} images, got {len(x)}"
        )

    def work() -> tuple[float, bool]:
        native, loss = trainer._open_handle(), 0.0
        for _, images, labels in micro_batches.parts(trainer, x, y):
            loss += native.backward(images, labels) / accumulation
        native.apply()
        if trainer._native_sampler.history_count:
            trainer.sampler._learn(lambda _: native.learn())
        return loss, stop()

    return work


def _shared(
    trainer: Trainer, x: Floats, y: Integers | None, total: int | None, stop: Callable[[], bool]
) -> Callable[[], tuple[float, bool]]:
    """Checks the batch of one of several processes; the step itself.

    Three exchanges: how many images each rank has, which tells the place of each; losses; gradients.
    """
    group = trainer.group
    counts = _counts(trainer, x, y) if total is None else group.parts(total)
    offset = sum(counts[: group.rank])

    def backward() -> bytes:
        if total is not None:
            micro_batches.check(trainer, x, y)
        return _backward(trainer, x, y, offset, sum(counts), stop)

    def work() -> tuple[float, bool]:
        messages = group._exchange("losses", backward)
        group._sum(trainer.flat_gradients)
        try:
            trainer.apply()
        except errors.SpeeDiffNonFiniteError as error:
            raise on_all(error) from None  # The gradient is the same on all.
        if trainer._native_sampler.history_count:
            timesteps, losses = _seen(messages, counts)
            trainer.sampler._learn(lambda native: native.update(trainer.global_step, timesteps, losses))
        parts, stops = zip(*(OUTCOME.unpack_from(message) for message in messages), strict=True)
        return math.fsum(parts), any(stops)

    return work


def whole(trainer: Trainer, work: Callable[[], Result]) -> Result:
    """Does a step, from its first backward until its sampler has learned; nothing else may come between.

    Gives up the step's micro-batches if they do not become a step, for an error or a Ctrl-C.

    Raises:
        SpeeDiffBusyError: If a step is on its way, in another thread or below a signal handler.
    """
    own, steps = object(), trainer._steps
    try:
        if steps.setdefault("now", own) is not own:
            raise _busy()
        return work()
    except BaseException:
        if steps.get("now") is own:
            # Another thread may be at work, whose micro-batches are not this step's to give up.
            with suppress(errors.SpeeDiffError):
                trainer.discard()
        raise
    finally:
        # Without a call, after which Python looks for signals: a Ctrl-C must not leave the trainer taken.
        if "now" in steps and steps["now"] is own:
            del steps["now"]


def check_between(trainer: Trainer) -> None:
    """Raises `SpeeDiffBusyError` in the middle of a `step`, where parameters and sampler may be of two."""
    if trainer._steps:
        raise _busy()


def _busy() -> errors.SpeeDiffBusyError:
    return errors.SpeeDiffBusyError(
        "trainer must be used by one thread at a time, and by a signal handler between steps only, got a "
        "call in the middle of step(); let the handler set a flag, and look at it after step()"
    )


def _counts(trainer: Trainer, x: Floats, y: Integers | None) -> list[int]:
    """The images of each rank."""

    def count() -> bytes:
        micro_batches.check(trainer, x, y)
        return COUNT.pack(len(x))

    counts = [COUNT.unpack(message)[0] for message in trainer.group._exchange("a step", count)]
    if not any(counts):
        raise on_all(errors.SpeeDiffValueError("x must have an image on one rank at least, got none on any"))
    return counts


def _backward(
    trainer: Trainer, x: Floats, y: Integers | None, offset: int, total: int, stop: Callable[[], bool]
) -> bytes:
    """Makes this rank's part of the gradients; its outcome, and what a sampler learns from."""
    native, learns = trainer._open_handle(), trainer._native_sampler.history_count > 0
    loss, seen = 0.0, []
    for begin, images, labels in micro_batches.parts(trainer, x, y):
        loss += native.backward(images, labels, offset=offset + begin, total=total)
        if learns:
            seen.append(native.last_losses())
    return OUTCOME.pack(loss, stop()) + b"".join(
        array.tobytes() for arrays in zip(*seen, strict=True) for array in arrays
    )


def _seen(messages: Sequence[bytes], counts: Sequence[int]) -> tuple[Integers, Floats]:
    """Timesteps and losses of the whole batch, in the order of its entries."""
    steps, losses = [], []
    for message, count in zip(messages, counts, strict=True):
        steps.append(np.frombuffer(message, np.int64, count, OUTCOME.size))
        losses.append(np.frombuffer(message, np.float32, count, OUTCOME.size + steps[-1].nbytes))
    return np.concatenate(steps), np.concatenate(losses)
