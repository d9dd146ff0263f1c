"""The common base of the noise-level samplers for NumPy and PyTorch; only the array types differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from .. import processes
from .._methods.method import resolve
from .._native import buffers
from .._native import c_processes as c
from .._native.native_sampler import NativeSigmaSampler
from .._support import arguments
from ..errors import SpeeDiffTypeError
from ..sampling import Sampling, Shifted
from ..sampling import Uniform as UniformSampling
from ..weighting import Weighting
from . import fdm as fdm_rules
from . import validation_set
from .drawing import DrawingBase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self, Unpack

    from .._native.native_sampler import Table, Weights
    from ..processes import Process
    from .moves import Moves, Place
    from .recipe import Drawing, Options

Piece = TypeVar("Piece")


@dataclass(frozen=True)
class SigmaRecipe:
    """A process, a sampling and a weighting, with names resolved. None means the process's own."""

    process: Process
    sampling: Sampling | None
    weighting: Weighting | None
    warm_up: int | None
    drawing: Drawing

    def describe(self) -> dict[str, Any]:
        """The methods and the options."""
        return {
            "sampling": self.sampling and self.sampling.describe(),
            "weighting": self.weighting and self.weighting.describe(),
            "warm_up": self.warm_up,
            **self.drawing.describe(),
        }

    def create(self, seed: int) -> NativeSigmaSampler:
        """Creates the native sampler."""
        # Keep the handles alive until the native sampler has copied what they hold.
        parts = [method._create() if method else None for method in (self.sampling, self.weighting)]
        pointers = [part and part.pointer for part in parts]
        process = self.process._create()
        options = self.drawing.native(seed)
        return NativeSigmaSampler(process.pointer, *pointers, options, self.warm_up or 0)


