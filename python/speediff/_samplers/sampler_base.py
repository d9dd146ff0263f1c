"""The common base of the timestep samplers for NumPy and PyTorch; only the array types differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from .. import errors
from .._methods.method_text import MethodReader
from .._native.native_sampler import MAXIMUM_TOTAL, NativeSampler
from .._support import arguments
from ..sampling import Asymmetric, Sampling
from ..schedules import NoiseSchedule
from ..weighting import ChangeAware, Weighting
from . import moved_steps, saved_state, validation_set
from .drawing import DrawingBase
from .recipe import Options, Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self, Unpack

    from .._native.native_sampler import Table, Timesteps, Weights
    from .moves import Moves, Place

Piece = TypeVar("Piece")

PRESETS = ("paper", "official")

OFFICIAL_TAU = 700
"""The τ of SpeeD's released code, which does not depend on T."""


def _asymmetric(k: float, tau: int | None, r: float | None) -> Asymmetric:
    """The sampling, with the default r if neither τ nor r is given."""
    if tau is not None and r is not None:
        raise errors.SpeeDiffValueError(
            f"tau must not be given together with r, got tau = {tau!r}, r = {r!r}"
        )
    return Asymmetric(k, tau, r)


class SamplerBase(DrawingBase[NativeSampler, Piece], Generic[Piece]):
    """A schedule, a sampling and a weighting, ready to draw."""

    recipe: Recipe

    def __init__(
        self,
        schedule: NoiseSchedule,
        sampling: str | Sampling = "uniform",
        weighting: str | Weighting = "uniform",
        prediction: str | None = None,
        *,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        accumulation: int = 1,
        strata: str = "none",
        normalize: bool = False,
        prefetch: int | None = None,
    ) -> None:
        """Combines a schedule, a sampling and a weighting.

        Args:
            schedule: The noise schedule, of T steps.
            sampling: Which steps to draw: a name or an object of `speediff.sampling`.
            weighting: The weight of each step: a name or an object of `speediff.weighting`.
            prediction: What the network predicts: "epsilon", "sample", "v" or "flow". Required if the
                weighting depends on it.
            seed: In [0, 2⁶⁴); the same on every rank.
            rank: This process's rank among `world_size`; None: 0. In `speediff.torch`, None takes both from
                `torch.distributed` if it is initialized.
            world_size: The number of processes that share each global batch; None: 1.
            accumulation: The number of calls (micro-batches) per training step.
            strata: How to stratify a global batch over the noise levels: "none", "stratified" or
                "low_discrepancy".
            normalize: Divide the weights by their mean under the drawn distribution. This keeps the scale of
                the loss.
            prefetch: The number of calls to draw in one library call, in [1, 65536]. None: depends on the
                batch size, at most 64.

        Raises:
            SpeeDiffValueError: If a value is out of range, or contradicts another one.
            SpeeDiffTypeError: If a value has the wrong type.
        """
        options: Options = {
            "prediction": prediction,
            "rank": rank,
            "world_size": world_size,
            "accumulation": accumulation,
            "strata": strata,
            "normalize": normalize,
            "prefetch": prefetch,
        }
        recipe = Recipe.of(sampling, weighting, self._drawing_of(options))
        self._set_up(schedule, seed, recipe, options)

    def _set_up(self, schedule: NoiseSchedule, seed: int, recipe: Recipe, options: Options) -> None:
        if not isinstance(schedule, NoiseSchedule):
            raise errors.SpeeDiffTypeError(f"schedule must be a NoiseSchedule, got {schedule!r}")
        self.schedule = schedule
        """The noise schedule."""
        self.recipe = recipe
        """The sampling, the weighting and the options."""
        # The user may close the schedule; this reference shares its native object.
        self._process = NoiseSchedule(schedule._open_handle(), schedule._description)
        self._prepare(seed, options)

    @classmethod
    def speed(
        cls,
        schedule: NoiseSchedule,
        k: float = 5.0,
        lam: float = 0.6,
        seed: int = 0,
        *,
        tau: int | None = None,
        r: float | None = None,
        preset: str = "paper",
        **options: Unpack[Options],
    ) -> Self:
        """SpeeD: asymmetric sampling with change-aware weighting.

        The presets differ because the paper and its released code differ:

        - "paper": P is Eq. 2 exactly; weights are in [1-λ, λ] for every step.
        - "official": of the n entries of each call, n÷2+1 come from Eq. 2, and the others are their
          duals abs(m-t); weights are change-aware up to τ and 1 beyond. The batch's distribution is
          `marginal(n)`: nominal k = 5 acts as 5.0, 8.3, 9.8, 10.3 for n = 1-2, 8, 32, 256. Each rank
          and each micro-batch makes its own pairs, as in the released code. So the draws depend on
          how the global batch is divided.

        Args:
            schedule: The noise schedule.
            k: The suppression intensity, finite and at least 1.
            lam: λ in [0.5, 1].
            seed: In [0, 2⁶⁴).
            tau: The last step that is not suppressed, 0 < τ < T. The default of "official" is 700.
            r: Determines τ instead: the first step t with 1/ᾱ_t > r. The default of "paper" is 143.5, which
                gives 700 for the paper's schedule. Cannot be combined with tau.
            preset: "paper" or "official".
            **options: `rank`, `world_size`, `accumulation`, `strata`, `normalize`, `prediction`, `prefetch`.
        """
        arguments.choice("preset", preset, PRESETS)
        if preset == "official" and tau is None and r is None:
            tau = OFFICIAL_TAU
        sampler = cls.__new__(cls)
        drawing = cls._drawing_of(options)
        methods = _asymmetric(k, tau, r), ChangeAware(lam)
        recipe = Recipe.of(*methods, drawing, official=preset == "official")
        sampler._set_up(schedule, seed, recipe, options)
        return sampler

    @classmethod
    def from_text(
        cls,
        schedule: NoiseSchedule,
        text: str,
        seed: int = 0,
        **options: Unpack[Options],
    ) -> Self:
        """Creates a sampler from a text, as in `speediff train --method`.

        Args:
            schedule: The noise schedule.
            text: "speed" or "official", SpeeD as its paper or its released code defines it; a sampling,
                "laplace(scale=1)", with uniform weights; a weighting, "min_snr*p2(k=2)", with uniform draws;
                or both, "laplace+min_snr". `speediff.methods()` lists the names.
            seed: In [0, 2⁶⁴).
            **options: `prediction`, `rank`, `world_size`, `accumulation`, `strata`, `normalize`, `prefetch`.

        Raises:
            SpeeDiffError: If the text is invalid, or the method does not fit the schedule. The error quotes
                the text.
        """
        sampler: Self = MethodReader(cls, schedule, seed=seed, **options).sampler(text)
        return sampler

    @property
    def probabilities(self) -> Table:
        """P, float64, shape (T,): the distribution of a drawn entry (nominal for "official").

        It applies to the next batch. It changes during training for blends and methods that learn.
        """
        return self._open_handle().probabilities(self.step)

    @property
    def weights(self) -> Table:
        """w, float64, shape (T,): the weight of each step's loss in the next batch.

        With `normalize` its mean under `probabilities` is 1. Draws of the "official" preset are normalized
        under `marginal(n)` instead, so their weights differ from these by a factor near 1.
        """
        return self._open_handle().weights(self.step)

    def marginal(self, n: int) -> Table:
        """The exact distribution of a random entry of a call's batch of n, shape (T,).

        It differs from `probabilities` only for the "official" preset, whose duals shift it. n is the local
        batch: the size passed to one call of `sample`.
        """
        count = arguments.integer("n", n, least=1, end=MAXIMUM_TOTAL + 1)
        return self._open_handle().marginal(self.step, count)

    def expected_weight(self, n: int | None = None) -> float:
        """E[w] over a call's batch of n, before `normalize`; None: under `probabilities`."""
        count = 0 if n is None else arguments.integer("n", n, least=1, end=MAXIMUM_TOTAL + 1)
        return self._open_handle().expected_weight(self.step, count)

    def emphasis(self) -> tuple[Table, Table]:
        """The emphasis of the next batch: P·w for the ε loss, as a density over λ = ln S.

        E(λ_i) = P_i·w_eps,i/|dλ/di|, with the discrete gradient of λ and Σ E·|dλ/di| = 1. Two samplers with
        the same emphasis train the same objective and differ only in gradient variance. Without
        `prediction`, ε is assumed. For "official" it is the emphasis of the nominal P.

        Returns:
            λ, decreasing, and E. Both are float64 of shape (T,), or (T-1,) if the last step has S = 0.
        """
        count = int((self._process.alphas_cumprod > 0).sum())
        return self._open_handle().emphasis(self.step, count)

    @property
    def weighs(self) -> str:
        """Which loss the weight multiplies if the variance is learned, following the methods' authors.

        "mse" (SpeeD, P2, Min-SNR): only the mean squared error, not the variational term. "loss"
        (guided-diffusion's loss_second_moment, and any other method with the importance weight 1/(T·P)): both
        terms, because both are means over uniform draws.
        """
        methods = self.recipe.sampling, self.recipe.weighting
        return "loss" if any(method._any_part_corrects_for_draw() for method in methods) else "mse"

    def _create_native(self, seed: int) -> NativeSampler:
        return self.recipe.create(self._process, seed)

    def _draw_moved(
        self, native: NativeSampler, moves: Moves, place: Place, levels: Timesteps, weights: Weights
    ) -> None:
        moved_steps.check(self.recipe, native, moves)
        native.draw_slice(*place, levels, weights)
        levels[:] = moved_steps.nearest(self._process, levels, moves)
        table = np.minimum(native.weights(place[0]), np.finfo(np.float32).max)
        weights[:] = table[levels]

    def _validation(
        self, n: int, shape: Sequence[int], seed: int, sampling: str | Sampling | None
    ) -> tuple[Timesteps, Weights]:
        recipe = Recipe.of("uniform" if sampling is None else sampling, "uniform", validation_set.SPREAD)
        return validation_set.make(lambda seed: recipe.create(self._process, seed), n, shape, seed)

    def _fingerprint(self) -> dict[str, Any]:
        return saved_state.fingerprint(self._process)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.schedule!r}, {self.recipe.sampling!r}, {self.recipe.weighting!r}, "
            f"seed={self.seed}, step={self.step})"
        )
