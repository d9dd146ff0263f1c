"""Classifies a diffusers scheduler's config entries by whether they change the trained process."""

from __future__ import annotations

import inspect
from typing import Any

from ..errors import SpeeDiffValueError

_EMPTY = inspect.Parameter.empty

READ = frozenset(
    {
        # Reflected in `alphas_cumprod`.
        "beta_end",
        "beta_schedule",
        "beta_start",
        "num_train_timesteps",
        "rescale_betas_zero_snr",
        "snr_shift_scale",
        "trained_betas",
        # Reflected in `sigmas`. With dynamic shifting the sigmas are unshifted until `set_timesteps`, and
        # scripts train on these.
        "shift",
        "use_dynamic_shifting",
        # The target.
        "prediction_type",
    }
)
"""Entries already reflected in the tables and the target."""

HARMLESS = frozenset(
    {
        # The generation grid: `set_timesteps` reads them, training does not.
        "base_image_seq_len",
        "base_shift",
        "final_sigmas_type",
        "flow_shift",
        "interpolation_type",
        "max_image_seq_len",
        "max_shift",
        "original_inference_steps",
        "rho",
        "scale_factors",
        "shift_terminal",
        "sigma_max",
        "sigma_min",
        "sigma_schedule",
        "steps_offset",
        "time_shift_type",
        "timestep_spacing",
        "upscale_mode",
        "use_beta_sigmas",
        "use_exponential_sigmas",
        "use_karras_sigmas",
        "use_lu_lambdas",
        # The solver.
        "algorithm_type",
        "corrector_order",
        "disable_corrector",
        "eta",
        "euler_at_final",
        "lambda_min_clipped",
        "lower_order_final",
        "noise_sampler_seed",
        "predict_x0",
        "predictor_order",
        "scheduler_type",
        "set_alpha_to_one",
        "skip_prk_steps",
        "solver_order",
        "solver_p",
        "solver_type",
        "stochastic_sampling",
        "tau_func",
        "timestep_scaling",
        "variance_type",
        # Stages; several are rejected below.
        "gamma",
        "stage_range",
        # Clipping of the prediction.
        "clip_sample",
        "clip_sample_range",
        "dynamic_thresholding_ratio",
        "sample_max_value",
        "thresholding",
    }
)
"""Entries that affect only generation."""

REFUSED: dict[str, tuple[object, str]] = {
    "use_flow_sigmas": (
        False,
        "it generates by flow matching, but has no flow-matching table to train on; pass the scheduler that "
        "adds the noise in training, such as FlowMatchEulerDiscreteScheduler(shift={flow_shift})",
    ),
    "timestep_type": (
        "discrete",
        "its timesteps are ln(sigma)/4 of continuous noise levels; draw those with SigmaSampler.edm()",
    ),
    "invert_sigmas": (
        False,
        "its timesteps run from noise to data; pass a copy without it, "
        "FlowMatchEulerDiscreteScheduler.from_config(scheduler.config, invert_sigmas=False), and give the "
        "network 1 - sigma",
    ),
    "stages": (
        1,
        "each stage is a separate process; create a sampler for each, from its own NoiseSchedule",
    ),
}
"""The only supported value, and advice for others."""


def check(scheduler: Any) -> None:
    """Rejects a scheduler whose config changes the process in a way that its tables do not show.

    A scheduler without a config has no flags. Entries that its class does not accept are ignored, as the
    class ignores them: `from_config` carries them along from another class's config.

    Raises:
        SpeeDiffValueError: If a flag has an unsupported value, or is unknown and not at its default.
    """
    config = getattr(scheduler, "config", None)
    kind = type(scheduler).__name__
    for name, default in _parameters(type(scheduler)).items() if config is not None else ():
        value = getattr(config, name, default)
        if name in REFUSED:
            allowed, advice = REFUSED[name]
            if not _same(value, allowed):
                advice = advice.format(flow_shift=getattr(config, "flow_shift", 1.0))
                raise SpeeDiffValueError(f"{kind}'s {name} must be {allowed!r}, got {value!r}: {advice}")
        elif name not in READ | HARMLESS and not _same(value, default):
            raise SpeeDiffValueError(_unknown(kind, name, value, default))


def _unknown(kind: str, name: str, value: object, default: object) -> str:
    """The error message for a flag of a newer diffusers."""
    if default is _EMPTY:
        rule, copy = "be known to SpeeDiff", "a scheduler without it"
    else:
        rule = f"have its default {default!r}"
        copy = f"{kind}.from_config(scheduler.config, {name}={default!r})"
    return (
        f"{kind}'s {name} must {rule}, got {value!r}: SpeeDiff does not know whether it changes the "
        f"training. If it does not, pass {copy}"
    )


def _parameters(kind: type) -> dict[str, object]:
    """The constructor parameters of a scheduler's class and its bases, with defaults."""
    found: dict[str, object] = {}
    for base in reversed(kind.__mro__):
        if "__init__" in vars(base) and base is not object:
            parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
            found |= {
                p.name: p.default for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
            }
    return found


def _same(value: object, expected: object) -> bool:
    """Equality of config entries; JSON turns tuples into lists."""
    if isinstance(value, (tuple, list)) and isinstance(expected, (tuple, list)):
        return list(value) == list(expected)
    try:
        return bool(value == expected)
    except (TypeError, ValueError, RuntimeError):  # arrays
        return False
