"""The C functions as a C program calls them: status codes, messages, and nothing written on failure."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import textwrap

import header
import pytest
from c_calls import (
    BATCH,
    DESTROY,
    FALLIBLE,
    HOW_TO_GENERATE,
    IMAGES,
    INVALID_ARGUMENT,
    LEARNER,
    NULL_POINTER,
    NULLABLE,
    OK,
    PROCESS,
    SAMPLER,
    SCHEDULE,
    SIGMA_SAMPLER,
    TRAINER,
    VALID,
    WRONG_COUNT,
    begin_step,
    call,
    doubles,
    fresh,
    message,
    raw,
)

from speediff._native import c_api as c
from speediff._native import c_training as ct

PARAMETERS = [
    pytest.param(name, place, id=f"{name}-{parameter}")
    for name in FALLIBLE
    for place, parameter in enumerate(header.parameters(name))
]


def test_every_fallible_function_of_the_header_is_tested_here() -> None:
    assert {name.removeprefix("speediff_") for name in FALLIBLE} == set(VALID)


@pytest.mark.parametrize("name", FALLIBLE)
def test_valid_arguments_succeed(name: str) -> None:
    assert call(name, fresh(name)) == OK, message()


@pytest.mark.parametrize(("name", "place"), PARAMETERS)
def test_a_null_pointer_is_an_error_that_names_the_argument(name: str, place: int) -> None:
    if not header.is_pointer(name, place) or header.parameters(name)[place] in NULLABLE.get(name, ()):
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
    assert message().startswith("table must be a value of speediff_table, got ")
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
    assert raw.sampler_history(SAMPLER, None, 0) == OK
    assert raw.sampler_restore_history(SAMPLER, None, 0) == OK
    assert raw.fdm_input_scale(0.002, 80.0, 2.0, None, None, 0) == OK
    assert raw.trainer_generate(TRAINER, None, None, 0, HOW_TO_GENERATE, ct.progress_p(), None, None) == OK
    for create, handle in ((raw.sampling_create, c.sampling_p), (raw.weighting_create, c.weighting_p)):
        assert create(b"uniform", None, 0, handle()) == OK
    assert raw.weighting_create_to_emphasis(None, None, 0, c.weighting_p()) == OK
    begin_step()
    empty = ct.TrainingBatch(BATCH.size, IMAGES, None, 0)
    empty.total = 4
    assert raw.trainer_backward(TRAINER, empty, ctypes.c_double()) == OK
    assert raw.trainer_last_losses(TRAINER, None, None, 0) == OK
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
        import c_calls as t
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
                assert 0 <= status <= 10 and status != t.INTERNAL, (name, values, t.message())
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
