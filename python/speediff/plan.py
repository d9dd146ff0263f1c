"""How a schedule and a method act on training: the three areas, P, w and emphasis, as plain data.

from speediff.plan import make_plan

schedule = speediff.NoiseSchedule.linear(1000)
plan = make_plan(schedule, {"speed": speediff.TimestepSampler.speed(schedule)})
plan.methods[0].areas[2].drawn          # the convergence area's share of the draws

This module only computes. `speediff.plots` draws a plan, and `speediff plan` prints and draws it.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._plans.areas import Area, ClosedForm, Process, emphasis_of, make_process
from ._support import arguments
from .errors import SpeeDiffValueError
from .increments import DEFAULT_R
from .sampling import Asymmetric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .sampler import TimestepSampler
    from .schedules import NoiseSchedule

    Table = np.ndarray[Any, np.dtype[np.float64]]

__all__ = ["Area", "AreaShare", "ClosedForm", "MethodPlan", "Plan", "Process", "make_plan"]

MAX_BATCH = 1 << 31
_LONGEST_TABLE = 8


@dataclass(frozen=True)
class AreaShare:
    """How a method treats one area. Values are None where the area has no draws."""

    name: str
    nominal: float
    """The share of draws under `probabilities`."""
    drawn: float
    """The share of draws under `marginal`."""
    drawn_ratio: float | None
    """`drawn` divided by the area's share of the steps."""
    mean_weight: float | None
    """The mean of w over the area's draws."""
    objective: float
    """The area's share of E[w], the sum of P·w."""
    objective_ratio: float | None
    """`objective` divided by the area's share of the steps, which is its share in uniform training."""
    emphasis: float | None
    """The area's share of the objective, expressed on the ε loss. None where the method has no emphasis."""


@dataclass(frozen=True, eq=False)
class MethodPlan:
    """P and w of one method, and its share of each area."""

    name: str
    recipe: dict[str, Any]
    """The sampling and the weighting with their parameters, and the options."""
    tau: int | None
    """The last step that is not suppressed; None if the sampling has no such step."""
    batch: int
    """n, the entries of one call of `sample`: the batch of one rank and one micro-batch."""
    probabilities: Table
    """P, shape (T,); nominal for the official preset."""
    marginal: Table
    """The exact distribution of an entry of a call's batch of n, shape (T,)."""
    weights: Table
    """w, shape (T,), as drawn with n entries a call."""
    normalized: bool
    """Whether `weights` are divided by `expected_weight`."""
    expected_weight: float
    """E[w] under `marginal`, before normalizing."""
    nominal_expected_weight: float
    """E[w] under `probabilities`, before normalizing."""
    acting_k: float | None
    """How many times as often `marginal` draws a step up to τ as one beyond it, on average."""
    areas: tuple[AreaShare, ...]
    prediction: str
    """The target whose loss the weights apply to; "epsilon" if the sampler has none."""
    log_snr: Table
    """λ = ln S of the steps with S > 0, in decreasing order."""
    emphasis: Table | None
    """P·w for the ε loss as a density over `log_snr`; Σ emphasis·abs(dλ/di) = 1.

    It is `sampler.emphasis()`, but under `marginal` instead of the nominal P for the official preset. None if
    fewer than two steps have S > 0, or none of them has weight.
    """
    log_snr_quartiles: tuple[float, float, float] | None
    """The λ below which a quarter, a half and three quarters of the emphasis lie; larger is less noise."""
    step: int
    """The training step at which P and w are evaluated."""
    changes: bool
    """Whether P depends on the training step."""
    learns: bool
    """Whether P or w learn from losses. The tables show what the sampler has learned so far."""

    @property
    def summary(self) -> str:
        """Sampling and weighting as calls, with the parameters' Python names."""
        sampling, weighting = _call(self.recipe["sampling"]), _call(self.recipe["weighting"])
        if self.recipe["official"]:
            sampling, weighting = f"{sampling} in pairs", f"{weighting} up to tau"
        return f"{sampling}, {weighting}"

    @property
    def has_marginal(self) -> bool:
        """Whether `marginal` differs from the nominal P."""
        return not np.array_equal(self.marginal, self.probabilities)


@dataclass(frozen=True, eq=False)
class Plan:
    """A schedule and the methods that are compared on it."""

    process: Process
    methods: tuple[MethodPlan, ...]

    def to_dict(self) -> dict[str, Any]:
        """The plan as dicts, lists, strings and finite numbers, for JSON; inf becomes None."""
        plain: dict[str, Any] = _plain(self)
        return plain


def make_plan(
    schedule: NoiseSchedule,
    samplers: Mapping[str, TimestepSampler],
    *,
    label: str | None = None,
    r: float | None = None,
    tau: int | None = None,
    batch: int = 256,
) -> Plan:
    """Computes the plan of several samplers over one schedule.

    Args:
        schedule: The noise schedule.
        samplers: Samplers over that schedule, by name.
        label: A name for the schedule; None: its repr.
        r: The magnitude beyond which the process counts as converged; None: 143.5. The areas belong to the
            schedule; a sampler may suppress other steps.
        tau: The last step before the convergence area, instead of r.
        batch: n, the batch of one rank and one micro-batch, in [1, 2³¹]. It matters only to the official
            preset, which makes its pairs within it.

    Raises:
        SpeeDiffValueError: If a value is out of range, or a sampler is over another schedule.
    """
    batch = arguments.integer("batch", batch)
    if not 1 <= batch <= MAX_BATCH:
        raise SpeeDiffValueError(f"batch must be in [1, {MAX_BATCH}], got {batch}")
    process = make_process(schedule, label or repr(schedule), r, tau)
    for name, sampler in samplers.items():
        if sampler.schedule is not schedule:
            raise SpeeDiffValueError(f"samplers[{name!r}] must be over {schedule!r}, got {sampler!r}")
    methods = (_method(name, sampler, process, batch) for name, sampler in samplers.items())
    return Plan(process, tuple(methods))


