"""Weightings: how much the loss of each timestep counts. Each combines with any schedule and sampling.

A weighting that depends on the signal-to-noise ratio S has a form for each prediction target. Where the form
for the x₀ loss is given, divide it by S for ε, by S+1 for v, and by (1+√S)² for flow. All four train the same
objective.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ._methods import tables
from ._methods.method import Method
from ._native import buffers
from ._native import c_api as c
from ._native.handles import Closable, Handle
from .errors import SpeeDiffTypeError

if TYPE_CHECKING:
    from ._samplers.drawing import DrawingBase


class Weighting(Method):
    """A factor for the loss of each timestep of the schedule that it is combined with.

    The factor multiplies the mean squared error alone, not the variational term of a model with
    learned variance. `a * b` is the product of two weightings. `a / b` divides out a `b` that the pipeline's
    loss already applies.
    """

    by_name: ClassVar[dict[str, type[Weighting]]] = {}
    """Every weighting that has a name."""

    def __init_subclass__(cls, **description: str) -> None:
        super().__init_subclass__(**description)
        cls.by_name[cls.name] = cls

    def __mul__(self, other: object) -> Product:
        return Product(self, other) if isinstance(other, Weighting) else NotImplemented

    def __truediv__(self, other: object) -> Product:
        return Product(self, Reciprocal(other)) if isinstance(other, Weighting) else NotImplemented

    def _create(self) -> Handle:
        return _handle(c.speediff_weighting_create, *self._arguments())


def _handle(create: Any, *arguments: Any) -> Handle:
    return Handle(c.weighting_p, create, c.speediff_weighting_destroy, *arguments)


class Uniform(Weighting, formula="1", source="Ho et al. 2020"):
    """w = 1, for any target."""


class ChangeAware(
    Weighting, formula="gradient of 1-ᾱ, rescaled to [1-λ, λ]", source="SpeeD, CVPR 2025, Section 2.4"
):
    """SpeeD's Section 2.4: the rate of the process, rescaled to [1-λ, λ] over all T steps.

    w = (1-λ) + (2λ-1)·(g-g_min)/(g_max-g_min), where g is the gradient of 1-ᾱ; T ≥ 3. It is the same for
    every prediction target. The paper's clamps would never act, so none is applied.

    Args:
        lam: λ in [0.5, 1].
    """

    lam: float = 0.6


class P2(Weighting, formula="ε: 1/(k+S)^gamma", source="Choi et al., CVPR 2022"):
    """P2: 1/(k+S)^gamma on the ε loss (Choi et al., CVPR 2022).

    Args:
        k: Above 0.
        gamma: Above 0.
    """

    k: float = 1.0
    gamma: float = 1.0


class MinSNR(Weighting, formula="x₀: min(S, gamma)", source="Hang et al., ICCV 2023"):
    """Min-SNR: min(S, gamma) on the x₀ loss, min(S, gamma)/S on the ε loss (Hang et al., ICCV 2023).

    Args:
        gamma: Above 0.
    """

    gamma: float = 5.0


class SoftMinSNR(Weighting, formula="x₀: gamma·S/(S+gamma)", source="Crowson et al., ICML 2024"):
    """A smooth Min-SNR: gamma·S/(S+gamma) on the x₀ loss (Crowson et al., ICML 2024).

    Args:
        gamma: Above 0. k-diffusion uses σ_data⁻².
    """

    gamma: float = 5.0


class Debiased(Weighting, formula="x₀: √S", source="Yu et al. 2023"):
    """√S on the x₀ loss, 1/√S on the ε loss, which is infinite at S = 0 (Yu et al. 2023)."""


class SNR(Weighting, formula="x₀: S", source="Ho et al. 2020"):
    """S on the x₀ loss, which is 1 on the ε loss."""


class InverseSNR(Weighting, formula="x₀: 1/S", source="code of Hang et al., ICCV 2023"):
    """1/S on the x₀ loss, which has no value at S = 0."""


class MaxSNR(Weighting, formula="x₀: max(S, gamma)", source="code of Hang et al., ICCV 2023"):
    """max(S, gamma) on the x₀ loss.

    Args:
        gamma: Above 0.
    """

    gamma: float = 5.0


class TruncatedSNR(Weighting, formula="x₀: max(S, 1)", source="Salimans and Ho, ICLR 2022"):
    """max(S, 1) on the x₀ loss (Salimans and Ho, ICLR 2022)."""


class Sigmoid(
    Weighting, formula="ε: sigmoid(bias-λ)·|dλ/du|", source="Kingma and Gao 2023; SiD2, Hoogeboom et al. 2024"
):
    """sigmoid(bias-λ)·|dλ/du| on the ε loss, λ = ln S, u = t/T (Kingma and Gao 2023; SiD2).

    dλ/du is the discrete gradient times T. A schedule with S = 0 is an error.

    Args:
        bias: Larger values give more weight to low noise.
    """

    bias: float = 2.0


class EDM(Weighting, formula="x₀: S + 1/sigma_data²", source="EDM, Karras et al. 2022"):
    """EDM's (σ²+σ_data²)/(σ·σ_data)² on the x₀ loss, with S = 1/σ² (Karras et al. 2022).

    Args:
        sigma_data: The standard deviation of the data, above 0.
    """

    sigma_data: float = 0.5


class SigmaSqrt(Weighting, formula="flow: σ⁻², σ = 1/(1+√S)", source="diffusers"):
    """diffusers' `sigma_sqrt`: σ⁻² on the flow loss, σ = 1/(1+√S)."""


