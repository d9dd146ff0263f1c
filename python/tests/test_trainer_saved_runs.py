"""Every file that is written can be loaded, and what is loaded is what was verified."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_trainers import FIELDS, INF, NAN, create, images, labels, memory, refuses, sampler

import speediff
from speediff import SpeeDiffFileError, SpeeDiffNonFiniteError, Trainer, sampling
from speediff._trainer import checkpoints

if TYPE_CHECKING:
    from collections.abc import Callable

X, Y = images(), labels()
WEIGHT = "blocks.0.attn.qkv.weight"
PREFIXES = dict(zip(FIELDS, ("", "ema.", "exp_avg.", "exp_avg_sq."), strict=True))
LARGEST = float(np.finfo(np.float32).max)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.safetensors"


# ---- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[(field, value) for field in FIELDS for value in (NAN, INF, -INF)],
        ("exp_avg_sq", -1.0),
        ("exp_avg_sq", -1e-45),
    ],
)
def test_a_number_that_load_refuses_is_not_saved(field: str, value: float, path: Path) -> None:
    with create() as trainer:
        trainer.step(X, Y)
        trainer.save(path)
        old, tensor = path.read_bytes(), getattr(trainer, field)[WEIGHT]
        good = tensor[1, 2]
        tensor[1, 2] = value
        name = rf"^{PREFIXES[field]}{WEIGHT}\[18\] must be finite".replace(".", r"\.")
        refuses(lambda: trainer.save(path), name, "got ", "max_grad_norm", kind=SpeeDiffNonFiniteError)
        assert path.read_bytes() == old
        assert list(path.parent.iterdir()) == [path]
        tensor[1, 2] = good
        trainer.save(path)
        assert path.read_bytes() == old
        trainer.step(X, Y)
        Trainer.load(path).close()


def test_a_gradient_whose_square_is_infinite_is_not_applied(path: Path) -> None:
    heavy = np.full(4, 1e25, np.float32)
    with create() as trainer, create(max_grad_norm=1.0) as clipped:
        trainer.step(X, Y)
        trainer.save(path)
        before = memory(trainer)
        trainer.backward(X, Y, weights=heavy)
        refuses(trainer.apply, "^gradient ", r"at most 1e\+19", "step 1", kind=SpeeDiffNonFiniteError)
        assert memory(trainer) == before
        assert trainer.global_step == 1
        with Trainer.load(path, threads=1) as loaded:
            assert trainer.step(X, Y) == loaded.step(X, Y)
        clipped.backward(X, Y, weights=heavy)
        clipped.apply()
        clipped.save(path)
        Trainer.load(path).close()


OVERFLOWS: list[tuple[dict[str, Any], str]] = [
    ({"learning_rate": 1e39}, "learning_rate must be at least 0 and finite in float32, got 1e"),
    ({"learning_rate": 1e38}, r"learning_rate must be finite .* divided by 1 - betas\[0\] = 0.09"),
    ({"learning_rate": 1e-4, "betas": (1 - 1e-16, 0.9), "weight_decay": 1e43}, "weight_decay"),
    ({"weight_decay": 1e39}, "weight_decay must be at least 0 and finite in float32"),
    ({"learning_rate": 1e20, "weight_decay": 1e20}, "weight_decay must be .* by learning_rate = 1e"),
    ({"eps": 1e-46}, "eps must be positive and finite in float32, got 1e-46"),
    ({"eps": 1e39}, "eps must be positive and finite in float32"),
]


@pytest.mark.parametrize(("options", "rule"), OVERFLOWS)
def test_options_that_float32_does_not_hold_are_errors(options: dict[str, Any], rule: str) -> None:
    refuses(lambda: create(**options), f"^{rule}")


@pytest.mark.parametrize("value", [1e39, 1e38, -1.0, NAN, INF])
def test_a_learning_rate_that_cannot_be_saved_cannot_be_set(value: float, path: Path) -> None:
    with create(weight_decay=0.1) as trainer:
        refuses(lambda: setattr(trainer, "learning_rate", value), "^learning_rate ", "got ")
        assert trainer.learning_rate == 1e-4
        trainer.step(X, Y)
        trainer.save(path)
        Trainer.load(path).close()


numbers = st.sampled_from([0.0, -0.0, 1e-45, -1.0, 1.0, 1e19, LARGEST, -LARGEST, INF, -INF, NAN])
options = st.fixed_dictionaries(
    {},
    optional={
        "learning_rate": st.floats(0),
        "betas": st.tuples(st.floats(0, 1), st.floats(0, 1)),
        "eps": st.floats(0),
        "weight_decay": st.floats(0),
        "ema_decay": st.floats(0, 1),
        "ema_warmup": st.booleans(),
        "max_grad_norm": st.floats(0),
        "warmup_steps": st.integers(0, 2**63 - 1),
        "seed": st.integers(0, 2**64 - 1),
    },
)


@settings(deadline=None, max_examples=100)
@given(options, st.integers(0, 2**32 + 1), st.sampled_from(FIELDS), numbers, st.booleans())
def test_whatever_save_writes_is_loaded(
    options: dict[str, Any], step: int, field: str, number: float, steps: bool
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.safetensors"
        try:
            with create(**options) as trainer:
                trainer.global_step = step
                getattr(trainer, field)[WEIGHT][0, 0] = number
                if steps:
                    trainer.step(X, Y)
                trainer.save(path)
                before = memory(trainer), trainer.global_step, trainer.learning_rate
        except (speediff.SpeeDiffValueError, SpeeDiffNonFiniteError):
            assert not list(Path(folder).iterdir())
        else:
            with Trainer.load(path, threads=1) as loaded:
                assert (memory(loaded), loaded.global_step, loaded.learning_rate) == before


def test_positions_that_were_changed_come_back(path: Path) -> None:
    with create() as trainer:
        positions = trainer._open_handle().buffer(speediff._native.c_training.BUFFER_POS_EMBED)
        positions[::3] += 0.5
        trainer.save(path)
        with Trainer.load(path, threads=1) as loaded:
            assert loaded.state_dict()["pos_embed"].tobytes() == positions.tobytes()
            assert loaded.step(X, Y) == trainer.step(X, Y)


# ---- A file that changes while it is read --------------------------------------------------------


def two_runs(path: Path) -> tuple[bytes, bytes]:
    """The files of a run at two steps, of one size."""
    with create(sampler(sampling=sampling.Adaptive(bins=5))) as trainer:
        saved = []
        for _ in range(2):
            trainer.step(X, Y)
            trainer.save(path)
            saved.append(path.read_bytes())
    assert len(saved[0]) == len(saved[1])
    return saved[0], saved[1]


def written_over(path: Path, content: bytes, start: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content[start:])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.9])
def test_a_file_that_is_written_over_while_it_is_loaded_is_no_mixture(share: float, path: Path) -> None:
    first, second = two_runs(path)
    path.write_bytes(first)
    checkpoint = checkpoints.Checkpoint(path)
    restored = sampler(sampling=sampling.Adaptive(bins=5))
    restored.update(np.arange(0, 50, 7), np.ones(8, np.float32))
    history = restored._open_handle().history().tobytes()
    written_over(path, second, int(share * len(second)))
    refuses(
        lambda: checkpoint.trainer(restored, 1),
        f"^{path} must match its checksums",
        "written while",
        kind=SpeeDiffFileError,
    )
    assert restored._open_handle().history().tobytes() == history


def test_a_file_that_is_cut_while_it_is_loaded_is_an_error(path: Path) -> None:
    first, _ = two_runs(path)
    checkpoint = checkpoints.Checkpoint(path)
    made_anew = checkpoint.sampler(0, 1)
    for size in (len(first) - 1, len(first) // 2, 100, 0):
        with path.open("r+b") as file:
            file.truncate(size)
        refuses(
            lambda: checkpoint.trainer(made_anew, 1), "it was cut while it was open", kind=SpeeDiffFileError
        )


def test_a_file_that_is_replaced_while_it_is_loaded_is_the_old_one(path: Path) -> None:
    first, second = two_runs(path)
    path.write_bytes(first)
    checkpoint = checkpoints.Checkpoint(path)
    made_anew = checkpoint.sampler(0, 1)
    path.with_name("new").write_bytes(second)
    path.with_name("new").replace(path)
    assert checkpoint.trainer(made_anew, 1).global_step() == 1
    assert Trainer.load(path).global_step == 2


def test_a_header_that_is_written_over_is_an_error(path: Path) -> None:
    first, second = two_runs(path)
    header = 8 + int.from_bytes(first[:8], "little")
    # From within the header on: its beginning is that of the one file, its end that of the other.
    place = next(i for i in range(header) if first[i] != second[i]) + 1
    assert first[place:header] != second[place:header]
    calls: list[Callable[[], Any]] = [lambda: Trainer.load(path), lambda: checkpoints.Checkpoint(path)]
    path.write_bytes(first[:place] + second[place:])
    for call in calls:
        refuses(call, "must match its checksums, got a header", kind=SpeeDiffFileError)
