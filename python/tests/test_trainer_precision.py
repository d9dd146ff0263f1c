"""The precision of a trainer's products: what it changes, what it leaves alone, and how it is saved."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from checkpoint_files import rewritten
from tiny_trainers import create, images, in_a_child, labels, memory, refuses

from speediff import SpeeDiffFileError, SpeeDiffNonFiniteError, SpeeDiffTypeError, Trainer

if TYPE_CHECKING:
    from pathlib import Path

X, Y = images(), labels()
TINY = {"learning_rate": 1e-3, "seed": 3}


def trained(trainer: Trainer, steps: int = 4) -> tuple[list[float], bytes]:
    return [trainer.step(X, Y) for _ in range(steps)], memory(trainer)


def test_float32_is_the_default_and_auto_is_one_of_the_two() -> None:
    with create() as trainer, create(precision="auto") as automatic:
        assert trainer.precision == "float32"
        assert automatic.precision in ("float32", "bfloat16")


def test_other_precisions_are_errors() -> None:
    refuses(
        lambda: create(precision="float16"), "precision must be one of auto, bfloat16, float32, got 'float16'"
    )
    refuses(lambda: create(precision=16), "precision must be a name, got 16", kind=SpeeDiffTypeError)


def test_bfloat16_rounds_factors_alone() -> None:
    """Losses differ by the rounding, and what is kept is float32 and not bfloat16 in disguise."""
    with create(**TINY) as single, create(precision="bfloat16", **TINY) as half:
        assert half.precision == "bfloat16"
        losses = [trained(trainer)[0] for trainer in (single, half)]
        for field in ("parameters", "gradients", "ema_parameters", "exp_avg"):
            values = getattr(half, field)["blocks.0.mlp.fc1.weight"]
            assert values.dtype == np.float32
            assert (values.view(np.uint32) & 0xFFFF).any(), f"{field} have no more digits than bfloat16"
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[1], losses[0], rtol=2**-7)


@pytest.mark.parametrize("threads", [1, 2])
def test_runs_are_the_same_bit_for_bit(threads: int) -> None:
    runs = []
    for _ in range(2):
        with create(precision="bfloat16", threads=threads, **TINY) as trainer:
            runs.append(trained(trainer))
    assert runs[0] == runs[1]


def test_the_emulation_trains_like_the_instructions() -> None:
    script = """
        import os, sys
        os.environ["SPEEDIFF_BFLOAT16"] = "emulated"
        import zlib
        from test_trainer_precision import TINY, create, trained
        with create(precision="bfloat16", **TINY) as trainer:
            losses, bytes_ = trained(trainer)
        print([loss.hex() for loss in losses], zlib.crc32(bytes_))
    """
    with create(precision="bfloat16", **TINY) as trainer:
        losses, everything = trained(trainer)
    assert in_a_child(script) == f"{[loss.hex() for loss in losses]} {zlib.crc32(everything)}"


def test_an_unknown_path_of_the_environment_is_an_error() -> None:
    script = """
        import os
        os.environ["SPEEDIFF_BFLOAT16"] = "amx"
        from tiny_trainers import create
        create().close()
        try:
            create(precision="bfloat16")
        except Exception as error:
            print(type(error).__name__, error)
    """
    assert in_a_child(script).startswith("SpeeDiffValueError SPEEDIFF_BFLOAT16 must be ")


# ---- Files ---------------------------------------------------------------------------------------


def test_a_saved_run_keeps_its_precision(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    with create(precision="bfloat16", **TINY) as trainer:
        trained(trainer)
        trainer.save(path)
        expected = trained(trainer)
    with Trainer.load(path, threads=1) as loaded:
        assert loaded.precision == "bfloat16"
        assert trained(loaded) == expected


@pytest.mark.parametrize(("saved", "other"), [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_a_run_goes_on_in_the_other_precision_from_the_same_numbers(
    tmp_path: Path, saved: str, other: str
) -> None:
    path = tmp_path / "run.safetensors"
    with create(precision=saved, **TINY) as trainer:
        trained(trainer)
        before = memory(trainer)
        trainer.save(path)
        expected = trainer.step(X, Y)
    with Trainer.load(path, threads=1, precision=other) as loaded:
        assert (loaded.precision, memory(loaded)) == (other, before)
        loss = loaded.step(X, Y)
        assert loss != expected
        assert loss == pytest.approx(expected, rel=2**-7)
        loaded.save(path)
    with Trainer.load(path, threads=1) as again:
        assert again.precision == other


def test_files_without_a_precision_are_of_float32(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    with create(**TINY) as trainer:
        trainer.save(path)
    rewritten(path.read_bytes(), path, **{"trainer.precision": None})
    with Trainer.load(path) as loaded:
        assert loaded.precision == "float32"
    with create(**TINY) as trainer:
        trainer.save(path)
    rewritten(path.read_bytes(), path, **{"trainer.precision": "auto"})
    refuses(
        lambda: Trainer.load(path),
        "must have float32 or bfloat16 as trainer.precision",
        kind=SpeeDiffFileError,
    )


# ---- Numbers beyond bfloat16 ---------------------------------------------------------------------


def test_a_number_that_is_infinite_in_bfloat16_is_not_applied() -> None:
    name = "blocks.1.mlp.fc1.weight"
    with create(precision="bfloat16", **TINY) as trainer:
        trained(trainer)
        # Finite in float32, and beyond the largest bfloat16.
        trainer.parameters[name][0, 0] = np.float32(3.4e38)
        before = memory(trainer)
        refuses(lambda: trainer.step(X, Y), "step 4", "blocks.1.mlp", kind=SpeeDiffNonFiniteError)
        assert memory(trainer) == before
        assert trainer.global_step == 4
        trainer.parameters[name][0, 0] = 0
        assert np.isfinite(trainer.step(X, Y))


# ---- The network alone ---------------------------------------------------------------------------


def test_predictions_have_the_precision_of_the_trainer(tmp_path: Path) -> None:
    path, t = tmp_path / "run.safetensors", np.arange(len(X))
    with create(**TINY) as trainer:
        trained(trainer)
        trainer.save(path)
        expected = trainer.forward(X, t, Y)
    with Trainer.load(path, threads=1, precision="bfloat16") as half:
        difference = half.forward(X, t, Y) - expected
    # A factor is off by 2⁻⁸ at most.
    assert 0 < np.linalg.norm(difference) < 2**-7 * np.linalg.norm(expected)


def test_the_description_of_the_file_names_it(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    with create(precision="bfloat16") as trainer:
        trainer.save(path)
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header["__metadata__"]["trainer.precision"] == "bfloat16"
