"""Samplings: which timesteps to draw. Each combines with any schedule and any weighting.

Densities in u = t/T, which grows with noise, give step i the mass of [i/T, (i+1)/T). For densities in
λ = ln S, the log of the signal-to-noise ratio, the bins' edges are midway between neighbouring steps. They
are truncated to the range from the first λ to the last finite one.
"""

from __future__ import annotations

from typing import Any, ClassVar

from . import errors
from ._methods.method import Method, resolve
from ._native import c_api as c
from ._native.handles import Handle
from ._support import arguments as checks
from .increments import DEFAULT_R


class Sampling(Method):
    """A probability for each timestep of the schedule that it is combined with."""

    by_name: ClassVar[dict[str, type[Sampling]]] = {}
    """Every sampling, by its name."""

    def __init_subclass__(cls, **description: str) -> None:
        super().__init_subclass__(**description)
        cls.by_name[cls.name] = cls

    @property
    def follows_training(self) -> bool:
        """Whether P depends on the training step, as for a blend and whatever contains one."""
        return any(isinstance(value, Sampling) and value.follows_training for value in vars(self).values())

    def _create(self) -> Handle:
        return _handle(c.speediff_sampling_create, *self._arguments())


def _handle(create: Any, *arguments: Any) -> Handle:
    return Handle(c.sampling_p, create, c.speediff_sampling_destroy, *arguments)


def _resolve(argument: str, sampling: str | Sampling) -> Sampling:
    return resolve(argument, sampling, Sampling.by_name, Sampling)


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
            return _handle(c.speediff_sampling_create_asymmetric, self.k, self.tau)
        name, numbers, _ = self._arguments()
        numbers[1] = self.r
        return _handle(c.speediff_sampling_create, name, numbers, 2)


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


class Beta(Sampling, formula="u ~ Beta(alpha, beta)", source="B-TTDM, Zheng et al., ECCV 2024"):
    """B-TTDM's density, t = T·Beta(alpha, beta). The defaults, T·x^(1/0.8) with x uniform, favour less noise.

    Args:
        alpha: In (0, 10⁴]; below 1 gives more draws near the data.
        beta: In (0, 10⁴]; below 1 gives more draws near pure noise.
    """

    alpha: float = 0.8
    beta: float = 1.0


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


class Shifted(Sampling, formula="base at λ' = λ-2·ln(shift)", source="SD3, Esser et al. 2024, Section 5.3.2"):
    """A sampling shifted towards more noise: σ' = shift·σ/(1+(shift-1)σ), σ = 1/(1+√S) (Esser et al. 2024).

    A base in λ is shifted exactly. Any other base is treated as constant within each step's bin of λ. Mass
    that leaves the schedule's range is dropped.

    Args:
        base: A sampling or its name.
        shift: Above 0. SD3 uses 3 at 1024²; Flux uses e^μ, μ from 0.5 (256 tokens) to 1.15 (4096).
    """

    base: str | Sampling = "uniform"
    shift: float = 3.0

    def __post_init__(self) -> None:
        """Resolves the name."""
        self._set("base", _resolve("base", self.base))
        super().__post_init__()

    def _create(self) -> Handle:
        base = _resolve("base", self.base)._create()
        return _handle(c.speediff_sampling_create_shifted, base.pointer, self.shift)


class Truncated(
    Sampling, formula="base within [start, end), renormalized", source="diffusers' timestep bias"
):
    """A sampling restricted to the steps [start, end). Use it in a `Mixture` to favour a range.

    Args:
        base: A sampling or its name.
        start: The first step, 0-based, at least 0.
        end: One past the last step, above start. None: T.
    """

    base: str | Sampling = "uniform"
    start: int = 0
    end: int | None = None

    def __post_init__(self) -> None:
        """Resolves the name."""
        self._set("base", _resolve("base", self.base))
        super().__post_init__()

    def _create(self) -> Handle:
        base = _resolve("base", self.base)._create()
        end = checks.LAST if self.end is None else self.end
        return _handle(c.speediff_sampling_create_truncated, base.pointer, self.start, end)


class Mixture(Sampling, formula="share·a + (1-share)·b", source="SpeeDiff"):
    """A mixture of two samplings: share·a + (1-share)·b.

    Args:
        a: A sampling or its name.
        b: Another sampling or its name.
        share: The share of a, in [0, 1].
    """

    a: str | Sampling = "uniform"
    b: str | Sampling = "laplace"
    share: float = 0.5

    def __post_init__(self) -> None:
        """Resolves the names."""
        self._set("a", _resolve("a", self.a))
        self._set("b", _resolve("b", self.b))
        super().__post_init__()

    def _create(self) -> Handle:
        a, b = _resolve("a", self.a)._create(), _resolve("b", self.b)._create()
        return _handle(c.speediff_sampling_create_mixture, a.pointer, b.pointer, self.share)


class Blend(Sampling, formula="(1-s)·first + s·second, s from start_step to end_step", source="SpeeDiff"):
    """Interpolates from one sampling to another, linearly in training progress, in thousandths.

    `probabilities` are those of the next batch. Progress is measured by the sampler's count of optimizer
    steps.

    Args:
        first: The sampling up to start_step, or its name.
        second: The sampling from end_step on, or its name.
        start_step: At least 0.
        end_step: Above start_step, at most 2⁵³.
    """

    first: str | Sampling = "laplace"
    second: str | Sampling = "uniform"
    start_step: int = 0
    end_step: int = 50_000

    @property
    def follows_training(self) -> bool:
        """Yes."""
        return True

    def __post_init__(self) -> None:
        """Resolves the names."""
        self._set("first", _resolve("first", self.first))
        self._set("second", _resolve("second", self.second))
        super().__post_init__()

    def _create(self) -> Handle:
        first, second = _resolve("first", self.first)._create(), _resolve("second", self.second)._create()
        steps = (self.start_step, self.end_step)
        return _handle(c.speediff_sampling_create_blend, first.pointer, second.pointer, *steps)
