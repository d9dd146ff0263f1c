"""The C functions as a C program calls them: status codes, messages, and nothing written on failure.

Names of arguments come from the header; `_c_api` lends its types, which test_header.py holds to it.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import textwrap
from typing import Any

import header
import numpy as np
import pytest

import speediff
from speediff import _c_api as c

OK, NULL_POINTER, INVALID_ARGUMENT, WRONG_COUNT = range(4)
POISON = 0x5A5A5A5A5A5A5A58


class Raw:
    """The library without the package's error check: calls return their status."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(speediff.library_path())

    def __getattr__(self, name: str) -> Any:
        function = self.library[f"speediff_{name}"]
        declared = getattr(c, f"speediff_{name}")
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


SCHEDULE = made(c.schedule_p, "schedule_create_linear", 50, 1e-3, 0.02)
UNIFORM = made(c.sampling_p, "sampling_create", b"uniform", None, 0)
LAPLACE = made(c.sampling_p, "sampling_create", b"laplace", None, 0)
ADAPTIVE = made(c.sampling_p, "sampling_create", b"adaptive", doubles(10), 1)
ASYMMETRIC = made(c.sampling_p, "sampling_create_asymmetric", 5, 30)
WEIGHTING = made(c.weighting_p, "weighting_create", b"uniform", None, 0)
OPTIONS = c.SamplerOptions(0, 0, 1, 1, 0, 0, 0)
SAMPLER = made(c.sampler_p, "sampler_create", SCHEDULE, UNIFORM, WEIGHTING, OPTIONS)
LEARNER = made(c.sampler_p, "sampler_create", SCHEDULE, ADAPTIVE, WEIGHTING, OPTIONS)
PROCESS = made(c.process_p, "process_create_flow", 1.0)
SIGMA_SAMPLER = made(c.sigma_sampler_p, "sigma_sampler_create", PROCESS, None, None, OPTIONS, 0)
BETAS = doubles(*np.linspace(0.01, 0.02, 50))
BARS = doubles(*np.linspace(0.9, 0.1, 50))
HISTORY = 21
"""The length of what ADAPTIVE learns."""

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
    "sampling_create_mixture": (UNIFORM, LAPLACE, 0.5, "sampling"),
    "sampling_create_blend": (UNIFORM, LAPLACE, 10, 20, "sampling"),
    "weighting_create": (b"p2", doubles(1.0, 0.5), 2, "weighting"),
    "weighting_create_product": (WEIGHTING, WEIGHTING, "weighting"),
    "weighting_create_to_emphasis": (doubles(1.0, 0.0), doubles(0.5, 0.5), 2, "weighting"),
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
    "sigma_sampler_draw": (SIGMA_SAMPLER, 3, 2, 4, "floats", "floats"),
    "sigma_sampler_draw_slice": (SIGMA_SAMPLER, 3, 1, 4, 8, "floats", "floats"),
    "fdm_input_scale": (0.002, 80.0, 2.0, doubles(0.25, 0.5), "doubles", 2),
}
NULLABLE = {("speediff_sigma_sampler_create", "sampling"), ("speediff_sigma_sampler_create", "weighting")}
"""Pointers for which NULL has a meaning."""
OUTPUTS: dict[str, Any] = {
    "schedule": c.schedule_p,
    "sampling": c.sampling_p,
    "weighting": c.weighting_p,
    "sampler": c.sampler_p,
    "process": c.process_p,
    "sigma_sampler": c.sigma_sampler_p,
    "int": ctypes.c_int64,
    "double": ctypes.c_double,
    "doubles": ctypes.c_double * 64,
    "ints": ctypes.c_int64 * 64,
    "floats": ctypes.c_float * 64,
    "emphasis": ctypes.c_double * 1024,
}
DESTROY = {f"{kind}_create": getattr(raw, f"{kind}_destroy") for kind in list(OUTPUTS)[:6]}
FALLIBLE = [name for name in header.functions() if header.returns_status(name)]
PARAMETERS = [
    pytest.param(name, place, id=f"{name}-{parameter}")
    for name in FALLIBLE
    for place, parameter in enumerate(header.parameters(name))
]


