"""Noise schedules: β, ᾱ, the tables derived from them, and the three areas of the process."""

from __future__ import annotations

import ctypes
import functools
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ._native import buffers, respacings
from ._native import c_api as c
from ._native.handles import Closable, Handle
from ._support import arguments as checks
from .errors import SpeeDiffValueError
from .increments import ClosedFormIncrements, ProcessIncrements

if TYPE_CHECKING:
    import numpy as np
    from typing_extensions import Self

    from ._native.respacings import Steps

    Table = np.ndarray[Any, np.dtype[np.float64]]


def _table(code: int, documentation: str) -> functools.cached_property[Table]:
    """A property that reads one of a schedule's tables and caches it."""

    def read(schedule: NoiseSchedule) -> Table:
        return schedule._read_table(code, schedule.steps)

    read.__doc__ = documentation
    return functools.cached_property(read)


def _describe(name: str, steps: int, beta_start: float, beta_end: float) -> str:
    return f"{name}({steps}, beta_start={beta_start}, beta_end={beta_end})"


class NoiseSchedule(Closable[Handle]):
    """How a variance-preserving process adds noise: x_t = √ᾱ_t·x₀ + √(1-ᾱ_t)·ε over T steps.

    Use a class method to make one. Tables are read-only float64 arrays of shape (T,), 0-based: entry i
    belongs to the paper's timestep t = i + 1. β is in (0, 1], and 1 only at the last step. ᾱ starts
    below 1, decreases strictly, and is 0 only at the last step (zero terminal SNR). 2 ≤ T ≤ 2²⁴.

    Source: Ho et al., "Denoising Diffusion Probabilistic Models", 2020.
    """

    def __init__(self, handle: Handle, description: str) -> None:
        """Takes a native schedule; use the class methods instead."""
        super().__init__(handle)
        self._description = description
        steps = ctypes.c_int64()
        c.speediff_schedule_steps(handle.pointer, steps)
        self.steps = steps.value
        """T, the number of steps."""

    @classmethod
    def _create(cls, create: Any, description: str, *arguments: Any) -> Self:
        return cls(Handle(c.schedule_p, create, c.speediff_schedule_destroy, *arguments), description)

    @classmethod
    def linear(cls, steps: int, *, beta_start: float = 1e-4, beta_end: float = 0.02) -> Self:
        """β = linspace(beta_start, beta_end)·(1000/T), as in guided-diffusion and DiT.

        The factor 1000/T keeps the whole process the same for any T. `diffusers` does not have it: for
        its schedules with T ≠ 1000 use `from_betas`. Source: Ho et al. 2020.

        Args:
            steps: T; above 1000·beta_end (20 by default), so that β stays below 1.
            beta_start: The first β for T = 1000, in (0, 1].
            beta_end: The last β for T = 1000, in (0, 1].
        """
        return cls._create(
            c.speediff_schedule_create_linear,
            _describe("linear", steps, beta_start, beta_end),
            checks.integer("steps", steps),
            checks.real("beta_start", beta_start),
            checks.real("beta_end", beta_end),
        )

    @classmethod
    def quadratic(cls, steps: int, *, beta_start: float = 1e-4, beta_end: float = 0.02) -> Self:
        """β = linspace(√beta_start, √beta_end)², not rescaled by T: official SpeeD's `quad`.

        Args:
            steps: T.
            beta_start: The first β, in (0, 1].
            beta_end: The last β, in (0, 1].
        """
        return cls._create(
            c.speediff_schedule_create_quadratic,
            _describe("quadratic", steps, beta_start, beta_end),
            checks.integer("steps", steps),
            checks.real("beta_start", beta_start),
            checks.real("beta_end", beta_end),
        )

    @classmethod
    def scaled_linear(cls, steps: int, *, beta_start: float = 0.00085, beta_end: float = 0.012) -> Self:
        """Stable Diffusion's schedule (Rombach et al. 2022): `quadratic` with its own end points."""
        schedule = cls.quadratic(steps, beta_start=beta_start, beta_end=beta_end)
        schedule._description = _describe("scaled_linear", steps, beta_start, beta_end)
        return schedule

    @classmethod
    def cosine(cls, steps: int) -> Self:
        """ᾱ(u) = cos²((u+0.008)/1.008·π/2), β capped at 0.999 (Nichol and Dhariwal 2021)."""
        return cls._create(
            c.speediff_schedule_create_cosine,
            f"cosine({steps})",
            checks.integer("steps", steps),
        )

    @classmethod
    def constant(cls, steps: int, *, beta: float = 0.02) -> Self:
        """The same β, in (0, 1), at every step (DiT's `const`)."""
        return cls._create(
            c.speediff_schedule_create_constant,
            f"constant({steps}, beta={beta})",
            checks.integer("steps", steps),
            checks.real("beta", beta),
        )

    @classmethod
    def sigmoid(cls, steps: int, *, beta_start: float = 1e-4, beta_end: float = 0.02) -> Self:
        """An S-shaped rise: β = beta_start+(beta_end-beta_start)·σ(x), x = linspace(-6, 6), as in diffusers.

        σ is the logistic function. Not rescaled by T.

        Args:
            steps: T.
            beta_start: The value that the curve starts near, in (0, 1].
            beta_end: The value that it ends near, in (0, 1].
        """
        return cls._create(
            c.speediff_schedule_create_sigmoid,
            _describe("sigmoid", steps, beta_start, beta_end),
            checks.integer("steps", steps),
            checks.real("beta_start", beta_start),
            checks.real("beta_end", beta_end),
        )

    @classmethod
    def warmup(
        cls, steps: int, fraction: float = 0.1, *, beta_start: float = 1e-4, beta_end: float = 0.02
    ) -> Self:
        """β = linspace(beta_start, beta_end) over the first ⌊T·fraction⌋ steps, then beta_end.

        guided-diffusion's and DiT's `warmup10` and `warmup50`, for 0.1 and 0.5. Not rescaled by T.

        Args:
            steps: T.
            fraction: The share of steps over which β rises, in (0, 1].
            beta_start: The first β, in (0, 1].
            beta_end: The last β, in (0, 1).
        """
        return cls._create(
            c.speediff_schedule_create_warmup,
            f"warmup({steps}, {fraction}, beta_start={beta_start}, beta_end={beta_end})",
            checks.integer("steps", steps),
            checks.real("fraction", fraction),
            checks.real("beta_start", beta_start),
            checks.real("beta_end", beta_end),
        )

    @classmethod
    def jsd(cls, steps: int) -> Self:
        """β_i = 1/(T-i), which leaves no signal at the last step (Sohl-Dickstein et al. 2015)."""
        steps = checks.integer("steps", steps)
        return cls._create(c.speediff_schedule_create_jsd, f"jsd({steps})", steps)

    @classmethod
    def from_betas(cls, betas: Table | list[float] | tuple[float, ...]) -> Self:
        """A schedule from any table of β.

        Args:
            betas: Shape (T,); a contiguous float64 array, or a list of numbers. For a `diffusers`
                scheduler pass `scheduler.betas.double().numpy()`.
        """
        table = buffers.table_input("betas", betas)
        return cls._create(
            c.speediff_schedule_create_from_betas,
            f"from_betas({len(table)} values)",
            buffers.input_pointer(table),
            len(table),
        )

    @classmethod
    def from_alphas_cumprod(cls, alphas_cumprod: Table | list[float] | tuple[float, ...]) -> Self:
        """A schedule from any table of ᾱ, which is kept exactly as given.

        Args:
            alphas_cumprod: Shape (T,); a contiguous float64 array, or a list of numbers.
        """
        table = buffers.table_input("alphas_cumprod", alphas_cumprod)
        return cls._create(
            c.speediff_schedule_create_from_alphas_cumprod,
            f"from_alphas_cumprod({len(table)} values)",
            buffers.input_pointer(table),
            len(table),
        )

    def zero_terminal_snr(self) -> NoiseSchedule:
        """This schedule shifted and scaled so that its last step has no signal left.

        √ᾱ falls from the same first value to 0. At the last step ε prediction learns nothing: predict v.
        Source: Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2024, Algorithm 1.
        """
        handle = self._open_handle()
        return NoiseSchedule._create(
            c.speediff_schedule_create_zero_terminal_snr,
            f"{self._description}.zero_terminal_snr()",
            handle.pointer,
        )

    def respacing(self, spec: str | int | list[int] | tuple[int, ...]) -> Steps:
        """A subset of the steps for generation: guided-diffusion's `space_timesteps`.

        Args:
            spec: "250" or 250: that many steps, evenly spaced. "10,20,30" or a list: one number per section,
                all sections being of equal length. "ddim50": 0, s, 2s, … with the smallest integer stride s
                that gives 50 steps.

        Returns:
            The steps, int64, 0-based and increasing.

        Raises:
            SpeeDiffValueError: If a section has fewer steps than requested, or no stride fits.
        """
        return respacings.parse(spec).timesteps(self.steps)

    def respaced(self, spec: str | int | list[int] | tuple[int, ...]) -> NoiseSchedule:
        """The schedule restricted to the steps of `respacing`: ᾱ at these steps, at least two."""
        timesteps = self.respacing(spec)
        handle = self._open_handle()
        return NoiseSchedule._create(
            c.speediff_schedule_create_respaced,
            f"{self._description}.respaced({spec!r})",
            handle.pointer,
            buffers.input_pointer(timesteps),
            len(timesteps),
        )

    betas = _table(c.TABLE_BETAS, "β, the variance that each step adds.")
    alphas = _table(c.TABLE_ALPHAS, "α = 1-β.")
    alphas_cumprod = _table(c.TABLE_ALPHAS_CUMPROD, "ᾱ, the product of α up to each step.")
    sqrt_alphas_cumprod = _table(c.TABLE_SQRT_ALPHAS_CUMPROD, "√ᾱ, the factor of x₀ in x_t.")
    sqrt_one_minus_alphas_cumprod = _table(
        c.TABLE_SQRT_ONE_MINUS_ALPHAS_CUMPROD, "√(1-ᾱ), the factor of ε in x_t."
    )
    snr = _table(c.TABLE_SNR, "The signal-to-noise ratio S = ᾱ/(1-ᾱ); 0 where ᾱ is 0.")
    log_snr = _table(c.TABLE_LOG_SNR, "λ = ln S; -inf where ᾱ is 0.")
    sigmas = _table(c.TABLE_SIGMAS, "σ = √((1-ᾱ)/ᾱ) (Karras et al. 2022); inf where ᾱ is 0.")

    def process_increments(self) -> ProcessIncrements:
        """The exact statistics of the increment x_{t+1} - x_t, and the areas that follow from them."""
        steps = self.steps
        return ProcessIncrements(
            schedule=self,
            mean_factor=self._read_table(c.TABLE_INCREMENT_MEAN_FACTOR, steps - 1),
            variance=self._read_table(c.TABLE_INCREMENT_VARIANCE, steps - 1),
            rate=self._read_table(c.TABLE_INCREMENT_RATE, steps),
            magnitude=self._read_table(c.TABLE_INCREMENT_MAGNITUDE, steps),
            acceleration_end=int(self._number(c.speediff_schedule_acceleration_end, "int64")),
        )

    def closed_form_increments(self) -> ClosedFormIncrements:
        """The paper's closed forms (Theorem 1), which exist only for equally spaced β.

        Raises:
            SpeeDiffValueError: If the β do not increase in equal steps.
        """
        steps = self.steps
        return ClosedFormIncrements(
            schedule=self,
            mean_bound=self._read_table(c.TABLE_CLOSED_FORM_MEAN_BOUND, steps),
            variance=self._read_table(c.TABLE_CLOSED_FORM_VARIANCE, steps),
            rate=self._read_table(c.TABLE_CLOSED_FORM_RATE, steps),
            magnitude=self._read_table(c.TABLE_CLOSED_FORM_MAGNITUDE, steps),
            acceleration_end=self._number(c.speediff_schedule_closed_form_acceleration_end, "float64"),
        )

    def __copy__(self) -> Self:
        # Nothing changes a native schedule: copies share it, and each has a `close()` of its own.
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def __getstate__(self) -> dict[str, Any]:
        """What makes a schedule with the same tables, bit by bit; a closed one makes a closed one."""
        kept = {"_description": self._description, "steps": self.steps}
        return {**kept, "table": None if self._handle is None else self._exact_table()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        table = state.pop("table")
        vars(self).update(state, _owned=table and getattr(NoiseSchedule, table[0])(table[1])._handle)

    def _exact_table(self) -> tuple[str, Table]:
        """The table from which the others come back bit by bit: the one that this was made from."""
        with suppress(SpeeDiffValueError):
            if (NoiseSchedule.from_betas(self.betas).alphas_cumprod == self.alphas_cumprod).all():
                return "from_betas", self.betas
        return "from_alphas_cumprod", self.alphas_cumprod

    def __len__(self) -> int:
        return self.steps

    def __repr__(self) -> str:
        return f"NoiseSchedule.{self._description}"

    def _read_table(self, code: int, count: int) -> Table:
        handle = self._open_handle()
        return buffers.read_table(
            lambda out, n: c.speediff_schedule_table(handle.pointer, code, out, n), count
        )

    def _number(self, function: Any, dtype: str, *arguments: float) -> float:
        out = ctypes.c_int64() if dtype == "int64" else ctypes.c_double()
        handle = self._open_handle()
        function(handle.pointer, *arguments, out)
        return out.value
