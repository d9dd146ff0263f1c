"""Samplings: which timesteps to draw. Each combines with any schedule and any weighting.

Densities in u = t/T, which grows with noise, give step i the mass of [i/T, (i+1)/T). For densities in
λ = ln S, the log of the signal-to-noise ratio, the bins' edges are midway between neighbouring steps. They
are truncated to the range from the first λ to the last finite one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from . import errors
from ._methods import tables
from ._methods.nested_samplings import Blend, Mixture, Shifted, Stages, Truncated
from ._methods.sampling_base import Sampling, native_sampling
from ._native import c_api as c
from .increments import DEFAULT_R

if TYPE_CHECKING:
    from ._native.handles import Handle

__all__ = [
    "CLTS",
    "Adaptive",
    "Asymmetric",
    "Beta",
    "Blend",
    "Cauchy",
    "CosMap",
    "InfoNoise",
    "Laplace",
    "LogNormal",
    "LogitNormal",
    "LossSecondMoment",
    "Mixture",
    "Mode",
    "NoiseToDetail",
    "Sampling",
    "Shifted",
    "Stages",
    "Table",
    "Truncated",
    "Uniform",
]


class Uniform(Sampling, formula="1/T", source="Ho et al. 2020"):
    """Every timestep with the same probability: P = 1/T (Ho et al. 2020)."""


class Asymmetric(
    Sampling, formula="k/(T+τ(k-1)) for t ≤ τ, 1/(T+τ(k-1)) beyond", source="SpeeD, CVPR 2025, Eq. 2"
):
    """SpeeD's Eq. 2: the first τ steps are drawn k times as often as the others.

    P_i = k/(T+τ(k-1)) for i < τ, and 1/(T+τ(k-1)) beyond. The paper uses k = 5 (Table 5b), and k = 2
    for DiT-S/8 with batch 16 (Table 12).

    Args:
        k: The suppression intensity, finite and at least 1.
        tau: τ itself, 0 < τ < T. None: τ follows from r.
        r: τ is the first step t with 1/ᾱ_t > r. 143.5 gives the paper's τ = 700 for its linear schedule of
            1000 steps. Cannot be combined with tau; if tau is given, r becomes None.
    """

    k: float = 5.0
    tau: int | None = None
    r: float | None = DEFAULT_R

    def __post_init__(self) -> None:
        """Chooses τ or r, and lets the library check the parameters."""
        if self.tau is None:
            self._set("r", DEFAULT_R if self.r is None else self.r)
        elif self.r is None or self.r is DEFAULT_R:
            # The default itself, and not a user's 143.5: only what was given excludes τ.
            self._set("r", None)
        else:
            raise errors.SpeeDiffValueError(
                f"tau must not be given together with r, got tau = {self.tau!r}, r = {self.r!r}"
            )
        super().__post_init__()

    def _create(self) -> Handle:
        if self.tau is not None:
            return native_sampling(c.speediff_sampling_create_asymmetric, self.k, self.tau)
        name, numbers, _ = self._arguments()
        numbers[1] = self.r
        return native_sampling(c.speediff_sampling_create, name, numbers, 2)


class LogNormal(Sampling, formula="ln σ ~ N(p_mean, p_std²)", source="EDM, Karras et al. 2022"):
    """EDM's training density: ln σ ~ N(p_mean, p_std²), σ = √((1-ᾱ)/ᾱ) on a schedule (Karras et al. 2022).

    Args:
        p_mean: The mean of ln σ; larger means more noise.
        p_std: Its standard deviation, above 0.
    """

    p_mean: float = -1.2
    p_std: float = 1.2


class LogitNormal(Sampling, formula="u = sigmoid(N(mean, std²))", source="SD3, Esser et al. 2024, Eq. 19"):
    """SD3's density: u = sigmoid(x), x ~ N(mean, std²); u grows with noise (Esser et al. 2024).

    Args:
        mean: Above 0 means more noise, as in the paper. In diffusers it means less.
        std: The standard deviation of the logit, above 0.
    """

    mean: float = 0.0
    std: float = 1.0


class Mode(
    Sampling, formula="u = 1-x-scale·(cos²(πx/2)-1+x), x ~ U(0, 1)", source="SD3, Esser et al. 2024, Eq. 20"
):
    """Stable Diffusion 3's mode sampling with heavy tails, u growing with noise (Esser et al. 2024).

    Args:
        scale: In [-1, 2/(π-2) = 1.7519]. Above 0 favours the middle, below 0 both ends.
    """

    scale: float = 1.29


class CosMap(Sampling, formula="p(u) = 2/(π(1-2u+2u²))", source="SD3, Esser et al. 2024, Eq. 21"):
    """SD3's CosMap: u = 1-1/(tan(πx/2)+1), x uniform; u grows with noise (Esser et al. 2024)."""

    name: ClassVar[str] = "cosmap"