def _method(name: str, sampler: TimestepSampler, process: Process, batch: int) -> MethodPlan:
    probabilities, marginal, weights = sampler.probabilities, sampler.marginal(batch), sampler.weights
    expected, nominal = sampler.expected_weight(batch), sampler.expected_weight()
    normalized = sampler.recipe.drawing.normalize
    if normalized:
        # The sampler's table is normalized under P, and its draws under the marginal.
        weights = weights * (nominal / expected)
        weights.flags.writeable = False
    tau = _tau(sampler)
    log_snr = sampler.schedule.log_snr
    log_snr = log_snr[log_snr > -np.inf]
    emphasis = _emphasis(sampler, log_snr, probabilities, marginal)
    masses = None if emphasis is None else emphasis * -np.gradient(log_snr)
    return MethodPlan(
        name=name,
        recipe=sampler.recipe.describe(),
        tau=tau,
        batch=batch,
        probabilities=probabilities,
        marginal=marginal,
        weights=weights,
        normalized=normalized,
        expected_weight=expected,
        nominal_expected_weight=nominal,
        acting_k=None if tau is None else float(marginal[:tau].mean() / marginal[tau:].mean()),
        areas=tuple(_share(area, probabilities, marginal, weights, masses) for area in process.areas),
        prediction=sampler.recipe.drawing.prediction or "epsilon",
        log_snr=log_snr,
        emphasis=emphasis,
        log_snr_quartiles=None if masses is None else _quartiles(log_snr, masses),
        step=sampler.step,
        changes=sampler.recipe.sampling.follows_training,
        learns=sampler.learns,
    )


def _emphasis(
    sampler: TimestepSampler, log_snr: Table, probabilities: Table, marginal: Table
) -> Table | None:
    """The emphasis under `marginal`, which differs from the sampler's own if draws come in pairs."""
    emphasis = emphasis_of(sampler)
    if emphasis is None or np.array_equal(marginal, probabilities):
        return emphasis
    emphasis = emphasis * (marginal / probabilities)[: len(emphasis)]
    emphasis /= float((emphasis * -np.gradient(log_snr)).sum())
    emphasis.flags.writeable = False
    return emphasis


def _quartiles(log_snr: Table, masses: Table) -> tuple[float, float, float]:
    """The λ at which the emphasis, summed from the smallest λ up, reaches 1/4, 1/2 and 3/4."""
    masses = masses[::-1]
    reached = np.cumsum(masses)
    first, second, third = np.interp([0.25, 0.5, 0.75], reached - masses / 2, log_snr[::-1])
    return float(first), float(second), float(third)


def _tau(sampler: TimestepSampler) -> int | None:
    sampling = sampler.recipe.sampling
    if not isinstance(sampling, Asymmetric):
        return None
    if sampling.tau is not None:
        return sampling.tau
    return sampler.schedule.process_increments().convergence_start(sampling.r or DEFAULT_R)


def _share(
    area: Area, probabilities: Table, marginal: Table, weights: Table, masses: Table | None
) -> AreaShare:
    drawn = float(marginal[area.entries].sum())
    product = marginal * weights
    weighted = float(product[area.entries].sum())
    objective = weighted / float(product.sum())
    return AreaShare(
        name=area.name,
        nominal=float(probabilities[area.entries].sum()),
        drawn=drawn,
        drawn_ratio=drawn / area.share if area.steps else None,
        mean_weight=weighted / drawn if drawn else None,
        objective=objective,
        objective_ratio=objective / area.share if area.steps else None,
        emphasis=None if masses is None else float(masses[area.entries].sum()),
    )


def _call(description: dict[str, Any]) -> str:
    parameters = {key: value for key, value in description.items() if key != "name" and value is not None}
    if description["name"] == "product":
        return f"{_call(parameters['a'])}*{_call(parameters['b'])}"
    listed = ", ".join(_parameter(key, value) for key, value in parameters.items())
    return f"{description['name']}({listed})" if listed else str(description["name"])


def _parameter(key: str, value: Any) -> str:
    """A parameter as a method's text has it, without most of a long table."""
    if not isinstance(value, list):
        return f"{key}={_value(value)}"
    if len(value) > _LONGEST_TABLE:
        return f"{key}=<{len(value)} values>"
    if all(isinstance(item, list) for item in value):
        return ", ".join(f"{_value(a)}:{_value(b)}" for a, b in value)
    return f"{key}=({', '.join(map(_value, value))})"


def _value(value: Any) -> str:
    """A parameter: a number, a method, or a sampler."""
    if isinstance(value, dict):
        method = value.get("method", value)
        if "name" in method:
            return _call(method)
        return "+".join(_call(method[key]) for key in ("sampling", "weighting") if method[key])
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """Dataclasses as dicts, arrays and tuples as lists, and None for what JSON has no number for."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
