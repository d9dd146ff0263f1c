"""The C functions as a C program calls them, each with arguments that are valid.

Names of arguments come from the header; `c_api`, `c_processes` and `c_training` lend their types, which
test_header.py holds to it.
"""

from __future__ import annotations

import ctypes
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import header
import numpy as np

import speediff
from speediff._native import c_api as c
from speediff._native import c_processes as cp
from speediff._native import c_training as ct

if TYPE_CHECKING:
    from collections.abc import Callable

OK, NULL_POINTER, INVALID_ARGUMENT, WRONG_COUNT, INTERNAL = range(5)


class Raw:
    """The library without the package's error check: calls return their status."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(speediff.library_path())

    def __getattr__(self, name: str) -> Any:
        function = self.library[f"speediff_{name}"]
        declared = {**vars(c), **vars(cp), **vars(ct)}[f"speediff_{name}"]
        function.argtypes, function.restype = declared.argtypes, declared.restype
        return function


raw = Raw()


def message() -> str:
    return str(raw.last_error().decode())


def made(kind: Any, create: str, *arguments: Any) -> Any:
    """A handle that the tests keep until the process ends."""
    handle = kind()
    assert getattr(raw, create)(*arguments, handle) == OK, message()
    return handle


def doubles(*values: float) -> Any:
    return (ctypes.c_double * len(values))(*values)


def integers(*values: int) -> Any:
    return (ctypes.c_int64 * len(values))(*values)


def floats(count: int, value: float = 0.5) -> Any:
    return (ctypes.c_float * count)(*[value] * count)


SCHEDULE = made(c.schedule_p, "schedule_create_linear", 50, 1e-3, 0.02)
UNIFORM = made(c.sampling_p, "sampling_create", b"uniform", None, 0)
LAPLACE = made(c.sampling_p, "sampling_create", b"laplace", None, 0)
ADAPTIVE = made(c.sampling_p, "sampling_create", b"adaptive", doubles(10), 1)
ASYMMETRIC = made(c.sampling_p, "sampling_create_asymmetric", 5, 30)
WEIGHTING = made(c.weighting_p, "weighting_create", b"uniform", None, 0)
OPTIONS = c.SamplerOptions(0, 0, 1, 1, 0, 0, 0)
SAMPLER = made(c.sampler_p, "sampler_create", SCHEDULE, UNIFORM, WEIGHTING, OPTIONS)
LEARNER = made(c.sampler_p, "sampler_create", SCHEDULE, ADAPTIVE, WEIGHTING, OPTIONS)
PROCESS = made(cp.process_p, "process_create_flow", 1.0)
SIGMA_SAMPLER = made(cp.sigma_sampler_p, "sigma_sampler_create", PROCESS, None, None, OPTIONS, 0)
SIGMA_LEARNER = made(cp.sigma_sampler_p, "sigma_sampler_create", PROCESS, ADAPTIVE, None, OPTIONS, 0)
BETAS = doubles(*np.linspace(0.01, 0.02, 50))
BARS = doubles(*np.linspace(0.9, 0.1, 50))
HISTORY = 21
"""The length of what ADAPTIVE learns."""
SHAPE = {
    b"input_size": 4, b"in_channels": 1, b"hidden_size": 8, b"depth": 1, b"num_heads": 2, b"mlp_ratio": 1,
    b"num_classes": 0, b"class_dropout_prob": 0, b"learn_sigma": 0,
}  # fmt: skip
"""Of images of 16 floats, without labels."""
VALUES = (ctypes.c_char_p * len(SHAPE))(*SHAPE), doubles(*SHAPE.values()), len(SHAPE)
NETWORK = made(ct.network_p, "network_create", b"dit", *VALUES)
HOW_TO_TRAIN = ct.TrainerOptions(
    ctypes.sizeof(ct.TrainerOptions), 1e-4, 0.9, 0.999, 1e-8, 0.0, 0.9999, 0, 0.0, 0, 0, 1
)
HOW_TO_GENERATE = ct.GenerationOptions(ct.GENERATION_DDIM, 3, 0.0, 1.0, 0, 1)
TRAINER = made(ct.trainer_p, "trainer_create", NETWORK, HOW_TO_TRAIN, SAMPLER)
FOLDER = tempfile.TemporaryDirectory()
PATH = str(Path(FOLDER.name) / "run.safetensors").encode()
assert raw.trainer_save(TRAINER, PATH, b"a note") == OK, message()
CHECKPOINT = made(ct.checkpoint_p, "checkpoint_open", PATH)
IMAGES = floats(32)
BATCH = ct.TrainingBatch(
    ctypes.sizeof(ct.TrainingBatch), IMAGES, None, 2, integers(1, 49), floats(32), floats(2)
)


def begin_step() -> None:
    """Ends a step that has begun, if there is one."""
    raw.trainer_set_learning_rate(TRAINER, 0.0)
    raw.trainer_apply(TRAINER, None)


def begin_update() -> None:
    """Brings the trainer to where a step can be applied."""
    begin_step()
    loss = ctypes.c_double()
    assert raw.trainer_backward(TRAINER, BATCH, loss) == OK, message()


def end_step() -> None:
    """Brings the trainer to where its sampler can learn."""
    begin_update()
    assert raw.trainer_apply(TRAINER, None) == OK, message()


PREPARATIONS: dict[str, Callable[[], None]] = {
    "trainer_set_global_step": begin_step,
    "trainer_backward": begin_step,
    "trainer_apply": begin_update,
    "trainer_last_count": begin_update,
    "trainer_last_losses": begin_update,
    "trainer_learn": end_step,
    "trainer_save": begin_step,
}
"""What comes before a call, so that it can succeed."""

VALID: dict[str, tuple[Any, ...]] = {
    "schedule_create_linear": (50, 1e-3, 0.02, "schedule"),
    "schedule_create_quadratic": (50, 1e-3, 0.02, "schedule"),
    "schedule_create_cosine": (50, "schedule"),
    "schedule_create_constant": (50, 0.02, "schedule"),
    "schedule_create_sigmoid": (50, 1e-3, 0.02, "schedule"),
    "schedule_create_warmup": (50, 0.1, 1e-3, 0.02, "schedule"),
    "schedule_create_jsd": (50, "schedule"),
    "schedule_create_from_betas": (BETAS, 50, "schedule"),
    "schedule_create_from_alphas_cumprod": (BARS, 50, "schedule"),
    "schedule_create_zero_terminal_snr": (SCHEDULE, "schedule"),
    "schedule_create_respaced": (SCHEDULE, integers(0, 7, 49), 3, "schedule"),
    "schedule_steps": (SCHEDULE, "int"),
    "schedule_table": (SCHEDULE, 1, "doubles", 50),
    "schedule_acceleration_end": (SCHEDULE, "int"),
    "schedule_convergence_start": (SCHEDULE, 1.01, "int"),
    "schedule_closed_form_acceleration_end": (SCHEDULE, "double"),
    "schedule_closed_form_convergence_start": (SCHEDULE, 1.01, "double"),
    "respacing_sections": (50, integers(3, 7), 2, "ints", 10),
    "respacing_ddim": (50, "ints", 10),
    "sampling_create": (b"laplace", doubles(0.5, 2.0), 2, "sampling"),
    "sampling_create_asymmetric": (5.0, 30, "sampling"),
    "sampling_create_shifted": (UNIFORM, 3.0, "sampling"),
    "sampling_create_truncated": (UNIFORM, 10, 20, "sampling"),
    "sampling_create_truncated_levels": (UNIFORM, 0.25, 0.75, "sampling"),
    "sampling_create_mixture": (UNIFORM, LAPLACE, 0.5, "sampling"),
    "sampling_create_blend": (UNIFORM, LAPLACE, 10, 20, "sampling"),
    "sampling_create_stages": (integers(0, 10), (c.sampling_p * 2)(UNIFORM, LAPLACE), 2, "sampling"),
    "sampling_create_table": (1, doubles(0.0, 1.0), doubles(0.5, 0.25), 2, "sampling"),
    "weighting_create": (b"p2", doubles(1.0, 0.5), 2, "weighting"),
    "weighting_create_product": (WEIGHTING, WEIGHTING, "weighting"),
    "weighting_create_reciprocal": (WEIGHTING, "weighting"),
    "weighting_create_to_emphasis": (doubles(1.0, 0.0), doubles(0.5, 0.5), 2, "weighting"),
    "weighting_create_table": (1, doubles(0.0, 1.0), doubles(0.5, 0.25), 2, "weighting"),
    "sampler_create": (SCHEDULE, UNIFORM, WEIGHTING, OPTIONS, "sampler"),
    "sampler_create_speed": (SCHEDULE, 5.0, 1.01, 0.6, OPTIONS, "sampler"),
    "sampler_create_official_speed": (SCHEDULE, ASYMMETRIC, 0.6, OPTIONS, "sampler"),
    "sampler_probabilities": (SAMPLER, 3, "doubles", 50),
    "sampler_marginal": (SAMPLER, 3, 8, "doubles", 50),
    "sampler_weights": (SAMPLER, 3, "doubles", 50),
    "sampler_expected_weight": (SAMPLER, 3, 8, "double"),
    "sampler_emphasis": (SAMPLER, 3, "doubles", "doubles", 50),
    "sampler_update": (LEARNER, integers(1, 2, 3), (ctypes.c_float * 3)(1, 2, 3), 3),
    "sampler_history_count": (LEARNER, "int"),
    "sampler_history": (LEARNER, "doubles", HISTORY),
    "sampler_restore_history": (LEARNER, doubles(*[0.0] * HISTORY), HISTORY),
    "sampler_draw": (SAMPLER, 3, 2, 4, "ints", "floats"),
    "sampler_draw_slice": (SAMPLER, 3, 1, 4, 8, "ints", "floats"),
    "process_create_vp": (19.9, 0.1, 1e-5, 0.5, "process"),
    "process_create_ve": (0.02, 100.0, 0.5, "process"),
    "process_create_edm": (-1.2, 1.2, 0.5, "process"),
    "process_create_flow": (1.0, "process"),
    "process_evaluate": (PROCESS, 1, doubles(0.25, 0.5), "doubles", 2),
    "sigma_sampler_create": (PROCESS, LAPLACE, WEIGHTING, OPTIONS, 10, "sigma_sampler"),
    "sigma_sampler_emphasis": (SIGMA_SAMPLER, 3, "emphasis", "emphasis", 1024),
    "sigma_sampler_update": (SIGMA_LEARNER, 3, floats(2), floats(2), 2),
    "sigma_sampler_history_count": (SIGMA_LEARNER, "int"),
    "sigma_sampler_history": (SIGMA_LEARNER, "doubles", HISTORY),
    "sigma_sampler_restore_history": (SIGMA_LEARNER, doubles(*[0.0] * HISTORY), HISTORY),
    "sigma_sampler_draw": (SIGMA_SAMPLER, 3, 2, 4, "floats", "floats"),
    "sigma_sampler_draw_slice": (SIGMA_SAMPLER, 3, 1, 4, 8, "floats", "floats"),
    "sigma_sampler_draw_shifted": (
        *(SIGMA_SAMPLER, 3, 1, 4, 8, doubles(1, 2, 3, 4), doubles(0, 0.5, -1, 0), "floats", "floats"),
    ),
    "fdm_input_scale": (0.002, 80.0, 2.0, doubles(0.25, 0.5), "doubles", 2),
    "network_create": (b"dit", *VALUES, "network"),
    "network_create_official": (b"DiT-S/2", *VALUES, "network"),
    "network_family": (NETWORK, "text"),
    "network_value": (NETWORK, b"depth", "double"),
    "network_family_value_count": (b"dit", "int"),
    "network_family_value": (b"dit", 3, "text", "int32", "double"),
    "thread_limits": ("int", "int", "int"),
    "memory_limit": ("int",),
    "fastest_precision": ("int",),
    "trainer_create": (NETWORK, HOW_TO_TRAIN, SAMPLER, "trainer"),
    "trainer_network": (TRAINER, "network"),
    "trainer_get_options": (TRAINER, "trainer_options", ctypes.sizeof(ct.TrainerOptions)),
    "trainer_set_learning_rate": (TRAINER, 0.0),
    "trainer_set_ema_decay": (TRAINER, 0.5),
    "trainer_set_precision": (TRAINER, 0),
    "trainer_global_step": (TRAINER, "int"),
    "trainer_set_global_step": (TRAINER, 3),
    "trainer_backward": (TRAINER, BATCH, "double"),
    "trainer_discard": (TRAINER,),
    "trainer_apply": (TRAINER, "double"),
    "trainer_learn": (TRAINER,),
    "trainer_last_count": (TRAINER, "int"),
    "trainer_last_losses": (TRAINER, "ints", "floats", 2),
    "trainer_forward": (TRAINER, IMAGES, floats(2), None, 2, 0, "floats"),
    "trainer_parameter_count": (TRAINER, "int"),
    "trainer_parameter": (TRAINER, 3, "text", "ints", "int", "int"),
    "trainer_buffer": (TRAINER, ct.BUFFER_PARAMETERS, "float_pointer", "int"),
    "trainer_generate": (
        *(TRAINER, None, (ctypes.c_uint64 * 2)(3, 4), 2, HOW_TO_GENERATE, ct.progress_p(), None, "floats"),
    ),
    "trainer_save": (TRAINER, PATH, b"a note"),
    "checkpoint_open": (PATH, "checkpoint"),
    "checkpoint_note": (CHECKPOINT, "text"),
    "checkpoint_schedule": (CHECKPOINT, "schedule"),
    "checkpoint_trainer": (CHECKPOINT, SAMPLER, 1, "trainer"),
}
NULLABLE = {
    "speediff_sigma_sampler_create": {"sampling", "weighting"},
    "speediff_sigma_sampler_draw_shifted": {"shifts", "offsets"},
    "speediff_trainer_apply": {"norm"},
    "speediff_trainer_forward": {"y"},
    "speediff_trainer_generate": {"y", "context"},
}
"""Pointers for which NULL has a meaning."""
OUTPUTS: dict[str, Any] = {
    "schedule": c.schedule_p,
    "sampling": c.sampling_p,
    "weighting": c.weighting_p,
    "sampler": c.sampler_p,
    "process": cp.process_p,
    "sigma_sampler": cp.sigma_sampler_p,
    "network": ct.network_p,
    "trainer": ct.trainer_p,
    "checkpoint": ct.checkpoint_p,
    "int": ctypes.c_int64,
    "double": ctypes.c_double,
    "doubles": ctypes.c_double * 64,
    "ints": ctypes.c_int64 * 64,
    "floats": ctypes.c_float * 64,
    "emphasis": ctypes.c_double * 1024,
    "int32": ctypes.c_int32,
    "trainer_options": ct.TrainerOptions,
    "text": ctypes.c_char_p,
    "float_pointer": ctypes.POINTER(ctypes.c_float),
}
DESTROY = {kind: getattr(raw, f"{kind}_destroy") for kind in list(OUTPUTS)[:9]}
FALLIBLE = [name for name in header.functions() if header.returns_status(name)]


def fresh(name: str) -> list[Any]:
    """Valid arguments, with outputs full of a bit pattern."""
    PREPARATIONS.get(name.removeprefix("speediff_"), lambda: None)()
    arguments: list[Any] = []
    for argument in VALID[name.removeprefix("speediff_")]:
        if isinstance(argument, str):
            argument = OUTPUTS[argument]()
            ctypes.memset(ctypes.byref(argument), 0x5A, ctypes.sizeof(argument))
        arguments.append(argument)
    return arguments


def call(name: str, arguments: list[Any]) -> int:
    """Calls, destroys what was made, and checks that nothing was written on failure."""
    status = int(getattr(raw, name.removeprefix("speediff_"))(*arguments))
    for template, argument in zip(VALID[name.removeprefix("speediff_")], arguments, strict=True):
        if isinstance(template, str) and argument is not None and status != OK:
            assert set(bytes(argument)) == {0x5A}, f"{name} wrote although it failed"
    made_what = VALID[name.removeprefix("speediff_")][-1]
    if status == OK and isinstance(made_what, str) and made_what in DESTROY:
        DESTROY[made_what](arguments[-1])
    return status
