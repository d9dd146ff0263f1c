"""The training loop: progress bar, checkpoints and graceful stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._support import messages, progress
from ..errors import SpeeDiffGroupError, SpeeDiffNonFiniteError
from .interrupt import Stopped, StopRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from .run import Run

SMOOTHING = 0.98
"""The bar shows averages over about 50 steps."""


def train(
    run: Run,
    *,
    checkpoint_every: int,
    label: str = "training",
    after_step: Callable[[Run, StopRequest], None] | None = None,
    quiet: bool = False,
) -> None:
    """Trains up to the run's number of steps, with regular checkpoints and one at the end.

    Args:
        run: The run to train.
        checkpoint_every: Checkpoint interval in steps.
        label: The progress bar's label.
        after_step: Called after each step and before its checkpoint, but skipped when a signal stops the run.
            To make up for that, a resumed run calls it before its first step.
        quiet: Say nothing of a stop; another process does.

    Raises:
        Stopped: After a checkpoint, if any process of the run received a signal of `StopRequest`.
        SpeeDiffNonFiniteError: If the loss or a gradient is not finite; the error names the last checkpoint.
        SpeeDiffGroupError: If another process exited or is silent; the error names the last checkpoint.
    """
    steps, batch = run.settings["steps"], run.settings["batch_size"]
    loss, seconds = _Average(), _Average()
    speaks = run.group.rank == 0 and not quiet

    def finish_step() -> None:
        if after_step is not None:
            after_step(run, stop)
            # Several processes agree on stopping within the next step.
            run.is_stopping |= stop.made and run.group.world_size == 1

    with (
        StopRequest(quiet=not speaks) as stop,
        progress.bar(label=label, total=steps, initial=min(run.step, steps), is_main=True) as bar,
    ):
        try:
            if run.step > 0:
                finish_step()
            while run.step < steps and not run.is_stopping:
                begun = run.seconds
                loss.add(run.advance(lambda: stop.made))
                seconds.add(run.seconds - begun)
                rate = batch / seconds.value
                bar.set_postfix_str(f"loss {loss.value:.4f}, {rate:.0f} images/s", refresh=False)
                bar.update()
                if not run.is_stopping:
                    finish_step()
                if run.step % checkpoint_every == 0 or run.step >= steps or run.is_stopping:
                    run.save()
        except SpeeDiffNonFiniteError as error:
            error.args = (f"{error}; {_what_is_left(run)}; try a smaller --lr or --clip 1",)
            raise
        except SpeeDiffGroupError as error:
            # Rank 0 may have completed a checkpoint without this process knowing.
            can_go_on = run.checkpoint.exists()
            advice = f"--resume continues {run.checkpoint}" if can_go_on else "there is no checkpoint yet"
            error.args = (f"{error}; {advice}",)
            raise
    if run.is_stopping:
        if speaks:
            messages.tell(f"stopped at step {run.step}; --resume continues {run.checkpoint}")
        raise Stopped


def _what_is_left(run: Run) -> str:
    if run.saved_step is None:
        return "there is no checkpoint yet"
    return f"the last checkpoint is {run.checkpoint}, step {run.saved_step}"


class _Average:
    """A bias-corrected exponential moving average."""

    def __init__(self) -> None:
        self._sum = self._weight = 0.0

    def add(self, value: float) -> None:
        self._sum = SMOOTHING * self._sum + (1 - SMOOTHING) * value
        self._weight = SMOOTHING * self._weight + (1 - SMOOTHING)

    @property
    def value(self) -> float:
        """The average."""
        return self._sum / self._weight
