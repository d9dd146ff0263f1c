"""The process increment of a schedule, and the three areas that it defines (SpeeD, Theorem 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._native import c_api as c
from ._support import arguments

if TYPE_CHECKING:
    from .schedules import NoiseSchedule, Table

DEFAULT_R = 143.5
"""The magnitude 1/ᾱ at which convergence begins. It gives the paper's τ = 700 on its linear schedule."""


@dataclass(frozen=True, repr=False, eq=False)
class ProcessIncrements:
    """The process increment δ_t = x_{t+1} - x_t, exact for any schedule (SpeeD, Theorem 1).

    It defines three areas: acceleration up to `acceleration_end`, deceleration up to `convergence_start(r)`,
    and convergence. Steps are 1-based, as in the paper. A boundary step belongs to the area before it, as in
    its Eq. 2.

    The paper's variance is that of independent draws of x_t and x_{t+1}. Along the Markov chain it would
    be β_{t+1} + (1-√α_{t+1})²(1-ᾱ_t), which never converges.
    """

    schedule: NoiseSchedule
    mean_factor: Table
    """φ_t/x₀ = (√α_{t+1}-1)·√ᾱ_t, shape (T-1,)."""
    variance: Table
    """Ψ_t = 2 - ᾱ_t(1+α_{t+1}), shape (T-1,)."""
    rate: Table
    """The discrete gradient (`numpy.gradient`) of 1-ᾱ, shape (T,)."""
    magnitude: Table
    """r_t = 1/ᾱ_t, shape (T,); inf where ᾱ is 0."""
    acceleration_end: int
    """t_ad, the step at which the rate is largest."""

    def convergence_start(self, r: float = DEFAULT_R) -> int:
        """t_dc(r), the first step t with 1/ᾱ_t > r.

        Args:
            r: The magnitude; finite, above 1, and below 1/ᾱ_T.

        Raises:
            SpeeDiffValueError: If r is out of range. If no step qualifies, the error gives 1/ᾱ_T.
        """
        value = arguments.real("r", r)
        return int(self.schedule._number(c.speediff_schedule_convergence_start, "int64", value))


@dataclass(frozen=True, repr=False, eq=False)
class ClosedFormIncrements:
    """The paper's closed forms for equally spaced β, with real-valued t in 1…T.

    Δ = β_T-β_1, β₀ = β_1-Δ/T (Section A.6.1) and r̂_t = exp((β₀+Δt/2T)·t). All tables have shape (T,).
    """

    schedule: NoiseSchedule
    mean_bound: Table
    """φ̂_t = β_max/r̂_t, the bound on ‖φ_t‖²/‖E x₀‖²."""
    variance: Table
    """Ψ̂_t = 2-2/r̂_t, a lower bound of Ψ_t."""
    rate: Table
    """∂Ψ̂_t = 2(β₀+Δt/T)/r̂_t."""
    magnitude: Table
    """r̂_t."""
    acceleration_end: float
    """t_ad = √(T/Δ)-Tβ₀/Δ."""

    def convergence_start(self, r: float = DEFAULT_R) -> float:
        """τ(r) = √(2T·ln r/Δ + T²β₀²/Δ²)-Tβ₀/Δ; may lie beyond T.

        Args:
            r: The magnitude; finite and above 1.
        """
        value = arguments.real("r", r)
        return self.schedule._number(c.speediff_schedule_closed_form_convergence_start, "float64", value)
