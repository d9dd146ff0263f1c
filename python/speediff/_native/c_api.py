"""The C interface: `include/speediff.h`, declaration by declaration, in the header's order.

`c_processes.py` and `c_training.py` continue it.

Each declaration attaches argument types, result type and error check, so that no call can forget
them. A test compares this file with the header and the library's symbols.
"""

from __future__ import annotations

import ctypes
import re
from ctypes import (
    POINTER,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_uint32,
    c_uint64,
)
from typing import Any

from .. import errors
from .library import library, path

# ---- Declarations --------------------------------------------------------------------------------


def _raise_on_failure(status: int, function: Any, _arguments: Any) -> None:
    """Turns a `speediff_status` into an exception with the thread's error message."""
    if status == OK:
        return
    message = speediff_last_error().decode()
    for name, name_in_python in _NAMES_IN_PYTHON.get(function.__name__, {}).items():
        message = re.sub(rf"\b{name}\b", name_in_python, message)
    raise _EXCEPTIONS.get(status, errors.SpeeDiffInternalError)(message)


def plain(name: str, result: Any, *arguments: Any) -> Any:
    """Declares a function that cannot fail."""
    try:
        function = getattr(library, name)
    except AttributeError:
        raise errors.SpeeDiffLibraryError(
            f"{path} lacks {name}: it belongs to another release. Rebuild it with `make build`."
        ) from None
    function.restype = result
    function.argtypes = arguments
    return function


def fallible(name: str, *arguments: Any) -> Any:
    """Declares a function that returns a `speediff_status`."""
    function = plain(name, c_int, *arguments)
    function.errcheck = _raise_on_failure
    return function


# ---- Version -------------------------------------------------------------------------------------

speediff_abi_version = plain("speediff_abi_version", c_uint32)
speediff_version = plain("speediff_version", c_char_p)

# ---- Errors --------------------------------------------------------------------------------------

OK = 0
ERROR_NULL_POINTER = 1
ERROR_INVALID_ARGUMENT = 2
ERROR_WRONG_COUNT = 3
ERROR_INTERNAL = 4
ERROR_OUT_OF_MEMORY = 5
ERROR_FILE = 6
ERROR_NOT_FINITE = 7
ERROR_BUSY = 8
ERROR_CANCELLED = 9
ERROR_THREADS = 10

_EXCEPTIONS: dict[int, type[errors.SpeeDiffError]] = {
    ERROR_NULL_POINTER: errors.SpeeDiffValueError,
    ERROR_INVALID_ARGUMENT: errors.SpeeDiffValueError,
    ERROR_WRONG_COUNT: errors.SpeeDiffValueError,
    ERROR_OUT_OF_MEMORY: errors.SpeeDiffMemoryError,
    ERROR_FILE: errors.SpeeDiffFileError,
    ERROR_NOT_FINITE: errors.SpeeDiffNonFiniteError,
    ERROR_BUSY: errors.SpeeDiffBusyError,
    ERROR_CANCELLED: errors.SpeeDiffCancelledError,
    ERROR_THREADS: errors.SpeeDiffThreadError,
}

_NAMES_IN_PYTHON = {
    "speediff_trainer_create": {"beta1": "betas[0]", "beta2": "betas[1]", "epsilon must": "eps must"},
}
"""By function, the arguments that Python calls otherwise than C."""

speediff_last_error = plain("speediff_last_error", c_char_p)

# ---- Noise schedules -----------------------------------------------------------------------------


class Schedule(ctypes.Structure):
    """An opaque `speediff_schedule`."""


schedule_p = POINTER(Schedule)

speediff_schedule_create_linear = fallible(
    "speediff_schedule_create_linear", c_int64, c_double, c_double, POINTER(schedule_p)
)
speediff_schedule_create_quadratic = fallible(
    "speediff_schedule_create_quadratic", c_int64, c_double, c_double, POINTER(schedule_p)
)
speediff_schedule_create_cosine = fallible("speediff_schedule_create_cosine", c_int64, POINTER(schedule_p))
speediff_schedule_create_constant = fallible(
    "speediff_schedule_create_constant", c_int64, c_double, POINTER(schedule_p)
)
speediff_schedule_create_sigmoid = fallible(
    "speediff_schedule_create_sigmoid", c_int64, c_double, c_double, POINTER(schedule_p)
)
speediff_schedule_create_warmup = fallible(
    "speediff_schedule_create_warmup", c_int64, c_double, c_double, c_double, POINTER(schedule_p)
)
speediff_schedule_create_jsd = fallible("speediff_schedule_create_jsd", c_int64, POINTER(schedule_p))
speediff_schedule_create_from_betas = fallible(
    "speediff_schedule_create_from_betas", POINTER(c_double), c_int64, POINTER(schedule_p)
)
speediff_schedule_create_from_alphas_cumprod = fallible(
    "speediff_schedule_create_from_alphas_cumprod", POINTER(c_double), c_int64, POINTER(schedule_p)
)
speediff_schedule_create_zero_terminal_snr = fallible(
    "speediff_schedule_create_zero_terminal_snr", schedule_p, POINTER(schedule_p)
)
speediff_schedule_create_respaced = fallible(
    "speediff_schedule_create_respaced", schedule_p, POINTER(c_int64), c_int64, POINTER(schedule_p)
)
speediff_schedule_destroy = plain("speediff_schedule_destroy", None, schedule_p)
speediff_schedule_steps = fallible("speediff_schedule_steps", schedule_p, POINTER(c_int64))

