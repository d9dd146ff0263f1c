"""Steps that cannot be done: for lack of micro-batches, of finite numbers, of memory."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest
from tiny_trainers import (
    INF,
    MODEL,
    NAN,
    SHAPE,
    STEPS,
    create,
    images,
    in_a_child,
    labels,
    memory,
    refuses,
    sampler,
)

import speediff
from speediff import DiT

X, Y = images(), labels()

# ---- Batches of another size ---------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(4, 16, 2), (16, 2, 16), (1, 5, 3), (3, 64, 1)])
def test_a_batch_of_another_size_gives_what_a_fresh_trainer_gives(sizes: tuple[int, ...]) -> None:
    with create(seed=2, threads=2) as trainer:
        for n in sizes:
            x, y, times = images(n), labels(n), np.arange(n) % STEPS
            state = trainer.state_dict()
            with create(seed=2, threads=2) as fresh:
                fresh.load_state_dict(state)
                # Without moments and steps, the first half of a step is all that can be compared.
                arguments = {"t": times, "noise": x[::-1].copy()}
                loss = trainer.backward(x, y, **arguments)
                assert loss == pytest.approx(fresh.backward(x, y, **arguments), rel=1e-6)
                largest = np.abs(fresh.flat_gradients).max()
                assert np.abs(trainer.flat_gradients - fresh.flat_gradients).max() <= 1e-5 * largest
                out, expected = (one.forward(x, times, y) for one in (trainer, fresh))
                assert np.abs(out - expected).max() <= 1e-6 * max(np.abs(expected).max(), 1)
            trainer.apply()
            assert trainer.losses.shape == trainer.timesteps.shape == (n,) or n < max(sizes)


# ---- Accumulation --------------------------------------------------------------------------------


def test_micro_batches_must_be_all_there_and_no_more() -> None:
    with create(sampler(accumulation=3)) as trainer, create(sampler(accumulation=3)) as untouched:
        refuses(trainer.apply, "^apply ", "3 calls", "got 0")
        for done in range(3):
            trainer.backward(X, Y)
            if done < 2:
                refuses(trainer.apply, "^apply ", "3 calls", f"got {done + 1}")
                refuses(lambda: trainer.backward(X[:2], Y[:2]), "^n must be 4", "got 2")
                refuses(lambda: trainer.backward(images(8), labels(8)), "^n must be 4", "got 8")
            refuses(
                lambda: trainer.save("/nonexistent/x"), "^save ", "between steps", f"{done + 1} micro-batches"
            )
        refuses(lambda: trainer.backward(X, Y), "^backward ", "3 micro-batches")
        trainer.apply()
        refuses(trainer.apply, "got 0")
        for _ in range(3):
            untouched.backward(X, Y)
        untouched.apply()
        assert memory(trainer) == memory(untouched)
        refuses(lambda: trainer.step(X, Y), "multiple of accumulation = 3", "got 4")
        trainer.step(images(3), labels(3))
        assert trainer.global_step == 2


def test_images_may_be_looked_at_between_micro_batches() -> None:
    with create(sampler(accumulation=2), seed=1) as one, create(sampler(accumulation=2), seed=1) as other:
        for trainer in (one, other):
            trainer.backward(X, Y)
            if trainer is one:
                one.generate(labels(40), steps=2)
                one.forward(images(50), np.zeros(50, np.int64), labels(50))
            trainer.backward(X, Y)
            trainer.apply()
        assert memory(one) == memory(other)


# ---- What is not finite --------------------------------------------------------------------------

POISON = {
    "x_embedder.proj.weight": (NAN, "the parameter x_embedder.proj.weight"),
    "y_embedder.embedding_table.weight": (NAN, "the parameter y_embedder.embedding_table.weight"),
    "blocks.1.mlp.fc1.bias": (INF, "the parameter blocks.1.mlp.fc1.bias"),
    "final_layer.linear.bias": (-INF, "the parameter final_layer.linear.bias"),
    "blocks.0.attn.qkv.weight": (3e38, "the output of blocks.0.attn.qkv"),
    "blocks.1.mlp.fc2.weight": (3e38, "the output of blocks.1.mlp"),
}
"""Values of parameters, and where something is not finite first."""


@pytest.mark.parametrize("name", POISON)
def test_a_loss_that_is_not_finite_names_the_tensor_where_it_began(name: str) -> None:
    value, place = POISON[name]
    with create(seed=4) as trainer, create(seed=4) as untouched:
        for each in (trainer, untouched):
            each.step(X, Y)
        parameter = trainer.parameters[name]
        good = parameter.copy()
        parameter[...] = value
        before = memory(trainer)
        parts = "^loss must be finite, got", "at step 1", re.escape(place), "not applied"
        refuses(lambda: trainer.step(X, Y), *parts, kind=speediff.SpeeDiffNonFiniteError)
        assert memory(trainer) == before
        refuses(trainer.apply, "got 0")
        assert trainer.global_step == 1
        parameter[...] = good
        assert trainer.step(X, Y) == untouched.step(X, Y)
        assert memory(trainer) == memory(untouched)


def test_a_gradient_that_is_not_finite_is_not_applied() -> None:
    with (
        create(sampler(accumulation=2), seed=4) as trainer,
        create(sampler(accumulation=2), seed=4) as untouched,
    ):
        trainer.backward(X, Y)
        trainer.backward(X, Y)
        trainer.gradients["blocks.1.attn.proj.weight"][0, 0] = NAN
        trainer.gradients["blocks.0.attn.proj.weight"][0, 0] = NAN
        before = memory(trainer)
        parts = "^gradient must be finite", "step 0", r"blocks\.1\.attn\.proj\.weight", "not applied"
        refuses(trainer.apply, *parts, kind=speediff.SpeeDiffNonFiniteError)
        assert memory(trainer) == before
        x, y = images(8), labels(8)
        assert trainer.step(x, y) == untouched.step(x, y)
        assert memory(trainer) == memory(untouched)


def test_images_that_are_too_large_are_the_losses_fault() -> None:
    with create() as trainer:
        before = memory(trainer)
        huge = np.full((4, *SHAPE), 3e38, np.float32)
        refuses(lambda: trainer.step(huge, Y), "loss", "step 0", kind=speediff.SpeeDiffNonFiniteError)
        assert memory(trainer) == before
        assert np.isfinite(trainer.step(X, Y))


def test_a_sampler_learns_nothing_from_a_step_that_was_not_applied() -> None:
    drawn_by = sampler(sampling="loss_second_moment")
    with create(drawn_by) as trainer:
        trainer.step(X, Y)
        state = drawn_by.state_dict()
        trainer.parameters["final_layer.linear.bias"][...] = NAN
        with pytest.raises(speediff.SpeeDiffNonFiniteError):
            trainer.step(X, Y)
        assert drawn_by.state_dict() == state


# ---- Memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({"hidden_size": 65536, "depth": 4096, "num_heads": 16, "mlp_ratio": 64.0}, {}),
        ({"hidden_size": 65536, "depth": 4096}, {}),
        ({"hidden_size": 65536, "patch_size": 16}, {"input_size": 16384, "in_channels": 4096}),
        ({"patch_size": 16384, "hidden_size": 65536}, {"input_size": 16384, "in_channels": 4096}),
        ({"hidden_size": 65536}, {"num_classes": 2**24}),
    ],
)
def test_a_network_beyond_any_machine_is_a_memory_error(
    change: dict[str, Any], options: dict[str, Any]
) -> None:
    model = DiT(**{**vars(MODEL), **change})
    refuses(lambda: create(model=model, **options), "memory", "GB", kind=speediff.SpeeDiffMemoryError)


def test_a_batch_beyond_any_machine_is_a_memory_error_and_training_goes_on() -> None:
    model = DiT(hidden_size=256, depth=1, num_heads=2, patch_size=1, mlp_ratio=64.0)
    with create(model=model, input_size=16, in_channels=1, num_classes=None) as trainer:
        x = np.zeros((2**17, 1, 16, 16), np.float32)
        for _ in range(2):
            refuses(lambda: trainer.step(x), "memory", "GB", kind=speediff.SpeeDiffMemoryError)
            refuses(
                lambda: trainer.forward(x, np.zeros(len(x), np.float32)),
                *("memory", "GB"),
                kind=speediff.SpeeDiffMemoryError,
            )
            step = trainer.global_step
            trainer.step(x[:1])
            assert trainer.global_step == step + 1


def test_there_are_at_most_a_million_images() -> None:
    model = DiT(hidden_size=4, depth=1, num_heads=1, patch_size=1)
    with create(model=model, input_size=1, in_channels=1, num_classes=None) as trainer:
        refuses(lambda: trainer.step(np.zeros((2**20 + 1, 1, 1, 1), np.float32)), "^n ", "got 1048577")


def test_images_beyond_any_machine_are_a_memory_error() -> None:
    model = DiT(hidden_size=4, depth=1, num_heads=1, patch_size=1024)
    with create(model=model, input_size=16384, in_channels=1, num_classes=None, learn_sigma=False) as trainer:
        refuses(lambda: trainer.generate(n=2**20, steps=2), "memory", kind=speediff.SpeeDiffMemoryError)


LIMITED_LATER = """
    import resource, signal
    import tiny_trainers as t
    signal.alarm(20)
    trainer = t.create(threads=2)
    size = int(open("/proc/self/statm").read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (size + (16 << 20), resource.RLIM_INFINITY))
    try:
        trainer.step(t.images(), t.labels())
    except t.speediff.SpeeDiffMemoryError:
        pass
    print("done")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
