"""What the top of the header says of trainers: who may call them when, and what a failure leaves behind."""

from __future__ import annotations

import ctypes
import math
import os
from typing import TYPE_CHECKING

import pytest
from c_calls import (
    BATCH,
    FALLIBLE,
    HOW_TO_GENERATE,
    HOW_TO_TRAIN,
    NETWORK,
    OK,
    SAMPLER,
    begin_step,
    fresh,
    made,
    raw,
)

from speediff._native import c_training as ct

if TYPE_CHECKING:
    from collections.abc import Callable

BUSY, NOT_FINITE, CANCELLED = 8, 7, 9
AT_ANY_TIME = {"trainer_network", "trainer_parameter_count", "trainer_parameter", "trainer_buffer"}
OF_TRAINERS = [
    name.removeprefix("speediff_")
    for name in FALLIBLE
    if name.startswith("speediff_trainer_") and name != "speediff_trainer_create"
]


EXPECTED = {name: OK if name in AT_ANY_TIME else BUSY for name in OF_TRAINERS}


def outcomes(trainer: ct.Trainer) -> Callable[[], dict[str, int]]:
    """Gives the status of every function that takes a trainer, with arguments that are valid."""
    calls = {name: (trainer, *fresh(f"speediff_{name}")[1:]) for name in OF_TRAINERS}
    return lambda: {name: getattr(raw, name)(*arguments) for name, arguments in calls.items()}


def test_only_four_functions_of_a_trainer_may_be_called_while_another_one_runs() -> None:
    trainer = made(ct.trainer_p, "trainer_create", NETWORK, HOW_TO_TRAIN, SAMPLER)
    seen: list[dict[str, int]] = []
    look_at = outcomes(trainer)

    @ct.progress_p
    def look(context: int | None, done: int, total: int) -> int:
        seen.append(look_at())
        return 0

    out = (ctypes.c_float * 32)()
    seeds = (ctypes.c_uint64 * 2)(3, 4)
    status = raw.trainer_generate(trainer, None, seeds, 2, HOW_TO_GENERATE, look, None, out)
    assert status == CANCELLED
    assert any(out), "unfinished images were written"
    assert seen == [EXPECTED]
    raw.trainer_destroy(trainer)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork()")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_may_only_look_at_a_trainer_destroy_it_and_make_its_own() -> None:
    trainer = made(ct.trainer_p, "trainer_create", NETWORK, HOW_TO_TRAIN, SAMPLER)
    look_at = outcomes(trainer)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            found = look_at()
            raw.trainer_destroy(trainer)
            own = made(ct.trainer_p, "trainer_create", NETWORK, HOW_TO_TRAIN, SAMPLER)
            loss = ctypes.c_double()
            works = raw.trainer_backward(own, BATCH, loss) == OK and math.isfinite(loss.value)
            status = 0 if found == EXPECTED and works else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert raw.trainer_backward(trainer, BATCH, ctypes.c_double()) == OK
    raw.trainer_destroy(trainer)


def test_after_a_loss_that_is_not_finite_the_step_begins_anew() -> None:
    trainer = made(ct.trainer_p, "trainer_create", NETWORK, HOW_TO_TRAIN, SAMPLER)
    loss = ctypes.c_double(5.0)
    huge = ct.TrainingBatch(
        BATCH.size, (ctypes.c_float * 32)(*[3e38] * 32), None, 2, None, (ctypes.c_float * 32)(*[-3e38] * 32)
    )
    assert raw.trainer_backward(trainer, huge, loss) == NOT_FINITE
    assert loss.value == 5.0
    assert raw.trainer_apply(trainer, None) != OK, "there is no micro-batch to apply"
    assert raw.trainer_backward(trainer, BATCH, loss) == OK
    assert raw.trainer_apply(trainer, None) == OK
    raw.trainer_destroy(trainer)


def test_a_refused_batch_changes_nothing() -> None:
    begin_step()
    trainer = made(ct.trainer_p, "trainer_create", NETWORK, HOW_TO_TRAIN, SAMPLER)
    loss, gradients, count = ctypes.c_double(), ctypes.POINTER(ctypes.c_float)(), ctypes.c_int64()
    assert raw.trainer_backward(trainer, BATCH, loss) == OK
    assert raw.trainer_buffer(trainer, ct.BUFFER_GRADIENTS, gradients, count) == OK
    before = gradients[: count.value]
    wrong = ct.TrainingBatch(BATCH.size, BATCH.x, None, 2, (ctypes.c_int64 * 2)(1, 50))
    assert raw.trainer_discard(trainer) == OK
    assert raw.trainer_backward(trainer, wrong, loss) not in (OK, BUSY)
    assert gradients[: count.value] == before
    raw.trainer_destroy(trainer)
