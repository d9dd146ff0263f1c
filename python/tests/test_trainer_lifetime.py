"""Trainers that are closed, collected, copied, shared by threads or carried into a fork."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tiny_trainers import create, images, in_a_child, labels, memory, sampler

import speediff
from speediff import DiT, NoiseSchedule, TimestepSampler, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

X, Y = images(), labels()
USES: dict[str, Callable[[Trainer], Any]] = {
    "step": lambda trainer: trainer.step(X, Y),
    "backward": lambda trainer: trainer.backward(X, Y),
    "apply": lambda trainer: trainer.apply(),
    "forward": lambda trainer: trainer.forward(X, Y, Y),
    "generate": lambda trainer: trainer.generate(Y, steps=2),
    "save": lambda trainer: trainer.save("/nonexistent"),
    "losses": lambda trainer: trainer.losses,
    "timesteps": lambda trainer: trainer.timesteps,
    "global_step": lambda trainer: trainer.global_step,
    "learning_rate": lambda trainer: trainer.learning_rate,
    "setting the learning rate": lambda trainer: setattr(trainer, "learning_rate", 0.1),
    "ema_decay": lambda trainer: trainer.ema_decay,
    "setting the decay of the average": lambda trainer: setattr(trainer, "ema_decay", 0.9),
}
VIEWS: dict[str, Callable[[Trainer], Any]] = {
    "parameters": lambda trainer: trainer.parameters,
    "gradients": lambda trainer: trainer.gradients,
    "ema_parameters": lambda trainer: trainer.ema_parameters,
    "exp_avg": lambda trainer: trainer.exp_avg,
    "exp_avg_sq": lambda trainer: trainer.exp_avg_sq,
    "flat_parameters": lambda trainer: trainer.flat_parameters,
    "flat_gradients": lambda trainer: trainer.flat_gradients,
    "state_dict": lambda trainer: trainer.state_dict(),
    "load_state_dict": lambda trainer: trainer.load_state_dict({}),
    "with": lambda trainer: trainer.__enter__(),
}


@pytest.mark.parametrize("name", [*USES, *VIEWS])
def test_a_closed_trainer_says_so(name: str) -> None:
    trainer = create()
    trainer.step(X, Y)
    trainer.close()
    trainer.close()
    with pytest.raises(speediff.SpeeDiffClosedError, match="Trainer must be open, got a closed one"):
        {**USES, **VIEWS}[name](trainer)
    assert trainer.config.depth == 2
    assert trainer.schedule.steps == 50
    assert "Trainer" in repr(trainer)


def test_with_closes_also_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), create() as trainer:
        1 / 0  # noqa: B018
    with pytest.raises(speediff.SpeeDiffClosedError):
        trainer.step(X, Y)


@pytest.mark.parametrize("how", ["close", "del"])
def test_views_outlive_their_trainer(how: str) -> None:
    trainer = create()
    trainer.step(X, Y)
    views = [trainer.parameters, trainer.ema_parameters, trainer.exp_avg, trainer.gradients]
    flat = trainer.flat_parameters
    copies = [{name: array.copy() for name, array in view.items()} for view in views]
    trainer.close()
    if how == "del":
        gone = weakref.ref(trainer)
        del trainer
        gc.collect()
        assert gone() is None
    # Memory that was freed would be taken by these, or be gone.
    others = [create(seed=seed) for seed in range(5)]
    for view, expected in zip(views, copies, strict=True):
        for name, array in view.items():
            assert (array == expected[name]).all()
    flat[...] = 1
    assert views[0]["blocks.0.mlp.fc1.weight"].max() == 1
    del views, flat, view, array
    gc.collect()
    assert others[0].step(X, Y) > 0


def test_a_trainer_outlives_its_schedule_and_what_it_was_made_from() -> None:
    schedule = NoiseSchedule.linear(50)
    trainer = create(TimestepSampler(schedule))
    schedule.close()
    del schedule
    gc.collect()
    trainer.step(X, Y)
    trainer.generate(Y, steps=3)


def test_trainers_are_collected_and_their_memory_is_freed() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    model = DiT(hidden_size=64, depth=4, num_heads=2, patch_size=4)

    def work() -> None:
        trainer = create(model=model, threads=2)
        trainer.step(X, Y)
        with pytest.raises(speediff.SpeeDiffValueError):
            trainer.step(X[:0], Y[:0])
        gone = weakref.ref(trainer)
        del trainer
        gc.collect()
        assert gone() is None

    work()
    threads, before = len(os.listdir("/proc/self/task")), resident()
    for _ in range(8):
        work()
    # Each has 6 MB.
    assert resident() - before < 24e6
    assert len(os.listdir("/proc/self/task")) <= threads


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_copy_is_refused_and_the_original_goes_on(how: Callable[[Any], Any]) -> None:
    with create() as trainer:
        with pytest.raises(speediff.SpeeDiffTypeError, match="must not be copied"):
            how(trainer)
        gc.collect()
        trainer.step(X, Y)


def test_exit_with_an_open_trainer_is_silent() -> None:
    script = """
        import warnings
        warnings.simplefilter("error")
        import tiny_trainers as t
        trainer = t.create(threads=2)
        trainer.step(t.images(), t.labels())
        parameters = trainer.parameters
        t.create().step(t.images(), t.labels())
    """
    assert in_a_child(script) == ""


# ---- Threads -------------------------------------------------------------------------------------


class Working:
    """In its `with` block, another thread is inside the library with a trainer."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.error = trainer, None
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        many = np.zeros(64, np.int64)
        try:
            while not self._is_over:
                self.trainer.generate(many, steps=20)
        except BaseException as error:
            self.error = error

    def __enter__(self) -> Working:
        self._is_over = False
        self._thread.start()
        for _ in range(2000):
            try:
                _ = self.trainer.global_step
            except speediff.SpeeDiffBusyError:
                return self
            time.sleep(0.001)
        raise AssertionError("the thread is never inside")

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()