class CosMap(Weighting, formula="flow: 2/(π(1-2σ+2σ²))", source="SD3, Esser et al. 2024, Eq. 21"):
    """Stable Diffusion 3's CosMap: 2/(π(1-2σ+2σ²)) on the flow loss, σ = 1/(1+√S) (Esser et al. 2024)."""

    name: ClassVar[str] = "cosmap"


class BSMNTW(Weighting, formula="flow: exp(-2(σ-0.5)²) less its minimum, mean 1", source="ai-toolkit"):
    """A bell over σ = 1/(1+√S) on the flow loss: ai-toolkit's "bell-shaped mean-normalized" weighting.

    exp(-2(σ-½)²) less its least value, scaled to mean 1 over σ = i/1000, i = 0 … 999. ai-toolkit's i counts
    from the noisiest step; NeMo Automodel's and DiffSynth's is 1000σ, as here. The bell is symmetric, so only
    one step of 1000 differs. It is 0 at σ = 1.
    """


class LinearSigma(Weighting, formula="flow: 1+shift·σ, σ = 1/(1+√S)", source="NeMo Automodel"):
    """NeMo Automodel's 1 + shift·σ on the flow loss, σ = 1/(1+√S).

    Args:
        shift: At least 0. There it is also the shift of the draws: add `sampling.Shifted(…, shift)`.
    """

    shift: float = 3.0


class Table(Weighting, formula="a table, or a curve through knots", source="SpeeDiff"):
    """A weight of your own, for any target: a number for each step, or a curve through knots.

    The curve consists of monotone cubic pieces, as SciPy's `PchipInterpolator`. Step i has its value at
    u = (i+½)/T, or at its λ. Unlike P, w is taken as it is.

    Args:
        values: T numbers; or (u, value) pairs, whose u rises from 0 to 1; or a dict of them. Values are
            finite and at least 0, and one is above 0. The default is a flat curve.
        over: "u", or "log_snr" for knots in λ = ln S, beyond which the curve is constant.
    """

    values: tables.Values = tables.FLAT
    over: str = "u"

    @classmethod
    def from_file(cls, path: str, over: str = "u") -> Table:
        """Reads the values from a text file, as `sampling.Table.from_file` does."""
        return cls(tables.read(path), over)

    def __post_init__(self) -> None:
        """Checks and copies the values."""
        self._set("values", tables.checked(self.values, self.over))
        super().__post_init__()

    def __repr__(self) -> str:
        return tables.represent(self)

    def _create(self) -> Handle:
        return _handle(c.speediff_weighting_create_table, *tables.native(self.values, self.over))


