"""The report of a comparison: curves, samples side by side, numbers, and a table in the terminal."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from .._runs import picture_grids
from .._runs.validation import COLUMNS
from .._support import extras, replacement, text_names
from .._support.replacement import replace_bytes, replace_text
from .._support.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .compare_result import Result


NAMES = ("results.csv", "results.json", "curves.png", "samples.png")
"""The files. The last one is written only if samples are enabled and the data are images."""


def check() -> None:
    """Raises SpeeDiffError if curves cannot be drawn."""
    extras.load_own("cli.compare_curves", "curves.png")


def check_files(folder: Path, *, has_samples: bool) -> None:
    """Raises OSError if a file cannot be written. Called before training."""
    for name in NAMES if has_samples else NAMES[:-1]:
        replacement.check(folder / name)


def write(folder: Path, results: Sequence[Result], pictures: Sequence[Any]) -> list[Path]:
    """Writes all files and returns their paths."""
    from .compare_curves import encoded

    table, numbers, curves, samples = (folder / name for name in NAMES)
    replace_text(table, _csv(results))
    replace_text(numbers, text_names.to_json(_plain(results)))
    replace_bytes(curves, encoded(results))
    if not pictures:
        return [table, numbers, curves]
    picture_grids.write(picture_grids.beside(pictures), samples)
    return [table, numbers, curves, samples]


def _csv(results: Sequence[Result]) -> str:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["method", "seed", "step", "seconds", *COLUMNS])
    for result in results:
        for step, values in result.rows:
            writer.writerow([result.method, result.settings["seed"], step, *values])
    return file.getvalue()


def _plain(results: Sequence[Result]) -> dict[str, Any]:
    """The results as plain values for JSON."""
    process = results[0].process
    return {
        "speediff": __version__,
        "loss": "mean squared error in the noise, unweighted, of the EMA weights",
        "validation_images": results[0].images,
        "data": results[0].data,
        "areas": {area.name: [area.first, area.last] for area in process.areas},
        "methods": [
            {
                "method": result.method,
                "seed": result.settings["seed"],
                "settings": result.settings,
                "validation": [
                    {"step": step, **dict(zip(("seconds", *COLUMNS), values, strict=True))}
                    for step, values in result.rows
                ],
            }
            for result in results
        ],
    }


def table(results: Sequence[Result]) -> str:
    """The last measurement of each method, one line each."""
    first = results[0]
    spans = ["", "", "", "", f"1–{first.process.steps}"]
    lines = [spans, ["method", "steps", "seconds", "images/s", "overall"]]
    for area in first.process.areas:
        spans.append(f"{area.first}–{area.last}" if area.steps else "none")
        lines[1].append(area.name)
    for result in results:
        step, (seconds, *errors) = result.rows[-1]
        rate = step * result.settings["batch_size"] / (seconds or 1)
        lines.append(
            [result.method, str(step), f"{seconds:.0f}", f"{rate:.0f}"]
            + ["–" if error is None else f"{error:.5f}" for error in errors]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    seed = first.settings["seed"]
    title = f"error in the noise on {first.images} held-out images, EMA weights, seed {seed}"
    return "\n".join(["", title, *(line.rstrip() for line in text)])