class Beta(
    Sampling, formula="u ~ low + (high-low)·Beta(alpha, beta)", source="B-TTDM, Zheng et al., ECCV 2024"
):
    """B-TTDM's density, t = T·Beta(alpha, beta). The defaults, T·x^(1/0.8) with x uniform, favour less noise.

    π₀'s density, 0.001 + 0.999·Beta(1.5, 1) in openpi, is `Beta(1.5, 1, low=0.001)`: u grows with noise here
    and there. In its paper u falls.

    Args:
        alpha: In (0, 10⁴]; below 1 gives more draws near the data.
        beta: In (0, 10⁴]; below 1 gives more draws near pure noise.
        low: The least u, in [0, 1).
        high: The largest u, above low and at most 1.
    """

    alpha: float = 0.8
    beta: float = 1.0
    low: float = 0.0
    high: float = 1.0
    added_later: ClassVar[tuple[str, ...]] = ("low", "high")


class CLTS(Sampling, formula="(1-s)·U + s·N(mean, std²), s = step/end_step", source="CLTS, Xu et al. 2024"):
    """Curriculum learning for timesteps: from uniform to a Gaussian over t as training progresses.

    It is a `Blend` of uniform and the Gaussian, truncated to [0, T). Its table is rebuilt a thousand times.

    Args:
        mean: The mean of the Gaussian, in steps. None: 0.3·T, from SpeeD's copy.
        std: The standard deviation of the Gaussian, in steps, above 0. None: 0.2·T, SpeeDiff's own choice.
        end_step: The training step from which the Gaussian alone is drawn, in [1, 2⁵³].
    """

    mean: float | None = None
    std: float | None = None
    end_step: int = 50_000

    @property
    def follows_training(self) -> bool:
        """Yes."""
        return True


class NoiseToDetail(
    Sampling,
    formula="(1-s)·Laplace(-mean, scale) + s·Laplace(mean, scale), s = step/end_step",
    source="SpeeDiff's study",
):
    """A Laplace density in λ = ln S that moves from noise to detail as training progresses.

    It is a `Blend`, and the best candidate of docs/study.md, for a network that predicts x₀. Its table is
    rebuilt a thousand times.

    Args:
        mean: The λ of the peak at the end. At first it is -mean. Below 0, training goes from detail to noise.
        scale: The scale of both densities, above 0.
        end_step: The training step from which the second density alone is drawn, in [1, 2⁵³].
    """

    mean: float = 1.0
    scale: float = 1.0
    end_step: int = 50_000

    @property
    def follows_training(self) -> bool:
        """Yes."""
        return True


class Laplace(Sampling, formula="p(λ) = exp(-|λ-mean|/scale)/(2·scale)", source="Hang et al., ICCV 2025"):
    """A Laplace density in λ = ln S (Hang et al., ICCV 2025).

    Args:
        mean: The λ of its peak; above 0 means less noise.
        scale: Above 0. 0.5 is narrow: steps with |λ| > 5 are hardly ever drawn.
    """

    mean: float = 0.0
    scale: float = 0.5


class Cauchy(Sampling, formula="p(λ) = scale/(π((λ-mean)²+scale²))", source="Hang et al., ICCV 2025"):
    """A Cauchy density in λ = ln S (Hang et al., ICCV 2025).

    Args:
        mean: The λ of its peak; above 0 means less noise.
        scale: The half width at half maximum, above 0.
    """

    mean: float = 0.0
    scale: float = 1.0


