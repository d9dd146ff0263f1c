"""The C interface of continuous processes; continues `c_api.py`."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_double, c_float, c_int, c_int64

from .c_api import SamplerOptions, fallible, plain, sampling_p, weighting_p

# ---- Continuous processes ------------------------------------------------------------------------


class Process(ctypes.Structure):
    """An opaque `speediff_process`."""


process_p = POINTER(Process)

speediff_process_create_vp = fallible(
    "speediff_process_create_vp", c_double, c_double, c_double, c_double, POINTER(process_p)
)
speediff_process_create_ve = fallible(
    "speediff_process_create_ve", c_double, c_double, c_double, POINTER(process_p)
)
speediff_process_create_edm = fallible(
    "speediff_process_create_edm", c_double, c_double, c_double, POINTER(process_p)
)
speediff_process_create_flow = fallible("speediff_process_create_flow", c_double, POINTER(process_p))
speediff_process_destroy = plain("speediff_process_destroy", None, process_p)

PROCESS_SCALE = 1
PROCESS_SIGMA = 2
PROCESS_SIGMA_DERIVATIVE = 3

speediff_process_evaluate = fallible(
    "speediff_process_evaluate", process_p, c_int, POINTER(c_double), POINTER(c_double), c_int64
)


class SigmaSampler(ctypes.Structure):
    """An opaque `speediff_sigma_sampler`."""


sigma_sampler_p = POINTER(SigmaSampler)

speediff_sigma_sampler_create = fallible(
    "speediff_sigma_sampler_create",
    process_p,
    sampling_p,
    weighting_p,
    POINTER(SamplerOptions),
    c_int64,
    POINTER(sigma_sampler_p),
)
speediff_sigma_sampler_destroy = plain("speediff_sigma_sampler_destroy", None, sigma_sampler_p)

SIGMA_EMPHASIS_COUNT = 1024

speediff_sigma_sampler_emphasis = fallible(
    "speediff_sigma_sampler_emphasis",
    sigma_sampler_p,
    c_int64,
    POINTER(c_double),
    POINTER(c_double),
    c_int64,
)
speediff_sigma_sampler_update = fallible(
    "speediff_sigma_sampler_update", sigma_sampler_p, c_int64, POINTER(c_float), POINTER(c_float), c_int64
)
speediff_sigma_sampler_history_count = fallible(
    "speediff_sigma_sampler_history_count", sigma_sampler_p, POINTER(c_int64)
)
speediff_sigma_sampler_history = fallible(
    "speediff_sigma_sampler_history", sigma_sampler_p, POINTER(c_double), c_int64
)
speediff_sigma_sampler_restore_history = fallible(
    "speediff_sigma_sampler_restore_history", sigma_sampler_p, POINTER(c_double), c_int64
)
speediff_sigma_sampler_draw = fallible(
    "speediff_sigma_sampler_draw",
    sigma_sampler_p,
    c_int64,
    c_int64,
    c_int64,
    POINTER(c_float),
    POINTER(c_float),
)
speediff_sigma_sampler_draw_slice = fallible(
    "speediff_sigma_sampler_draw_slice",
    sigma_sampler_p,
    c_int64,
    c_int64,
    c_int64,
    c_int64,
    POINTER(c_float),
    POINTER(c_float),
)
speediff_sigma_sampler_draw_shifted = fallible(
    "speediff_sigma_sampler_draw_shifted",
    sigma_sampler_p,
    c_int64,
    c_int64,
    c_int64,
    c_int64,
    POINTER(c_double),
    POINTER(c_double),
    POINTER(c_float),
    POINTER(c_float),
)
speediff_fdm_input_scale = fallible(
    "speediff_fdm_input_scale",
    c_double,
    c_double,
    c_double,
    POINTER(c_double),
    POINTER(c_double),
    c_int64,
)