class SigmaSamplerBase(DrawingBase[NativeSigmaSampler, Piece], Generic[Piece]):
    """A continuous process, a sampling and a weighting, ready to draw."""

    recipe: SigmaRecipe

    def __init__(
        self,
        process: Process,
        sampling: str | Sampling | None = None,
        weighting: str | Weighting | None = None,
        *,
        seed: int = 0,
        warm_up: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        """Combines a process, a sampling and a weighting; class methods exist for the usual processes.

        Args:
            process: One of `speediff.processes`.
            sampling: Which noise levels to draw. A density in λ (log_normal, laplace, cauchy) is truncated to
                the process's range. A density in u (uniform, logit_normal, mode, cosmap, beta) needs a
                process with a variable in [0, 1]: t for VP and flow, ln σ for VE. mixture and blend combine
                these, and so do stages; truncated takes levels; shifted works for EDM and flow.
                `Asymmetric(k, r=r)` is SpeeDiff's own extension of SpeeD: the process's own density, with
                σ > σ_data·√(r-1) suppressed by k. `Adaptive` and `InfoNoise` learn: call `update`. None: the
                process's own density.
            weighting: The weight of each noise level: any function of the SNR, sigmoid (not for EDM),
                uniform, a table of knots, `ToEmphasis(of)`, `Uncertainty`, which learns, or a product.
                `ChangeAware(lam)` is SpeeDiff's own extension: abs(dᾱ/dv) rescaled to [1-lam, lam], where
                ᾱ = 1/(1+σ²/σ_data²) and v is t for VP and flow, ln σ for EDM and VE. None: the process's own
                weight.
            seed: In [0, 2⁶⁴); the same on every rank.
            warm_up: FDM's warm-up: weights are at most 5·100^(step/warm_up) before training step warm_up.
                Cannot be combined with normalize or with a method that learns.
            **options: `rank`, `world_size`, `accumulation`, `strata`, `normalize`, `prefetch` as for
                `TimestepSampler`. `prediction` is the target whose loss the weights apply to. None means
                "sample" for VP, VE and EDM, and "flow" for rectified flow.

        Raises:
            SpeeDiffValueError: If a value is out of range, or contradicts another one.
            SpeeDiffTypeError: If a value has the wrong type.
        """
        if not isinstance(process, processes.Process):
            raise SpeeDiffTypeError(f"process must be one of speediff.processes, got {process!r}")
        self.process = process
        """The process."""
        self.recipe = SigmaRecipe(
            process,
            None if sampling is None else resolve("sampling", sampling, Sampling.by_name, Sampling),
            None if weighting is None else resolve("weighting", weighting, Weighting.by_name, Weighting),
            None if warm_up is None else arguments.integer("warm_up", warm_up, least=1),
            self._drawing_of(options),
        )
        self._prepare(seed, options)

    @classmethod
    def edm(
        cls,
        seed: int = 0,
        *,
        p_mean: float = -1.2,
        p_std: float = 1.2,
        sigma_data: float = 0.5,
        sampling: str | Sampling | None = None,
        weighting: str | Weighting | None = None,
        **options: Unpack[Options],
    ) -> Self:
        """EDM's training density: ln σ ~ N(p_mean, p_std²), weight (σ²+σ_d²)/(σ·σ_d)² (Karras et al. 2022).

        Args:
            seed: In [0, 2⁶⁴).
            p_mean: The mean of ln σ.
            p_std: Its standard deviation, above 0.
            sigma_data: The standard deviation σ_d of the data, above 0.
            sampling: Replaces the process's sampling.
            weighting: Replaces the process's weighting.
            **options: As for `SigmaSampler`.
        """
        return cls(processes.EDM(p_mean, p_std, sigma_data), sampling, weighting, seed=seed, **options)

    @classmethod
    def vp(
        cls,
        seed: int = 0,
        *,
        beta_d: float = 19.9,
        beta_min: float = 0.1,
        epsilon_t: float = 1e-5,
        sigma_data: float = 0.5,
        sampling: str | Sampling | None = None,
        weighting: str | Weighting | None = None,
        **options: Unpack[Options],
    ) -> Self:
        """The variance-preserving process: t uniform in [epsilon_t, 1], weight 1/σ².

        Args:
            seed: In [0, 2⁶⁴).
            beta_d: Above 0.
            beta_min: Above 0.
            epsilon_t: In (0, 1).
            sigma_data: The standard deviation of the data, above 0.
            sampling: Replaces the process's sampling.
            weighting: Replaces the process's weighting.
            **options: As for `SigmaSampler`.
        """
        process = processes.VP(beta_d, beta_min, epsilon_t, sigma_data)
        return cls(process, sampling, weighting, seed=seed, **options)

    @classmethod
    def ve(
        cls,
        seed: int = 0,
        *,
        sigma_min: float = 0.02,
        sigma_max: float = 100.0,
        sigma_data: float = 0.5,
        sampling: str | Sampling | None = None,
        weighting: str | Weighting | None = None,
        **options: Unpack[Options],
    ) -> Self:
        """The variance-exploding process: ln σ uniform, weight 1/σ².

        Args:
            seed: In [0, 2⁶⁴).
            sigma_min: Above 0.
            sigma_max: Above sigma_min.
            sigma_data: The standard deviation of the data, above 0.
            sampling: Replaces the process's sampling.
            weighting: Replaces the process's weighting.
            **options: As for `SigmaSampler`.
        """
        process = processes.VE(sigma_min, sigma_max, sigma_data)
        return cls(process, sampling, weighting, seed=seed, **options)

    @classmethod
    def flow(
        cls,
        seed: int = 0,
        *,
        sampling: str | Sampling | None = None,
        shift: float = 1.0,
        sigma_data: float = 1.0,
        weighting: str | Weighting | None = None,
        **options: Unpack[Options],
    ) -> Self:
        """Rectified flow: t uniform in [0, 1], where 1 is noise; weight 1 on the flow loss.

        Args:
            seed: In [0, 2⁶⁴).
            sampling: Replaces the process's sampling, such as "logit_normal".
            shift: t' = shift·t/(1+(shift-1)·t), above 0; 3 in Stable Diffusion 3 at 1024².
            sigma_data: The standard deviation of the data, above 0.
            weighting: Replaces the process's weighting.
            **options: As for `SigmaSampler`.
        """
        if shift != 1.0:
            sampling = Shifted(UniformSampling() if sampling is None else sampling, shift)
        return cls(processes.Flow(sigma_data), sampling, weighting, seed=seed, **options)

    @classmethod
    def fdm(
        cls,
        seed: int = 0,
        *,
        process: str | Process = "edm",
        warm_up: int | None = None,
        sampling: str | Sampling | None = None,
        weighting: str | Weighting | None = None,
        **options: Unpack[Options],
    ) -> Self:
        """The Fast Diffusion Model over another process (Wu et al. 2023).

        Uses the process's sampling and weight. FDM adds a warm-up of the weights here, and the factor
        `fdm_input_scale` on the network's input.

        Args:
            seed: In [0, 2⁶⁴).
            process: "edm", "vp", "ve", or one of `speediff.processes`.
            warm_up: Weights are at most 5·100^(step/warm_up) before that training step. None: no bound. Not
                with a method that learns.
            sampling: Replaces the process's sampling.
            weighting: Replaces the process's weighting.
            **options: As for `SigmaSampler`.
        """
        return cls(
            fdm_rules.process_named(process), sampling, weighting, seed=seed, warm_up=warm_up, **options
        )

    def fdm_input_scale(self, sigma: Table, multiplier: float | None = None) -> Table:
        """FDM's c_in = e^{-mb}(1+mb), with b = 0.1t + 9.95t² and t = (σ-σ_min)/(σ_max-σ_min).

        σ_min and σ_max are 0.002 and 80 for EDM, and the end points of the process for VP and VE.

        Args:
            sigma: Noise levels, float64 (n,), at least 0.
            multiplier: m, above 0. None: 2, and 1 for VE, whose released code ignores m.

        Returns:
            The factors, float64 (n,).

        Raises:
            SpeeDiffValueError: For rectified flow, which FDM does not support.
        """
        low, high = fdm_rules.sigma_range(self.process)
        if multiplier is None:
            multiplier = fdm_rules.default_multiplier(self.process)
        levels = buffers.table_input("sigma", sigma)
        out = np.empty(len(levels), np.float64)
        pointers = buffers.input_pointer(levels), buffers.output_pointer(out)
        factor = arguments.real("multiplier", multiplier)
        c.speediff_fdm_input_scale(low, high, factor, *pointers, len(levels))
        return out

    def emphasis(self) -> tuple[Table, Table]:
        """The emphasis of the next batch: p(λ)·w_eps(λ), as a density over λ = ln S = -2·ln σ.

        Returns:
            λ and E, float64 (1024,). λ is equally spaced and decreasing within [-60, 60], and covers all but
            2·10⁻⁹ of the draws. Σ E·|Δλ| = 1.
        """
        return self._open_handle().emphasis(self.step, c.SIGMA_EMPHASIS_COUNT)

    def _create_native(self, seed: int) -> NativeSigmaSampler:
        return self.recipe.create(seed)

    def _draw_moved(
        self, native: NativeSigmaSampler, moves: Moves, place: Place, levels: Weights, weights: Weights
    ) -> None:
        native.draw_shifted(*place, *moves, levels, weights)

    def _validation(
        self, n: int, shape: Sequence[int], seed: int, sampling: str | Sampling | None
    ) -> tuple[Weights, Weights]:
        if sampling is None and not isinstance(self.process, processes.EDM):
            sampling = UniformSampling()
        method = None
        if sampling is not None:
            method = resolve("sampling", sampling, Sampling.by_name, Sampling)
        recipe = SigmaRecipe(self.process, method, None, None, validation_set.SPREAD)
        return validation_set.make(recipe.create, n, shape, seed)

    def _fingerprint(self) -> dict[str, Any]:
        return self.process.describe()

    def __repr__(self) -> str:
        recipe = self.recipe
        return (
            f"{type(self).__name__}({recipe.process!r}, {recipe.sampling!r}, {recipe.weighting!r}, "
            f"seed={self.seed}, step={self.step})"
        )