TABLE_BETAS = 1
TABLE_ALPHAS = 2
TABLE_ALPHAS_CUMPROD = 3
TABLE_SQRT_ALPHAS_CUMPROD = 4
TABLE_SQRT_ONE_MINUS_ALPHAS_CUMPROD = 5
TABLE_SNR = 6
TABLE_LOG_SNR = 7
TABLE_SIGMAS = 8
TABLE_INCREMENT_MEAN_FACTOR = 9
TABLE_INCREMENT_VARIANCE = 10
TABLE_INCREMENT_RATE = 11
TABLE_INCREMENT_MAGNITUDE = 12
TABLE_CLOSED_FORM_MEAN_BOUND = 13
TABLE_CLOSED_FORM_VARIANCE = 14
TABLE_CLOSED_FORM_RATE = 15
TABLE_CLOSED_FORM_MAGNITUDE = 16

speediff_schedule_table = fallible("speediff_schedule_table", schedule_p, c_int, POINTER(c_double), c_int64)
speediff_schedule_acceleration_end = fallible(
    "speediff_schedule_acceleration_end", schedule_p, POINTER(c_int64)
)
speediff_schedule_convergence_start = fallible(
    "speediff_schedule_convergence_start", schedule_p, c_double, POINTER(c_int64)
)
speediff_schedule_closed_form_acceleration_end = fallible(
    "speediff_schedule_closed_form_acceleration_end", schedule_p, POINTER(c_double)
)
speediff_schedule_closed_form_convergence_start = fallible(
    "speediff_schedule_closed_form_convergence_start", schedule_p, c_double, POINTER(c_double)
)

# ---- Respacing: which steps to sample with -------------------------------------------------------

speediff_respacing_sections = fallible(
    "speediff_respacing_sections", c_int64, POINTER(c_int64), c_int64, POINTER(c_int64), c_int64
)
speediff_respacing_ddim = fallible("speediff_respacing_ddim", c_int64, POINTER(c_int64), c_int64)

# ---- Samplings: which timesteps to draw ----------------------------------------------------------


class Sampling(ctypes.Structure):
    """An opaque `speediff_sampling`."""


sampling_p = POINTER(Sampling)

speediff_sampling_create = fallible(
    "speediff_sampling_create", c_char_p, POINTER(c_double), c_int64, POINTER(sampling_p)
)
speediff_sampling_create_asymmetric = fallible(
    "speediff_sampling_create_asymmetric", c_double, c_int64, POINTER(sampling_p)
)
speediff_sampling_create_shifted = fallible(
    "speediff_sampling_create_shifted", sampling_p, c_double, POINTER(sampling_p)
)
speediff_sampling_create_truncated = fallible(
    "speediff_sampling_create_truncated", sampling_p, c_int64, c_int64, POINTER(sampling_p)
)
speediff_sampling_create_truncated_levels = fallible(
    "speediff_sampling_create_truncated_levels", sampling_p, c_double, c_double, POINTER(sampling_p)
)
speediff_sampling_create_mixture = fallible(
    "speediff_sampling_create_mixture", sampling_p, sampling_p, c_double, POINTER(sampling_p)
)
speediff_sampling_create_blend = fallible(
    "speediff_sampling_create_blend", sampling_p, sampling_p, c_int64, c_int64, POINTER(sampling_p)
)
speediff_sampling_create_stages = fallible(
    "speediff_sampling_create_stages", POINTER(c_int64), POINTER(sampling_p), c_int64, POINTER(sampling_p)
)

TABLE_AXIS_STEPS = 0
TABLE_AXIS_U = 1
TABLE_AXIS_LOG_SNR = 2

speediff_sampling_create_table = fallible(
    "speediff_sampling_create_table",
    c_int,
    POINTER(c_double),
    POINTER(c_double),
    c_int64,
    POINTER(sampling_p),
)
speediff_sampling_names = plain("speediff_sampling_names", c_char_p)
speediff_sampling_destroy = plain("speediff_sampling_destroy", None, sampling_p)