def fresh(name: str) -> list[Any]:
    """Valid arguments, with outputs full of a bit pattern."""
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
    if status == OK and "_create" in name:
        DESTROY[name.removeprefix("speediff_").split("create")[0] + "create"](arguments[-1])
    return status


def test_every_fallible_function_of_the_header_is_tested_here() -> None:
    assert {name.removeprefix("speediff_") for name in FALLIBLE} == set(VALID)


@pytest.mark.parametrize("name", FALLIBLE)
def test_valid_arguments_succeed(name: str) -> None:
    assert call(name, fresh(name)) == OK, message()


@pytest.mark.parametrize(("name", "place"), PARAMETERS)
def test_a_null_pointer_is_an_error_that_names_the_argument(name: str, place: int) -> None:
    if not header.is_pointer(name, place) or (name, header.parameters(name)[place]) in NULLABLE:
        return
    arguments = fresh(name)
    arguments[place] = None
    assert call(name, arguments) == NULL_POINTER
    assert header.parameters(name)[place] in message()
    assert "NULL" in message()
    assert call(name, fresh(name)) == OK


def test_destroying_null_does_nothing() -> None:
    for destroy in DESTROY.values():
        assert destroy(None) is None


@pytest.mark.parametrize(
    "name",
    [
        "schedule_table",
        "sampler_probabilities",
        "sampler_marginal",
        "sampler_weights",
        "sampler_emphasis",
    ],
)
@pytest.mark.parametrize("count", [0, 1, 49, 51, -1, -(2**63), 2**63 - 1])
def test_a_table_of_the_wrong_count_is_an_error(name: str, count: int) -> None:
    arguments = fresh(name)
    arguments[-1] = count
    assert call(name, arguments) == WRONG_COUNT
    assert "count" in message()
    assert "50" in message()
    assert str(count) in message()


def test_tables_of_increments_have_one_entry_less() -> None:
    for table in (c.TABLE_INCREMENT_MEAN_FACTOR, c.TABLE_INCREMENT_VARIANCE):
        out = (ctypes.c_double * 50)()
        assert raw.schedule_table(SCHEDULE, table, out, 50) == WRONG_COUNT
        assert raw.schedule_table(SCHEDULE, table, out, 49) == OK


@pytest.mark.parametrize("kind", ["sampling", "weighting"])
def test_an_unknown_name_or_too_many_parameters_are_errors(kind: str) -> None:
    name = f"{kind}_create"
    arguments = fresh(name)
    arguments[0] = b"laplacian"
    assert call(name, arguments) == INVALID_ARGUMENT
    assert "uniform" in message()
    assert message().endswith("got laplacian")
    for count in (3, -1, 2**63 - 1, -(2**63)):
        arguments = fresh(name)
        arguments[2] = count
        assert call(name, arguments) == INVALID_ARGUMENT
        assert message().startswith("count must be in [0, 2]")


@pytest.mark.parametrize("table", [0, -1, 17, 1000, 2**31 - 1, -(2**31)])
def test_an_unknown_table_is_an_error(table: int) -> None:
    arguments = fresh("schedule_table")
    arguments[1] = table
    assert call("schedule_table", arguments) == INVALID_ARGUMENT
    assert message().startswith("table must be a speediff_table, got ")
    # A C enum without negative values is unsigned.
    assert message().endswith((f" {table}", f" {table % 2**32}"))


@pytest.mark.parametrize("field", ["prediction", "strata", "normalize"])
@pytest.mark.parametrize("value", [-1, 5, 99, 2**31 - 1, -(2**31)])
def test_an_unknown_option_is_an_error(field: str, value: int) -> None:
    for name in ("sampler_create", "sampler_create_speed", "sampler_create_official_speed"):
        arguments = fresh(name)
        options = c.SamplerOptions(0, 0, 1, 1, 0, 0, 0)
        setattr(options, field, value)
        arguments[-2] = options
        assert call(name, arguments) == INVALID_ARGUMENT
        assert field in message()
        assert str(value) in message()


