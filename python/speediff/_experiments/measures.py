"""What an experiment measures: the names, the columns, and how quality is compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._runs import validation
from ..errors import SpeeDiffValueError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


CLASSIFIER = "classifier"
"""The extractor without --features."""


@dataclass(frozen=True)
class Measure:
    """One measure of quality. Lower is better, except where `is_share`."""

    name: str
    column: str
    """Its column of the result files."""
    title: str
    """What it is, for a picture or a table."""
    columns: tuple[str, ...]
    """All columns that it fills."""
    is_log: bool = True
    """Whether curves are interpolated over the logarithm. KID can be 0 or less."""
    is_share: bool = False
    """Whether it is a share in [0, 1] that should be high. Then 1 minus it is compared."""
    needs_samples: bool = True
    """Whether it needs generated images and an extractor."""

    def cost(self, value: float) -> float:
        """The number that training lowers."""
        return 1 - value if self.is_share else value

    def from_cost(self, cost: float) -> float:
        """The value of a cost."""
        return 1 - cost if self.is_share else cost


MEASURES = {
    each.name: each
    for each in (
        Measure("fd", "fd", "Fréchet distance", ("fd",)),
        Measure("kid", "kid", "kernel distance (KID)", ("kid", "kid_std"), is_log=False),
        Measure("accuracy", "accuracy", "class accuracy of samples", ("accuracy",), is_share=True),
        Measure(
            "loss",
            "overall",
            "error in the noise on held-out images",
            validation.COLUMNS,
            needs_samples=False,
        ),
    )
}
"""Every measure by its name."""


def parse(text: str) -> list[str]:
    """The names in a comma-separated list, in the order of `MEASURES`.

    Raises:
        SpeeDiffValueError: If a name is unknown or given twice.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in MEASURES:
            raise unknown_name("--measure", name, MEASURES)
    if len(set(names)) < len(names):
        raise SpeeDiffValueError(f"--measure must be different measures, got {text!r}")
    return [name for name in MEASURES if name in names]


def columns(names: Iterable[str]) -> tuple[str, ...]:
    """The columns of these measures, in order."""
    return tuple(column for name in names for column in MEASURES[name].columns)


def of_samples(names: Sequence[str]) -> list[str]:
    """Those that need generated images and an extractor."""
    return [name for name in names if MEASURES[name].needs_samples]


def parse_features(texts: Iterable[str]) -> dict[str, str]:
    """The extractor of each measure, from texts such as `classifier` for all or `kid:efficientnet-lite0`."""
    found: dict[str, str] = {}
    for text in texts:
        name, colon, extractor = text.partition(":")
        if colon and name in MEASURES and MEASURES[name].needs_samples:
            found[name] = extractor
        else:
            found = {**dict.fromkeys(of_samples(list(MEASURES)), text), **found}
    return found


def shown(name: str, value: float | None) -> str:
    """A value of a measure in a table."""
    if value is None:
        return "–"
    return f"{value:.4f}" if name == "accuracy" else f"{value:.4g}"