@pytest.mark.parametrize("product", ["native", "openblas"])
def test_a_limit_set_after_the_trainer_was_made_does_not_hang_a_step(
    product: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenBLAS waits for memory for its buffers, so it has them from the start."""
    monkeypatch.setenv("SPEEDIFF_MATRIX_PRODUCT", product)
    assert in_a_child(LIMITED_LATER) == "done"


LIMITED = """
    import resource, sys
    import numpy as np
    import tiny_trainers as t
    from speediff import SpeeDiffMemoryError
    x, y = np.zeros((32, 2, 64, 64), np.float32), np.zeros(32, np.int64)
    model = t.DiT(hidden_size=64, depth=4, num_heads=4, patch_size=4)
    tried = t.create()
    tried.step(t.images(), t.labels())
    size = int(open("/proc/self/statm").read().split()[0]) * 4096
    outcomes = []
    for megabytes in map(int, sys.argv[1:]):
        resource.setrlimit(resource.RLIMIT_AS, (size + (megabytes << 20), resource.RLIM_INFINITY))
        try:
            with t.create(model=model, input_size=64, threads=2) as trainer:
                trainer.step(x, y)
        except SpeeDiffMemoryError:
            outcomes.append("error")
        else:
            outcomes.append("ok")
        tried.step(t.images(), t.labels())
    print(" ".join(outcomes))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
def test_a_process_that_may_have_no_more_memory_gets_an_error_and_goes_on() -> None:
    found = in_a_child(LIMITED, "1", "10", "40", "100000").split()
    assert found[:3] == ["error"] * 3
    assert found[-1] == "ok"


def test_a_step_that_fails_in_a_later_micro_batch_begins_anew() -> None:
    with create(sampler(accumulation=2)) as trainer, create(sampler(accumulation=2)) as undisturbed:
        x, y = images(), labels()
        with pytest.raises(speediff.SpeeDiffValueError, match=r"y\[1\] must be in"):
            trainer.step(x, np.array([0, 1, 2, 99]))
        assert trainer.step(x, y) == undisturbed.step(x, y)
        assert trainer.global_step == 1
