"""The parts of a sampler, except its schedule and its seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from .._methods.method import from_description, resolve
from .._native import c_api as c
from .._native.native_sampler import NativeSampler
from .._support import arguments
from ..errors import SpeeDiffTypeError, suggestion
from ..sampling import Sampling
from ..weighting import ChangeAware, Weighting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..schedules import NoiseSchedule

PREDICTIONS = {
    "epsilon": c.PREDICTION_EPSILON,
    "sample": c.PREDICTION_SAMPLE,
    "v": c.PREDICTION_V,
    "flow": c.PREDICTION_FLOW,
}
STRATA = {
    "none": c.STRATA_NONE,
    "stratified": c.STRATA_STRATIFIED,
    "low_discrepancy": c.STRATA_LOW_DISCREPANCY,
}


class Options(TypedDict, total=False):
    """The options of a sampler, as `speediff.TimestepSampler` documents them."""

    prediction: str | None
    rank: int | None
    world_size: int | None
    accumulation: int
    strata: str
    normalize: bool
    prefetch: int | None


_BESIDE = "sampling", "weighting", "seed", "shift"
"""What samplers take beside their options, for suggestions."""


def check_names(options: Mapping[str, Any], also: Sequence[str] = (), name: str = "options") -> None:
    """Checks the names of options, and suggests the nearest one for an unknown name.

    Args:
        options: The options.
        also: Further names that the caller takes.
        name: What the options are called in errors.

    Raises:
        SpeeDiffTypeError: If an option is unknown.
    """
    known = (*also, *Options.__annotations__)
    unknown = sorted(set(options) - set(known))
    if unknown:
        hint = suggestion(unknown[0], {*known, *_BESIDE} - {*unknown})
        raise SpeeDiffTypeError(f"{name} must be among {', '.join(known)}, got {', '.join(unknown)}{hint}")


@dataclass(frozen=True)
class Drawing:
    """How draws are stratified, divided over ranks and weighted. The values are checked."""

    prediction: str | None
    strata: str
    normalize: bool
    rank: int
    world_size: int
    accumulation: int
    prefetch: int | None

    @classmethod
    def of(
        cls,
        *,
        prediction: str | None = None,
        strata: str = "none",
        normalize: bool = False,
        rank: int | None = 0,
        world_size: int | None = 1,
        accumulation: int = 1,
        prefetch: int | None = None,
    ) -> Drawing:
        """Checks the options. The library checks most ranges itself."""
        if prediction is not None:
            arguments.choice("prediction", prediction, PREDICTIONS)
        return cls(
            prediction,
            arguments.choice("strata", strata, STRATA),
            arguments.flag("normalize", normalize),
            arguments.integer("rank", rank),
            arguments.integer("world_size", world_size),
            arguments.integer("accumulation", accumulation),
            None if prefetch is None else arguments.integer("prefetch", prefetch, least=1, end=(1 << 16) + 1),
        )

    def slice_of(self, micro_batch: int, n: int) -> tuple[int, int]:
        """The first entry of a micro-batch of n in the step's global batch, and that batch's size."""
        return (micro_batch * self.world_size + self.rank) * n, self.accumulation * self.world_size * n

    def describe(self) -> dict[str, Any]:
        """The options that a saved state must match: all except how the global batch is divided."""
        return {"prediction": self.prediction, "strata": self.strata, "normalize": self.normalize}

    def native(self, seed: int) -> c.SamplerOptions:
        """The options as a C struct."""
        return c.SamplerOptions(
            seed,
            self.rank,
            self.world_size,
            self.accumulation,
            c.PREDICTION_UNSPECIFIED if self.prediction is None else PREDICTIONS[self.prediction],
            STRATA[self.strata],
            self.normalize,
        )


class AnyRecipe(Protocol):
    """The parts of a sampler."""

    @property
    def drawing(self) -> Drawing:
        """How draws are stratified, divided and weighted."""

    def describe(self) -> dict[str, Any]:
        """Plain values that a saved state must match."""


@dataclass(frozen=True)
class Recipe:
    """A sampling and a weighting, with names resolved."""

    sampling: Sampling
    weighting: Weighting
    official: bool
    drawing: Drawing

    @classmethod
    def of(
        cls,
        sampling: str | Sampling,
        weighting: str | Weighting,
        drawing: Drawing,
        *,
        official: bool = False,
    ) -> Recipe:
        """Resolves names."""
        return cls(
            resolve("sampling", sampling, Sampling.by_name, Sampling),
            resolve("weighting", weighting, Weighting.by_name, Weighting),
            official,
            drawing,
        )

    @classmethod
    def from_description(cls, description: dict[str, Any], drawing: Drawing) -> Recipe:
        """The recipe from the result of `describe`, with this drawing."""
        return cls(
            from_description(Sampling, description.get("sampling")),
            from_description(Weighting, description.get("weighting")),
            arguments.flag("official", description.get("official")),
            drawing,
        )

    def describe(self) -> dict[str, Any]:
        """The methods and the options."""
        return {
            "sampling": self.sampling.describe(),
            "weighting": self.weighting.describe(),
            "official": self.official,
            **self.drawing.describe(),
        }

    def create(self, schedule: NoiseSchedule, seed: int) -> NativeSampler:
        """Creates the native sampler."""
        options = self.drawing.native(seed)
        # Keep the handles alive until the native sampler has copied what they hold.
        process, sampling = schedule._open_handle(), self.sampling._create()
        if self.official and isinstance(self.weighting, ChangeAware):
            create = c.speediff_sampler_create_official_speed
            lam = self.weighting.lam
            return NativeSampler(schedule.steps, create, process.pointer, sampling.pointer, lam, options)
        create, weighting = c.speediff_sampler_create, self.weighting._create()
        parts = (process.pointer, sampling.pointer, weighting.pointer)
        return NativeSampler(schedule.steps, create, *parts, options)