class LossSecondMoment(
    Sampling,
    formula="∝ √mean(L²) of each step's last losses; w gets 1/(T·P)",
    source="Nichol and Dhariwal 2021",
):
    """Importance sampling by the losses' second moment, as in guided-diffusion. It learns: call `update`.

    P is uniform until every step that can be drawn has its full history. The weights are multiplied by the
    importance weight 1/(T·P), so the objective is unchanged.

    Args:
        history: How many recent losses of each step count, at least 1; history·T is at most 2²⁷.
        uniform_prob: The share of the uniform density, in [0, 1].
    """

    history: int = 10
    uniform_prob: float = 0.001
    corrects_for_draw: ClassVar[bool] = True


class Adaptive(
    Sampling,
    formula="∝ running mean of w·loss per bin of t; w gets 1/(T·P)",
    source="Kingma and Gao 2023",
):
    """P in proportion to the loss of each bin of t (Kingma and Gao 2023). It learns: call `update`.

    P is uniform until every bin that can be drawn has had a loss. A bin's mean counts as at least a
    thousandth of the average. The weights are multiplied by the importance weight 1/(T·P), so the objective
    is unchanged.

    Args:
        bins: The number of bins of equal width in t, from 1 to T.
        decay: The share of the old mean that each loss keeps, in [0, 1).
    """

    bins: int = 100
    decay: float = 0.999
    corrects_for_draw: ClassVar[bool] = True


class InfoNoise(
    Sampling,
    formula="∝ r/w, r: mean ε loss·σ^n/(σ^n+c^n) per ln σ; w: on x₀",
    source="InfoNoise, Raya et al. 2026",
):
    """P·w in proportion to the conditional entropy rate, estimated from losses (Raya et al. 2026). It learns.

    Call `update` with the unweighted losses of the sampler's target. Their running means per bin of t,
    converted to the ε loss, are the rate per ln σ. A gate σⁿ/(σⁿ+cⁿ) suppresses low noise. P is divided by
    the weight w on the x₀ loss, so that w does not act twice. P is uniform until every bin that can be drawn
    has had `warm_up` losses. Needs a `prediction`, and w above 0.

    For a continuous process, bins that it draws a hundred times less often than the average are not waited
    for. Then a bin without losses takes its nearest neighbour's mean.

    Args:
        bins: The number of bins of equal width in t, from 1 to T; of equal width in ln σ for a continuous
            process.
        decay: The share of the old mean that each loss keeps, in [0, 1).
        c: At least 0; 0 turns the gate off. None: the largest σ at which the rate per dσ, the mean ε loss
            over σ, is at least p times its largest value.
        n: The gate's exponent, above 0.
        p: In (0, 1).
        warm_up: At least 1.
    """

    bins: int = 100
    decay: float = 0.999
    c: float | None = None
    n: float = 3.0
    p: float = 0.002
    warm_up: int = 10


class Table(Sampling, formula="∝ a table, or a curve through knots", source="SpeeDiff"):
    """A density of your own: a number for each step, or a curve through knots.

    The curve consists of monotone cubic pieces, as SciPy's `PchipInterpolator`, and is 0 outside the knots.
    Each step gets its integral over the step's bin. It is normalized.

    Args:
        values: T numbers; or (u, value) pairs, at least two, whose u rises within [0, 1]; or a dict of them.
            Values are finite and at least 0, and one is above 0. The default is a flat curve.
        over: "u", or "log_snr" for knots in λ = ln S, which also suit EDM.
    """

    values: tables.Values = tables.FLAT
    over: str = "u"

    @classmethod
    def from_file(cls, path: str, over: str = "u") -> Table:
        """Reads the values from a text file: a number per line, or a knot and its value per line.

        Numbers are separated by blanks, a comma or a semicolon; `#` begins a comment.
        """
        return cls(tables.read(path), over)

    def __post_init__(self) -> None:
        """Checks and copies the values."""
        self._set("values", tables.checked(self.values, self.over))
        super().__post_init__()

    def __repr__(self) -> str:
        return tables.represent(self)

    def _create(self) -> Handle:
        return native_sampling(c.speediff_sampling_create_table, *tables.native(self.values, self.over))
