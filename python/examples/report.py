"""What a run leaves behind: its loss curve, its samples, one line of results."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from loop import Trained
    from numpy.typing import NDArray
    from torch import Tensor

_SMOOTHING = 0.98  # averages over about 50 steps


class LossCurve:
    """The loss of every step so far, raw and smoothed.

    Smoothed is an exponential moving average, divided by the sum of its weights so that it does
    not start at zero.
    """

    def __init__(self, losses: Sequence[float] = ()) -> None:
        self.raw: list[float] = []
        self.smoothed: list[float] = []
        self._average = 0.0
        for loss in losses:
            self.append(loss)

    def append(self, loss: float) -> None:
        """Add the loss of the next step."""
        self.raw.append(loss)
        self._average = _SMOOTHING * self._average + (1 - _SMOOTHING) * loss
        self.smoothed.append(self._average / (1 - _SMOOTHING ** len(self.raw)))

    def write_csv(self, path: Path) -> None:
        """Columns ``step`` (from 1), ``loss``, ``smoothed_loss``, in every digit."""
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "loss", "smoothed_loss"])
            writer.writerows(zip(range(1, len(self.raw) + 1), self.raw, self.smoothed, strict=True))

    def plot(self, path: Path, title: str, loss_label: str) -> None:
        """The raw curve, faint, under the smoothed one."""
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        steps = np.arange(1, len(self.raw) + 1)
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(steps, self.raw, color="tab:blue", alpha=0.25, linewidth=0.8, label="batch")
        axes.plot(steps, self.smoothed, color="tab:blue", linewidth=1.8, label="moving average")
        axes.set(title=title, xlabel="optimizer step", ylabel=loss_label, yscale="log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.01)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        figure.savefig(path, dpi=150)


def save_samples(path: Path, samples: Tensor, row_names: Sequence[str], title: str) -> None:
    """A grid of images.

    Args:
        path: The PNG to write.
        samples: Shape (rows, columns, channels, height, width), values in [-1, 1]; the channels are
            one, gray, or three, red, green and blue.
        row_names: Stand on the left.
        title: Stands above.
    """
    from matplotlib.figure import Figure

    rows, columns, channels, height, width = samples.shape
    values: NDArray[np.float32] = samples.cpu().numpy().clip(-1, 1) / 2 + 0.5
    grid = np.pad(values, ((0, 0), (0, 0), (0, 0), (1, 1), (1, 1)), constant_values=1)
    grid = grid.transpose(0, 3, 1, 4, 2).reshape(rows * (height + 2), columns * (width + 2), channels)
    # One inch of names for each nine letters.
    names = max(map(len, row_names)) / 9
    figure = Figure(figsize=(0.55 * columns + names + 0.2, 0.55 * rows + 0.4), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(grid[..., 0] if channels == 1 else grid, cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=10)
    axes.set_yticks((height + 2) * (np.arange(rows) + 0.5), row_names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.savefig(path, dpi=150)


def show(
    args: argparse.Namespace,
    trained: Trained,
    title: str,
    samples: Tensor,
    row_names: Sequence[str],
    validation: Mapping[str, float],
) -> None:
    """Write the curve and the samples to ``--out``, print where they are, and one line of results.

    Args:
        args: Those of the example.
        trained: What its run gave.
        title: What was trained, and on what.
        samples: As in :func:`save_samples`.
        row_names: As in :func:`save_samples`.
        validation: The loss ``overall`` and in bands.
    """
    paths = [args.out / name for name in ("loss.csv", "loss.png", "samples.png")]
    title = f"{title}: {args.method}, {args.steps} steps"
    trained.curve.write_csv(paths[0])
    trained.curve.plot(paths[1], f"{title}\n(not comparable between methods)", "weighted training loss")
    save_samples(paths[2], samples, row_names, title)
    print(*paths, sep="\n")
    print(result_line(args.method, trained.curve, trained.images_per_second, validation))


def result_line(
    method: str, curve: LossCurve, images_per_second: float, validation: Mapping[str, float]
) -> str:
    """One line: what ran, how fast, and the losses, of which only validation compares methods."""
    bands = ", ".join(f"{loss:.5f} at {band}" for band, loss in validation.items() if band != "overall")
    return (
        f"{method}: {len(curve.raw)} steps, {images_per_second:.0f} images/s, "
        f"training loss {curve.smoothed[-1]:.4f}, validation loss {validation['overall']:.5f} ({bands})"
    )
