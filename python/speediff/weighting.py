"""Weightings: how much the loss of each time step counts. Each goes with any schedule and sampling.

A weighting that depends on the signal-to-noise ratio S has a form for each prediction target. Where that for
the loss of x₀ is given, the form for ε is divided by S, that for v by S+1, and that for flow by (1+√S)²: the
same objective.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from . import _buffers
from . import _c_api as c
from ._handles import Closable, Handle
from ._methods import Method
from .errors import SpeeDiffTypeError

if TYPE_CHECKING:
    from ._drawing import DrawingBase


class Weighting(Method):
    """A factor for the loss of each time step of whatever schedule it is combined with.

    The factor multiplies the mean squared error alone, not the variational term of a model with
    learned variance. `a * b` is the product of two, and `a / b` takes back a `b` that the pipeline's loss
    has already.
    """

    by_name: ClassVar[dict[str, type[Weighting]]] = {}
    """Every weighting that a name stands for."""

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

    w = (1-λ) + (2λ-1)·(g-g_min)/(g_max-g_min) with g the gradient of 1-ᾱ; T ≥ 3. The same for every
    prediction target. The paper's clamps would be inactive, and none is applied.

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
        gamma: Above 0. k-diffusion's own is σ_data⁻².
    """

    gamma: float = 5.0


class Debiased(Weighting, formula="x₀: √S", source="Yu et al. 2023"):
    """√S on the x₀ loss, 1/√S on the ε loss, which has no value at S = 0 (Yu et al. 2023)."""


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

    dλ/du is the discrete gradient times T; a schedule with S = 0 has none.

    Args:
        bias: Larger gives more weight to less noise.
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


class Importance(Weighting, formula="1/(T·P)", source="importance sampling"):
    """1/(T·P), for any target: whatever is drawn, the objective is that of uniform draws.

    SpeeD leaves it out on purpose. A sampling that learns has it already, and does not get it twice.
    """

    corrects_for_draw: ClassVar[bool] = True


class Uncertainty(
    Weighting,
    formula="1/(running mean of w·mse per bin of t)",
    source="EDM2, Karras et al., CVPR 2024",
):
    """EDM2's weighting by uncertainty with u* = ln E[w·mse] instead of a network. Learns: see `update`.

    w are the other factors of a product: `EDM(0.5) * Uncertainty()`. 1 until every bin that can be drawn
    has had a loss; a bin's mean counts as at least a millionth of the average.

    Args:
        bins: Of equal width in t, from 1 to T.
        decay: How much of the old mean is kept at each entry, in [0, 1).
    """

    bins: int = 100
    decay: float = 0.999


class ToEmphasis(Weighting, formula="ε: E(λ)·|dλ/di|/P", source="SpeeDiff"):
    """Weights with which any sampling trains the objective of another sampler.

    E is `of.emphasis()` as it is when this weighting is made; E[w_eps] is 1. A step that E needs and P
    never draws is an error.

    Args:
        of: A `TimestepSampler` or `SigmaSampler`, on this schedule or another. None: uniform draws with
            uniform ε weights on the sampler's own schedule.
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
            _buffers.input_pointer(log_snr),
            _buffers.input_pointer(density),
            len(density),
        )


class Product(Weighting, formula="a·b", source="SpeeDiff"):
    """Two weightings at once, each in the form of the sampler's target; `a * b` makes it.

    Args:
        a: A weighting.
        b: Another one.
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

    For a pipeline whose loss is weighted already: with MDT's, which has Min-SNR built in, `ChangeAware() /
    MinSNR()` leaves `ChangeAware()` alone.

    Args:
        of: A weighting that follows neither P nor losses, and is nowhere 0 on the sampler's schedule.
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


for _combination in (Product, Reciprocal):  # They have no defaults for a name to stand for.
    del Weighting.by_name[_combination.name]