def test_arrays_may_be_null_where_their_length_is_0() -> None:
    assert raw.sampler_draw(SAMPLER, 0, 3, 0, None, None) == OK
    assert raw.sampler_draw(SAMPLER, 0, 0, 5, None, None) == OK
    assert raw.sampler_draw_slice(SAMPLER, 0, 2, 0, 9, None, None) == OK
    assert raw.sigma_sampler_draw(SIGMA_SAMPLER, 0, 3, 0, None, None) == OK
    assert raw.sigma_sampler_draw_slice(SIGMA_SAMPLER, 0, 2, 0, 9, None, None) == OK
    assert raw.process_evaluate(PROCESS, 1, None, None, 0) == OK
    assert raw.sampler_update(LEARNER, None, None, 0) == OK
    assert raw.sampler_restore_history(SAMPLER, None, 0) == OK
    for create in (raw.schedule_create_from_betas, raw.schedule_create_from_alphas_cumprod):
        assert create(None, 0, c.schedule_p()) != OK


@pytest.mark.parametrize(
    ("first", "calls", "n"),
    [
        (-1, 1, 4),
        (-(2**63), 1, 4),
        (0, -1, 4),
        (0, 1, -1),
        (0, 1, 2**31 + 1),
        (2**63 - 1, 2, 4),
        (2**63 - 1, 2**63 - 1, 4),
        (0, 2**62, 2**31),
        (0, 2**63 - 1, 2**63 - 1),
        (1, 2**63 - 1, 1),
        (0, -(2**63), -(2**63)),
    ],
)
def test_draws_out_of_range_are_errors_and_write_nothing(first: int, calls: int, n: int) -> None:
    arguments = fresh("sampler_draw")
    arguments[1:4] = first, calls, n
    assert call("sampler_draw", arguments) == INVALID_ARGUMENT
    assert message()


def test_no_number_in_any_place_crashes_the_process() -> None:
    # In a process of its own, as a crash would take this one with it. Sizes that the arrays do not
    # have are left out: an array that is too short is the one thing no library can notice.
    script = """
        import ctypes, itertools, math
        import test_c_boundary as t
        integers = [0, -1, 1, -2**63, 2**63 - 1, 2**31, -2**31, 2**32 + 1]
        reals = [0.0, -0.0, -1.0, 1.0, math.nan, math.inf, -math.inf, 5e-324, 1.7e308, -1.7e308, 0.5]
        sized = {"count", "n", "calls", "total", "sections"}
        calls = 0
        for name in t.FALLIBLE:
            names = t.header.parameters(name)
            kinds = [type(one) for one in t.fresh(name)]
            places = [i for i, kind in enumerate(kinds) if kind in (int, float)]
            choices = [[v for v in (integers if kinds[i] is int else reals)
                        if names[i] not in sized or not 64 < v < 2**63 - 1] for i in places]
            for values in itertools.product(*choices):
                arguments = t.fresh(name)
                for place, value in zip(places, values):
                    arguments[place] = value
                sizes = [v for i, v in zip(places, values) if names[i] in ("n", "calls")]
                if min(sizes, default=0) > 0 and 64 < math.prod(sizes) < 2**64:
                    continue
                status = t.call(name, arguments)
                assert 0 <= status <= 3, (name, values, t.message())
                assert status == 0 or t.message(), (name, values)
                calls += 1
        print(calls)
    """
    path = [str(header.TESTS), str(header.TESTS.parent)]
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path}\n" + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert int(run.stdout) > 3000


def test_a_message_stays_until_the_next_failure() -> None:
    assert raw.sampling_create_asymmetric(0.5, 1, c.sampling_p()) == INVALID_ARGUMENT
    first = message()
    assert first.startswith("k must be at least 1")
    assert first.endswith("got 0.5")
    assert call("sampler_draw", fresh("sampler_draw")) == OK
    assert message() == first
    assert raw.weighting_create(b"change_aware", doubles(2.0), 1, c.weighting_p()) == INVALID_ARGUMENT
    assert message() != first
