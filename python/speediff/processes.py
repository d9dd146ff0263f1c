"""Continuous processes, x = s(t)·x₀ + s(t)·σ(t)·ε, with their authors' sampling and weighting.

σ is the noise-to-signal ratio: S = 1/σ² and λ = ln S = -2·ln σ. Source: Karras et al., "Elucidating the
Design Space of Diffusion-Based Generative Models", 2022, Table 1. (Table 8 of the SpeeD paper gives d(σ²)/dt
instead of dσ/dt for VE and EDM.)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ._native import buffers
from ._native import c_processes as c
from ._native.handles import Handle
from ._support import arguments

if TYPE_CHECKING:
    from ._native.native_sampler import Table


class Process:
    """A continuous process. Subclasses are frozen dataclasses of floats."""

    name: ClassVar[str]
    _constructor: ClassVar[Any]

    def __post_init__(self) -> None:
        """Converts the parameters to float and lets the library check them."""
        for field in fields(self):  # type: ignore[arg-type]
            object.__setattr__(self, field.name, arguments.real(field.name, getattr(self, field.name)))
        self._create()

    def sigma(self, t: Table) -> Table:
        """σ at times t of this process; t is float64 (n,), above 0 (and below 1 for rectified flow)."""
        return self._evaluate(c.PROCESS_SIGMA, t)

    def sigma_derivative(self, t: Table) -> Table:
        """dσ/dt at times t, float64 (n,)."""
        return self._evaluate(c.PROCESS_SIGMA_DERIVATIVE, t)

    def scale(self, t: Table) -> Table:
        """The scale s at times t, float64 (n,)."""
        return self._evaluate(c.PROCESS_SCALE, t)

    def describe(self) -> dict[str, Any]:
        """The name and the parameters, as plain values."""
        return {"name": self.name, **asdict(self)}  # type: ignore[call-overload]

    def _create(self) -> Handle:
        parameters = [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]
        return Handle(c.process_p, self._constructor, c.speediff_process_destroy, *parameters)

    def _evaluate(self, quantity: int, t: Table) -> Table:
        times = buffers.table_input("t", t)
        out = np.empty(len(times), np.float64)
        pointers = buffers.input_pointer(times), buffers.output_pointer(out)
        process = self._create()
        c.speediff_process_evaluate(process.pointer, quantity, *pointers, len(times))
        return out


@dataclass(frozen=True)
class VP(Process):
    """Variance preserving: σ² = e^{½·beta_d·t²+beta_min·t}-1, s = 1/√(1+σ²); t uniform in [epsilon_t, 1].

    The weight is 1/σ² on the x₀ loss.

    Args:
        beta_d: Above 0.
        beta_min: Above 0.
        epsilon_t: In (0, 1).
        sigma_data: The standard deviation of the data, above 0.
    """

    beta_d: float = 19.9
    beta_min: float = 0.1
    epsilon_t: float = 1e-5
    sigma_data: float = 0.5
    name: ClassVar[str] = "vp"
    _constructor: ClassVar[Any] = staticmethod(c.speediff_process_create_vp)


@dataclass(frozen=True)
class VE(Process):
    """Variance exploding: σ² = t, s = 1; ln σ uniform. The weight is 1/σ² on the x₀ loss.

    Args:
        sigma_min: Above 0.
        sigma_max: Above sigma_min.
        sigma_data: The standard deviation of the data, above 0.
    """

    sigma_min: float = 0.02
    sigma_max: float = 100.0
    sigma_data: float = 0.5
    name: ClassVar[str] = "ve"
    _constructor: ClassVar[Any] = staticmethod(c.speediff_process_create_ve)


@dataclass(frozen=True)
class EDM(Process):
    """EDM: σ = t, s = 1; ln σ ~ N(p_mean, p_std²). The weight is (σ²+σ_d²)/(σ·σ_d)² on the x₀ loss.

    Args:
        p_mean: The mean of ln σ.
        p_std: Its standard deviation, above 0.
        sigma_data: The standard deviation σ_d of the data, above 0.
    """

    p_mean: float = -1.2
    p_std: float = 1.2
    sigma_data: float = 0.5
    name: ClassVar[str] = "edm"
    _constructor: ClassVar[Any] = staticmethod(c.speediff_process_create_edm)


@dataclass(frozen=True)
class Flow(Process):
    """Rectified flow: s = 1-t, σ = t/(1-t); t uniform in [0, 1], where 1 is noise; weight 1 on the flow loss.

    Args:
        sigma_data: The standard deviation of the data, above 0.
    """

    sigma_data: float = 1.0
    name: ClassVar[str] = "flow"
    _constructor: ClassVar[Any] = staticmethod(c.speediff_process_create_flow)
