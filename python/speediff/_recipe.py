"""What a sampler is made of, besides its schedule and its seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from . import _arguments
from . import _c_api as c
from ._methods import resolve
from ._native_sampler import NativeSampler
from .errors import SpeeDiffTypeError
from .sampling import BY_NAME as SAMPLINGS
from .sampling import Sampling
from .weighting import BY_NAME as WEIGHTINGS
from .weighting import ChangeAware, Weighting

if TYPE_CHECKING:
    from .schedules import NoiseSchedule

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


def check_names(options: Options) -> None:
    """Raises if there is an option that no sampler has."""
    unknown = set(options) - set(Options.__annotations__)
    if unknown:
        known = ", ".join(Options.__annotations__)
        raise SpeeDiffTypeError(f"options must be among {known}, got {', '.join(sorted(unknown))}")


@dataclass(frozen=True)
class Recipe:
    """A sampling, a weighting and the options that a sampler takes; checked, and names resolved."""

    sampling: Sampling
    weighting: Weighting
    prediction: str | None
    strata: str
    normalize: bool
    rank: int
    world_size: int
    accumulation: int
    official: bool

    @classmethod
    def of(
        cls,
        sampling: str | Sampling,
        weighting: str | Weighting,
        *,
        prediction: str | None = None,
        strata: str = "none",
        normalize: bool = False,
        rank: int | None = 0,
        world_size: int | None = 1,
        accumulation: int = 1,
        official: bool = False,
    ) -> Recipe:
        """Checks what users give. Ranges that the library checks are left to it."""
        if prediction is not None:
            _arguments.choice("prediction", prediction, PREDICTIONS)
        _arguments.choice("strata", strata, STRATA)
        return cls(
            resolve("sampling", sampling, SAMPLINGS, Sampling),  # type: ignore[type-abstract]
            resolve("weighting", weighting, WEIGHTINGS, Weighting),  # type: ignore[type-abstract]
            prediction,
            strata,
            _arguments.flag("normalize", normalize),
            _arguments.integer("rank", rank),
            _arguments.integer("world_size", world_size),
            _arguments.integer("accumulation", accumulation),
            official,
        )

    def describe(self) -> dict[str, Any]:
        """What must be the same for a state to fit: all but how the global batch is divided."""
        return {
            "sampling": self.sampling.describe(),
            "weighting": self.weighting.describe(),
            "official": self.official,
            "prediction": self.prediction,
            "strata": self.strata,
            "normalize": self.normalize,
        }

    def create(self, schedule: NoiseSchedule, seed: int) -> NativeSampler:
        """Makes the native sampler."""
        options = c.SamplerOptions(
            seed,
            self.rank,
            self.world_size,
            self.accumulation,
            c.PREDICTION_UNSPECIFIED if self.prediction is None else PREDICTIONS[self.prediction],
            STRATA[self.strata],
            self.normalize,
        )
        # The handles live until the native sampler has taken over what they hold.
        process, sampling = schedule._open_handle(), self.sampling._create()
        if self.official and isinstance(self.weighting, ChangeAware):
            create = c.speediff_sampler_create_official_speed
            lam = self.weighting.lam
            return NativeSampler(schedule.steps, create, process.pointer, sampling.pointer, lam, options)
        create, weighting = c.speediff_sampler_create, self.weighting._create()
        parts = (process.pointer, sampling.pointer, weighting.pointer)
        return NativeSampler(schedule.steps, create, *parts, options)