# ---- Weightings: how much each timestep counts ---------------------------------------------------


class Weighting(ctypes.Structure):
    """An opaque `speediff_weighting`."""


weighting_p = POINTER(Weighting)

speediff_weighting_create = fallible(
    "speediff_weighting_create", c_char_p, POINTER(c_double), c_int64, POINTER(weighting_p)
)
speediff_weighting_create_product = fallible(
    "speediff_weighting_create_product", weighting_p, weighting_p, POINTER(weighting_p)
)
speediff_weighting_create_reciprocal = fallible(
    "speediff_weighting_create_reciprocal", weighting_p, POINTER(weighting_p)
)
speediff_weighting_create_to_emphasis = fallible(
    "speediff_weighting_create_to_emphasis",
    POINTER(c_double),
    POINTER(c_double),
    c_int64,
    POINTER(weighting_p),
)
speediff_weighting_create_table = fallible(
    "speediff_weighting_create_table",
    c_int,
    POINTER(c_double),
    POINTER(c_double),
    c_int64,
    POINTER(weighting_p),
)
speediff_weighting_names = plain("speediff_weighting_names", c_char_p)
speediff_weighting_destroy = plain("speediff_weighting_destroy", None, weighting_p)

# ---- Samplers ------------------------------------------------------------------------------------

PREDICTION_UNSPECIFIED = 0
PREDICTION_EPSILON = 1
PREDICTION_SAMPLE = 2
PREDICTION_V = 3
PREDICTION_FLOW = 4

STRATA_NONE = 0
STRATA_STRATIFIED = 1
STRATA_LOW_DISCREPANCY = 2


class SamplerOptions(ctypes.Structure):
    """A `speediff_sampler_options`."""

    _fields_ = (
        ("seed", c_uint64),
        ("rank", c_int64),
        ("world_size", c_int64),
        ("accumulation", c_int64),
        ("prediction", c_int32),
        ("strata", c_int32),
        ("normalize", c_int32),
    )


class Sampler(ctypes.Structure):
    """An opaque `speediff_sampler`."""


sampler_p = POINTER(Sampler)

speediff_sampler_create = fallible(
    "speediff_sampler_create",
    schedule_p,
    sampling_p,
    weighting_p,
    POINTER(SamplerOptions),
    POINTER(sampler_p),
)
speediff_sampler_create_speed = fallible(
    "speediff_sampler_create_speed",
    schedule_p,
    c_double,
    c_double,
    c_double,
    POINTER(SamplerOptions),
    POINTER(sampler_p),
)
speediff_sampler_create_official_speed = fallible(
    "speediff_sampler_create_official_speed",
    schedule_p,
    sampling_p,
    c_double,
    POINTER(SamplerOptions),
    POINTER(sampler_p),
)
speediff_sampler_destroy = plain("speediff_sampler_destroy", None, sampler_p)
speediff_sampler_probabilities = fallible(
    "speediff_sampler_probabilities", sampler_p, c_int64, POINTER(c_double), c_int64
)
speediff_sampler_marginal = fallible(
    "speediff_sampler_marginal", sampler_p, c_int64, c_int64, POINTER(c_double), c_int64
)
speediff_sampler_weights = fallible(
    "speediff_sampler_weights", sampler_p, c_int64, POINTER(c_double), c_int64
)
speediff_sampler_expected_weight = fallible(
    "speediff_sampler_expected_weight", sampler_p, c_int64, c_int64, POINTER(c_double)
)
speediff_sampler_emphasis = fallible(
    "speediff_sampler_emphasis", sampler_p, c_int64, POINTER(c_double), POINTER(c_double), c_int64
)
speediff_sampler_update = fallible(
    "speediff_sampler_update", sampler_p, POINTER(c_int64), POINTER(c_float), c_int64
)
speediff_sampler_history_count = fallible("speediff_sampler_history_count", sampler_p, POINTER(c_int64))
speediff_sampler_history = fallible("speediff_sampler_history", sampler_p, POINTER(c_double), c_int64)
speediff_sampler_restore_history = fallible(
    "speediff_sampler_restore_history", sampler_p, POINTER(c_double), c_int64
)
speediff_sampler_draw = fallible(
    "speediff_sampler_draw",
    sampler_p,
    c_int64,
    c_int64,
    c_int64,
    POINTER(c_int64),
    POINTER(c_float),
)
speediff_sampler_draw_slice = fallible(
    "speediff_sampler_draw_slice",
    sampler_p,
    c_int64,
    c_int64,
    c_int64,
    c_int64,
    POINTER(c_int64),
    POINTER(c_float),
)