class Importance(Weighting, formula="1/(T·P)", source="importance sampling"):
    """The importance weight 1/(T·P), for any target: the objective is that of uniform draws, whatever P is.

    SpeeD omits it on purpose. A sampling that learns already has it, and does not get it twice.
    """

    corrects_for_draw: ClassVar[bool] = True


class Uncertainty(
    Weighting,
    formula="1/(running mean of w·mse per bin of t)",
    source="EDM2, Karras et al., CVPR 2024",
):
    """EDM2's uncertainty weighting, with u* = ln E[w·mse] instead of a network. It learns: call `update`.

    w is the product of the other factors, as in `EDM(0.5) * Uncertainty()`. The weight is 1 until every bin
    that can be drawn has had a loss. A bin's mean counts as at least a millionth of the average.

    Args:
        bins: The number of bins of equal width in t, from 1 to T.
        decay: The share of the old mean that each loss keeps, in [0, 1).
    """

    bins: int = 100
    decay: float = 0.999


class ToEmphasis(Weighting, formula="ε: E(λ)·|dλ/di|/P", source="SpeeDiff"):
    """Weights with which any sampling trains the objective of another sampler.

    E is `of.emphasis()` at the moment when this weighting is made; E[w_eps] is 1. It is an error if P never
    draws a step where E is positive.

    Args:
        of: A `TimestepSampler` or `SigmaSampler`, on this schedule or another. None: uniform sampling with
            the plain ε loss on the sampler's own schedule.
    """

    of: DrawingBase[Any, Any] | None = None

    def __post_init__(self) -> None:
        """Takes the emphasis."""
        if self.of is None:
            self._set("_emphasis", None)
        elif not (isinstance(self.of, Closable) and hasattr(self.of, "emphasis")):
            raise SpeeDiffTypeError(f"of must be a sampler or None, got {self.of!r}")
        else:
            self._set("_emphasis", self.of.emphasis())
        super().__post_init__()

    def describe(self) -> dict[str, Any]:
        """The other sampler's method and schedule."""
        return {"name": self.name, "of": None if self.of is None else self.of._identity()}

    def _create(self) -> Handle:
        if self._emphasis is None:  # type: ignore[attr-defined]
            return _handle(c.speediff_weighting_create_to_emphasis, None, None, 0)
        log_snr, density = self._emphasis  # type: ignore[attr-defined]
        return _handle(
            c.speediff_weighting_create_to_emphasis,
            buffers.input_pointer(log_snr),
            buffers.input_pointer(density),
            len(density),
        )


class Product(Weighting, formula="a·b", source="SpeeDiff"):
    """The product `a * b` of two weightings, each in the form of the sampler's target.

    Args:
        a: A weighting.
        b: Another weighting.
    """

    a: Weighting
    b: Weighting

    def __post_init__(self) -> None:
        """Checks the types."""
        for name, value in (("a", self.a), ("b", self.b)):
            if not isinstance(value, Weighting):
                raise SpeeDiffTypeError(f"{name} must be a weighting, got {value!r}")
        super().__post_init__()

    def _create(self) -> Handle:
        a, b = self.a._create(), self.b._create()
        return _handle(c.speediff_weighting_create_product, a.pointer, b.pointer)


class Reciprocal(Weighting, formula="1/w", source="SpeeDiff"):
    """1/w of another weighting, in the form of the sampler's target; `a / b` is `a * Reciprocal(b)`.

    Use it in a pipeline whose loss is already weighted. MDT's loss applies Min-SNR, so with
    `ChangeAware() / MinSNR()` only `ChangeAware()` remains.

    Args:
        of: A weighting that depends on neither P nor losses, and is nowhere 0 on the sampler's schedule.
    """

    of: Weighting

    def __post_init__(self) -> None:
        """Checks the type."""
        if not isinstance(self.of, Weighting):
            raise SpeeDiffTypeError(f"of must be a weighting, got {self.of!r}")
        super().__post_init__()

    def _create(self) -> Handle:
        of = self.of._create()
        return _handle(c.speediff_weighting_create_reciprocal, of.pointer)


for _combination in (Product, Reciprocal):  # They have no defaults, so no name can stand for them.
    del Weighting.by_name[_combination.name]
