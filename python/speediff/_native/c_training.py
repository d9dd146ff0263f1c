"""The C interface of networks and trainers: `include/speediff.h` from where `c_processes.py` ends."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p

from .c_api import fallible, plain, sampler_p, schedule_p

# ---- Networks ------------------------------------------------------------------------------------


class Network(ctypes.Structure):
    """An opaque `speediff_network`."""


network_p = POINTER(Network)

speediff_network_create = fallible(
    "speediff_network_create", c_char_p, POINTER(c_char_p), POINTER(c_double), c_int64, POINTER(network_p)
)
speediff_network_create_official = fallible(
    "speediff_network_create_official",
    c_char_p,
    POINTER(c_char_p),
    POINTER(c_double),
    c_int64,
    POINTER(network_p),
)
speediff_network_destroy = plain("speediff_network_destroy", None, network_p)
speediff_network_family = fallible("speediff_network_family", network_p, POINTER(c_char_p))
speediff_network_value = fallible("speediff_network_value", network_p, c_char_p, POINTER(c_double))
speediff_network_family_names = plain("speediff_network_family_names", c_char_p)
speediff_network_family_value_count = fallible(
    "speediff_network_family_value_count", c_char_p, POINTER(c_int64)
)

VALUE_INTEGER = 1
VALUE_REAL = 2
VALUE_FLAG = 3

speediff_network_family_value = fallible(
    "speediff_network_family_value",
    c_char_p,
    c_int64,
    POINTER(c_char_p),
    POINTER(c_int32),
    POINTER(c_double),
)

# ---- Trainers ------------------------------------------------------------------------------------

speediff_thread_limits = fallible(
    "speediff_thread_limits", POINTER(c_int64), POINTER(c_int64), POINTER(c_int64)
)
speediff_memory_limit = fallible("speediff_memory_limit", POINTER(c_int64))
speediff_fastest_precision = fallible("speediff_fastest_precision", POINTER(c_int64))


PRECISION_FLOAT32 = 0
PRECISION_BFLOAT16 = 1
PRECISION_AUTO = 2


class TrainerOptions(ctypes.Structure):
    """A `speediff_trainer_options`."""

    _fields_ = (
        ("size", c_size_t),
        ("learning_rate", c_double),
        ("beta1", c_double),
        ("beta2", c_double),
        ("epsilon", c_double),
        ("weight_decay", c_double),
        ("ema_decay", c_double),
        ("ema_warmup", c_int32),
        ("max_grad_norm", c_double),
        ("warmup_steps", c_int64),
        ("seed", c_uint64),
        ("threads", c_int32),
        ("precision", c_int64),
    )


class Trainer(ctypes.Structure):
    """An opaque `speediff_trainer`."""


trainer_p = POINTER(Trainer)

speediff_trainer_create = fallible(
    "speediff_trainer_create", network_p, POINTER(TrainerOptions), sampler_p, POINTER(trainer_p)
)
speediff_trainer_destroy = plain("speediff_trainer_destroy", None, trainer_p)
speediff_trainer_network = fallible("speediff_trainer_network", trainer_p, POINTER(network_p))
speediff_trainer_get_options = fallible(
    "speediff_trainer_get_options", trainer_p, POINTER(TrainerOptions), c_size_t
)
speediff_trainer_set_learning_rate = fallible("speediff_trainer_set_learning_rate", trainer_p, c_double)
speediff_trainer_set_ema_decay = fallible("speediff_trainer_set_ema_decay", trainer_p, c_double)
speediff_trainer_set_precision = fallible("speediff_trainer_set_precision", trainer_p, c_int64)
speediff_trainer_global_step = fallible("speediff_trainer_global_step", trainer_p, POINTER(c_int64))
speediff_trainer_set_global_step = fallible("speediff_trainer_set_global_step", trainer_p, c_int64)


class TrainingBatch(ctypes.Structure):
    """A `speediff_training_batch`."""

    _fields_ = (
        ("size", c_size_t),
        ("x", POINTER(c_float)),
        ("y", POINTER(c_int64)),
        ("n", c_int64),
        ("t", POINTER(c_int64)),
        ("noise", POINTER(c_float)),
        ("weights", POINTER(c_float)),
        ("masked_noise", POINTER(c_float)),
        ("kept", POINTER(c_int64)),
        ("kept_count", c_int64),
        ("offset", c_int64),
        ("total", c_int64),
    )


speediff_trainer_backward = fallible(
    "speediff_trainer_backward", trainer_p, POINTER(TrainingBatch), POINTER(c_double)
)
speediff_trainer_discard = fallible("speediff_trainer_discard", trainer_p)
speediff_trainer_apply = fallible("speediff_trainer_apply", trainer_p, POINTER(c_double))
speediff_trainer_learn = fallible("speediff_trainer_learn", trainer_p)
speediff_trainer_last_count = fallible("speediff_trainer_last_count", trainer_p, POINTER(c_int64))
speediff_trainer_last_losses = fallible(
    "speediff_trainer_last_losses", trainer_p, POINTER(c_int64), POINTER(c_float), c_int64
)
speediff_trainer_forward = fallible(
    "speediff_trainer_forward",
    trainer_p,
    POINTER(c_float),
    POINTER(c_float),
    POINTER(c_int64),
    c_int64,
    c_int32,
    POINTER(c_float),
)
speediff_trainer_parameter_count = fallible("speediff_trainer_parameter_count", trainer_p, POINTER(c_int64))

MAXIMUM_RANK = 4

speediff_trainer_parameter = fallible(
    "speediff_trainer_parameter",
    trainer_p,
    c_int64,
    POINTER(c_char_p),
    POINTER(c_int64),
    POINTER(c_int64),
    POINTER(c_int64),
)

BUFFER_PARAMETERS = 1
BUFFER_GRADIENTS = 2
BUFFER_EXP_AVG = 3
BUFFER_EXP_AVG_SQ = 4
BUFFER_EMA_PARAMETERS = 5
BUFFER_POS_EMBED = 6

speediff_trainer_buffer = fallible(
    "speediff_trainer_buffer", trainer_p, c_int, POINTER(POINTER(c_float)), POINTER(c_int64)
)

# ---- Generation ----------------------------------------------------------------------------------

GENERATION_DDPM = 1
GENERATION_DDIM = 2


class GenerationOptions(ctypes.Structure):
    """A `speediff_generation_options`."""

    _fields_ = (
        ("method", c_int32),
        ("steps", c_int64),
        ("eta", c_double),
        ("cfg_scale", c_double),
        ("clip", c_int32),
        ("ema", c_int32),
    )


progress_p = ctypes.CFUNCTYPE(c_int32, c_void_p, c_int64, c_int64)
"""A `speediff_progress`."""

speediff_trainer_generate = fallible(
    "speediff_trainer_generate",
    trainer_p,
    POINTER(c_int64),
    POINTER(c_uint64),
    c_int64,
    POINTER(GenerationOptions),
    progress_p,
    c_void_p,
    POINTER(c_float),
)

# ---- Checkpoints ---------------------------------------------------------------------------------

speediff_trainer_save = fallible("speediff_trainer_save", trainer_p, c_char_p, c_char_p)


class Checkpoint(ctypes.Structure):
    """An opaque `speediff_checkpoint`."""


checkpoint_p = POINTER(Checkpoint)

speediff_checkpoint_open = fallible("speediff_checkpoint_open", c_char_p, POINTER(checkpoint_p))
speediff_checkpoint_destroy = plain("speediff_checkpoint_destroy", None, checkpoint_p)
speediff_checkpoint_note = fallible("speediff_checkpoint_note", checkpoint_p, POINTER(c_char_p))
speediff_checkpoint_schedule = fallible("speediff_checkpoint_schedule", checkpoint_p, POINTER(schedule_p))
speediff_checkpoint_trainer = fallible(
    "speediff_checkpoint_trainer", checkpoint_p, sampler_p, c_int32, POINTER(trainer_p)
)