def test_a_trainer_in_use_by_another_thread_is_busy() -> None:
    with create() as trainer:
        trainer.backward(X, Y)
        trainer.apply()
        messages: dict[str, str] = {}
        with Working(trainer) as other:
            for _ in range(20):
                # Between two generations there is a moment in which others find it free.
                for name in USES.keys() - messages.keys():
                    try:
                        USES[name](trainer)
                    except speediff.SpeeDiffBusyError as error:
                        messages[name] = str(error)
                    except speediff.SpeeDiffError:
                        pass
        assert messages.keys() == USES.keys()
        assert all("one thread at a time" in message for message in messages.values())
        assert other.error is None or isinstance(other.error, speediff.SpeeDiffBusyError)
        assert np.isfinite(trainer.flat_parameters).all()
        assert trainer.generate(Y, steps=2).shape == X.shape


def test_threads_that_train_one_trainer_get_busy_errors_and_nothing_breaks() -> None:
    with create(threads=2) as trainer:
        steps, others = [], []

        def work() -> None:
            for _ in range(15):
                try:
                    steps.append(trainer.step(X, Y))
                except speediff.SpeeDiffBusyError:
                    pass
                except speediff.SpeeDiffValueError as error:
                    # Another thread's backward came between this one's and its apply.
                    others.append(str(error))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(message.startswith(("backward must", "apply must")) for message in others), others
        assert np.isfinite(steps).all()
        assert np.isfinite(trainer.flat_parameters).all()
        assert 0 < trainer.global_step <= 45


def test_trainers_of_their_own_run_in_threads_of_their_own() -> None:
    expected: list[bytes] = []
    for _ in range(2):
        with create(threads=2) as trainer:
            for _ in range(5):
                trainer.step(X, Y)
            expected.append(memory(trainer))
    assert expected[0] == expected[1]
    found: list[bytes] = []

    def work() -> None:
        with create(threads=2) as trainer:
            for _ in range(5):
                trainer.step(X, Y)
            found.append(memory(trainer))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected[:1] * 4


def test_closing_while_another_thread_generates_is_safe() -> None:
    trainer = create(threads=2)
    done: list[Any] = []
    many = np.zeros(64, np.int64)
    thread = threading.Thread(target=lambda: done.append(trainer.generate(many, steps=50)))
    thread.start()
    time.sleep(0.02)
    trainer.close()
    thread.join()
    assert np.isfinite(done[0]).all()


# ---- Forked processes ----------------------------------------------------------------------------

FORKED = """
    import gc, os, signal, sys, warnings
    import tiny_trainers as t
    import speediff
    warnings.simplefilter("ignore")
    x, y = t.images(), t.labels()
    with t.create(threads=2) as trainer, t.create(threads=2) as twin:
        for each in (trainer, twin):
            each.step(x, y)
        for _ in range(int(sys.argv[1])):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                uses = [
                    lambda: trainer.step(x, y), lambda: trainer.apply(), lambda: trainer.forward(x, y, y),
                    lambda: trainer.generate(y, steps=2), lambda: trainer.save("/nonexistent"),
                    lambda: trainer.global_step, lambda: trainer.learning_rate, lambda: trainer.losses,
                ]
                for use in uses:
                    try:
                        use()
                    except speediff.SpeeDiffBusyError as error:
                        assert "fork" in str(error)
                    else:
                        os._exit(3)
                assert t.memory(trainer) == t.memory(twin)
                if os.getpid() % 2:
                    trainer.close()
                with t.create(threads=2) as own:
                    own.step(x, y)
                del trainer, twin
                gc.collect()
                sys.exit(0)
            _, status = os.waitpid(pid, 0)
            assert status == 0, status
            assert trainer.step(x, y) == twin.step(x, y)
        print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork()")
def test_a_forked_child_gets_an_error_and_ends_and_the_parent_goes_on() -> None:
    assert in_a_child(FORKED, "3") == "done"


FORKED_IN_A_STEP = """
    import os, threading, warnings
    import tiny_trainers as t
    warnings.simplefilter("ignore")
    trainer, over = t.create(threads=1), False
    x, y = t.images(), t.labels()
    def work():
        while not over:
            trainer.step(x, y)
    # In a first step Swift's runtime looks up types under locks of its own, which a fork does not wait for.
    trainer.step(x, y)
    thread = threading.Thread(target=work)
    thread.start()
    statuses = []
    for _ in range(200):
        pid = os.fork()
        if pid == 0:
            with t.create(threads=1) as own:
                own.step(x, y)
            os._exit(0)
        statuses.append(os.waitpid(pid, 0)[1])
    over = True
    thread.join()
    print({status: statuses.count(status) for status in set(statuses)})
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork()")
@pytest.mark.parametrize("product", ["native", "openblas"])
def test_a_child_forked_while_another_thread_trains_has_trainers_of_its_own(
    product: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEEDIFF_MATRIX_PRODUCT", product)
    assert in_a_child(FORKED_IN_A_STEP) == "{0: 200}"


def test_a_sampler_that_learns_may_be_shared() -> None:
    shared = sampler(sampling=speediff.sampling.Adaptive(bins=10))
    with create(shared) as one, create(shared) as other:
        assert np.isfinite([one.step(X, Y), other.step(X, Y), one.step(X, Y)]).all()
