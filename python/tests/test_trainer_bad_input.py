"""What users give trainers that is wrong: an error tells what is wrong, and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tiny_trainers import (
    CLASSES,
    INF,
    MODEL,
    NAN,
    SHAPE,
    STEPS,
    create,
    images,
    labels,
    memory,
    refuses,
    sampler,
    with_one,
)

import speediff
from speediff import DiT, NoiseSchedule, TimestepSampler

if TYPE_CHECKING:
    from collections.abc import Callable

TYPE = speediff.SpeeDiffTypeError
X, Y, T = images(), labels(), np.array([0, 7, 20, 49])
WRONG_BATCHES: dict[str, tuple[dict[str, Any], tuple[str, ...], type[Exception]]] = {
    "a list": ({"x": X.tolist()}, ("^x ", "NumPy array", "list"), TYPE),
    "float64": ({"x": X.astype(np.float64)}, ("^x ", "float32", "f8"), TYPE),
    "bytes": ({"x": X.astype(np.uint8)}, ("^x ", "float32", "u1"), TYPE),
    "big-endian": ({"x": X.astype(">f4")}, ("^x ", "byte order"), TYPE),
    "strided": ({"x": images(8)[::2]}, ("^x ", "contiguous"), TYPE),
    "Fortran order": ({"x": np.asfortranarray(X)}, ("^x ", "contiguous"), TYPE),
    "channels last": ({"x": X.transpose(0, 2, 3, 1)}, ("^x ", "contiguous"), TYPE),
    "too few planes": ({"x": X[:, :1].copy()}, ("^x ", r"\(n, 2, 8, 8\)", r"\(4, 1, 8, 8\)"), ValueError),
    "another size": ({"x": np.zeros((4, 2, 12, 12), np.float32)}, ("^x ", r"\(4, 2, 12, 12\)"), ValueError),
    "one image alone": ({"x": X[0]}, ("^x ", r"\(2, 8, 8\)"), ValueError),
    "no images": ({"x": X[:0], "y": Y[:0]}, ("^n ", "got 0"), ValueError),
    "NaN in an image": ({"x": with_one(X, 200, NAN)}, (r"^x\[200\]", "finite", "nan"), ValueError),
    "infinity in an image": ({"x": with_one(X, 511, -INF)}, (r"^x\[511\]", "finite", "-inf"), ValueError),
    "no labels": ({"y": None}, ("^y ", "given", "none"), ValueError),
    "a list of labels": ({"y": Y.tolist()}, ("^y ", "NumPy array"), TYPE),
    "labels of 32 bits": ({"y": Y.astype(np.int32)}, ("^y ", "int64", "i4"), TYPE),
    "labels as floats": ({"y": Y.astype(np.float32)}, ("^y ", "int64", "f4"), TYPE),
    "strided labels": ({"y": labels(8)[::2]}, ("^y ", "contiguous"), TYPE),
    "too few labels": ({"y": Y[:3]}, ("^y ", r"\(4,\)", r"\(3,\)"), ValueError),
    "one-hot labels": ({"y": np.eye(4, dtype=np.int64)}, ("^y ", r"\(4, 4\)"), ValueError),
    "a label too many": ({"y": with_one(Y, 2, CLASSES + 1)}, (r"^y\[2\]", r"\[0, 7\)", "got 7"), ValueError),
    "a label below 0": ({"y": with_one(Y, 3, -1)}, (r"^y\[3\]", "got -1"), ValueError),
    "a label of 2⁶²": ({"y": with_one(Y, 0, 2**62)}, (r"^y\[0\]", str(2**62)), ValueError),
    "t as floats": ({"t": T.astype(np.float32)}, ("^t ", "int64"), TYPE),
    "too few t": ({"t": T[:2]}, ("^t ", r"\(4,\)"), ValueError),
    "t of T": ({"t": with_one(T, 1, STEPS)}, (r"^t\[1\]", r"\[0, 50\)", "got 50"), ValueError),
    "t below 0": ({"t": with_one(T, 0, -1)}, (r"^t\[0\]", "got -1"), ValueError),
    "noise of one image": ({"noise": X[:1]}, ("^noise ", r"\(1, 2, 8, 8\)"), ValueError),
    "noise in float64": ({"noise": X.astype(np.float64)}, ("^noise ", "float32"), TYPE),
    "NaN in the noise": ({"noise": with_one(X, 9, NAN)}, (r"^noise\[9\]", "nan"), ValueError),
    "infinity in the noise": ({"noise": with_one(X, 0, INF)}, (r"^noise\[0\]", "inf"), ValueError),
    "weights as doubles": ({"weights": np.ones(4)}, ("^weights ", "float32"), TYPE),
    "too many weights": ({"weights": np.ones(5, np.float32)}, ("^weights ", r"\(5,\)"), ValueError),
    "NaN among the weights": (
        {"weights": np.array([1, NAN, 1, 1], np.float32)}, (r"^weights\[1\]", "nan"), ValueError
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_BATCHES)
def test_a_wrong_batch_is_an_error_and_changes_nothing(case: str) -> None:
    wrong, parts, kind = WRONG_BATCHES[case]
    arguments = {"x": X, "y": Y, **wrong}
    with create(seed=5) as trainer, create(seed=5) as untouched:
        before = memory(trainer)
        calls: list[Callable[[], Any]] = [lambda: trainer.backward(**arguments)]
        if arguments.keys() == {"x", "y"}:
            calls.append(lambda: trainer.step(**arguments))
        for call in calls:
            refuses(call, *parts, kind=TYPE if kind is TYPE else speediff.SpeeDiffValueError)
        assert memory(trainer) == before
        assert trainer.step(X, Y) == untouched.step(X, Y)
        assert memory(trainer) == memory(untouched)


def test_labels_for_a_network_without_them_are_an_error() -> None:
    with create(num_classes=None) as trainer:
        refuses(lambda: trainer.step(X, Y), "^y ", "without labels")
        refuses(lambda: trainer.forward(X, T, Y), "^y ", "without labels")
        refuses(lambda: trainer.generate(Y, steps=2), "^y ", "without labels")
        refuses(lambda: trainer.generate(steps=2), "^n must be given", kind=TYPE)
        trainer.step(X)


def test_the_null_label_exists_with_label_dropout_alone() -> None:
    null = np.full(4, CLASSES)
    with create() as trainer, create(class_dropout_prob=0.0) as plain:
        trainer.step(X, null)
        refuses(lambda: plain.step(X, null), r"^y\[0\]", r"\[0, 6\)", "got 6")
        refuses(lambda: plain.generate(Y, steps=2, cfg_scale=2.0), "^cfg_scale ", "null label", "2.0")


WRONG_FORWARDS: dict[str, tuple[dict[str, Any], tuple[str, ...], type[Exception]]] = {
    "images of another shape": ({"x_t": X[:, :1].copy()}, ("^x_t ",), speediff.SpeeDiffValueError),
    "images in float64": ({"x_t": X.astype(np.float64)}, ("^x_t ", "float32"), TYPE),
    "no images": ({"x_t": X[:0], "t": T[:0], "y": Y[:0]}, ("^n ",), speediff.SpeeDiffValueError),
    "t of another length": ({"t": T[:1]}, ("^t ",), speediff.SpeeDiffValueError),
    "t as a number": ({"t": 3}, ("^t ", "int"), TYPE),
    "t in float64": ({"t": T.astype(np.float64)}, ("^t ",), TYPE),
    "NaN as t": (
        {"t": np.array([1, 2, NAN, 4], np.float32)},
        (r"^t\[2\]", "nan"),
        speediff.SpeeDiffValueError,
    ),
    "infinite t": ({"t": np.full(4, INF, np.float32)}, (r"^t\[0\]", "inf"), speediff.SpeeDiffValueError),
    "a label too many": ({"y": Y + 4}, (r"^y\[3\]", "got 7"), speediff.SpeeDiffValueError),
    "ema as a number": ({"ema": 1}, ("^ema ", "True or False"), TYPE),
}


@pytest.mark.parametrize("case", WRONG_FORWARDS)
def test_a_wrong_input_of_the_network_is_an_error(case: str) -> None:
    wrong, parts, kind = WRONG_FORWARDS[case]
    with create() as trainer:
        refuses(lambda: trainer.forward(**{"x_t": X, "t": T, "y": Y, **wrong}), *parts, kind=kind)


def test_time_steps_of_any_size_give_finite_outputs() -> None:
    with create() as trainer:
        for t in (-1.0, 1e6, 1e10, 3e38, -3e38, 1e-40):
            assert np.isfinite(trainer.forward(X, np.full(4, t, np.float32), Y)).all()
        assert np.isfinite(trainer.forward(X, np.array([2**62, -(2**63), 0, 1]), Y)).all()


WRONG_OPTIONS: list[tuple[str, Any, str]] = [
    *[("learning_rate", value, "at least 0") for value in (-1e-9, NAN, INF, -INF)],
    *[("betas", (value, 0.9), r"betas\[0\]") for value in (-0.1, 1.0, 1.5, NAN)],
    *[("betas", (0.9, value), r"betas\[1\]") for value in (-0.1, 1.0, INF, NAN)],
    *[("eps", value, "positive") for value in (0.0, -1e-8, NAN, INF)],
    *[("weight_decay", value, "at least 0") for value in (-0.1, NAN, INF)],
    *[("ema_decay", value, r"\[0, 1\]") for value in (-0.1, 1.1, NAN, INF)],
    *[("max_grad_norm", value, "positive") for value in (0.0, -1.0, NAN, -INF)],
    *[("warmup_steps", value, "at least 0") for value in (-1, -(2**63))],
    *[("seed", value, "at least 0|below") for value in (-1, 2**64)],
    *[("threads", value, "at least 1|below") for value in (0, -1, 1025, 2**40)],
    *[("class_dropout_prob", value, r"\[0, 1\]") for value in (-0.1, 1.1, NAN)],
    *[("num_classes", value, "at least 1|must be in") for value in (0, -5, 2**24 + 1, 2**62)],
    *[("input_size", value, "must be in") for value in (0, -8, 2**15, 2**62)],
    *[("input_size", value, "multiple of patch_size = 4, got") for value in (9, 10, 30)],
    *[("in_channels", value, "must be in") for value in (0, -1, 2**13, 2**62)],
]
WRONG_TYPES: list[tuple[str, Any]] = [
    *[("learning_rate", value) for value in ("1e-4", None, [1e-4], True)],
    *[("betas", value) for value in (0.9, (0.9,), (0.9, 0.99, 0.999), "ab", None, (0.9, "b"))],
    *[("eps", "x"), ("weight_decay", None), ("ema_decay", 1j), ("max_grad_norm", "1"), ("ema_warmup", 1)],
    *[("warmup_steps", 1.5), ("warmup_steps", True), ("seed", 1.0), ("threads", 2.0), ("learn_sigma", 1)],
    *[("num_classes", 10.0), ("input_size", 8.0), ("in_channels", "2"), ("class_dropout_prob", None)],
]


@pytest.mark.parametrize(("name", "value", "rule"), WRONG_OPTIONS)
def test_an_option_out_of_range_is_an_error(name: str, value: Any, rule: str) -> None:
    refuses(lambda: create(**{name: value}), name, rule, "got ")


@pytest.mark.parametrize(("name", "value"), WRONG_TYPES)
def test_an_option_of_another_type_is_an_error(name: str, value: Any) -> None:
    refuses(lambda: create(**{name: value}), name, "must be", "got ", kind=TYPE)


WRONG_MODELS: list[tuple[dict[str, Any], str]] = [
    *[({"hidden_size": value}, "hidden_size") for value in (0, -4, 2, 18, 2**17, 2**62)],
    ({"num_heads": 3}, "num_heads = 3"),
    *[({"num_heads": value}, "num_heads") for value in (0, -1, 17)],
    *[({"depth": value}, "depth") for value in (0, -1, 4097)],
    *[({"patch_size": value}, "patch_size") for value in (0, -4, 3, 16)],
    *[({"mlp_ratio": value}, "mlp_ratio") for value in (0.0, -1.0, 1e-3, 65.0, NAN, INF)],
    *[({"frequency_shift": value}, "frequency_shift") for value in (-0.5, 1.5, NAN)],
]


@pytest.mark.parametrize(("change", "part"), WRONG_MODELS)
def test_a_network_that_cannot_be_is_an_error(change: dict[str, Any], part: str) -> None:
    refuses(lambda: create(model=DiT(**{**vars(MODEL), **change})), part, "got ")


@pytest.mark.parametrize(
    "change", [{"hidden_size": 16.0}, {"depth": "2"}, {"mlp_ratio": None}, {"num_heads": True}]
)
def test_a_network_of_other_types_is_an_error(change: dict[str, Any]) -> None:
    refuses(lambda: create(model=DiT(**{**vars(MODEL), **change})), *change, kind=TYPE)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        *[("DiT-S/3", "DiT-S/2"), ("dit-xl/2", "DiT-XL/2"), ("DiT-XL2", "DiT-XL/2"), ("DiT-B", "DiT-B/2")],
        *[
            ("DiT-L/16", "DiT-L/2|DiT-L/4|DiT-L/8"),
            ("", "DiT"),
            ("DiT-S/2\0", "DiT-S/2"),
            ("DiT-S/\udcff", "DiT-S"),
        ],
        ("x" * 10_000, "DiT"),
    ],
)
def test_an_unknown_network_is_an_error_that_names_the_nearest(name: str, nearest: str) -> None:
    refuses(lambda: create(model=name), "^model ", rf"did you mean ({nearest})")


@pytest.mark.parametrize("model", [None, 3, b"DiT-S/2", DiT, ["DiT-S/2"]])
def test_a_network_must_be_a_name_or_a_shape(model: Any) -> None:
    refuses(lambda: create(model=model), "^model ", kind=TYPE)


def test_what_draws_must_be_an_open_sampler_of_time_steps() -> None:
    closed = sampler()
    closed.close()
    refuses(lambda: create(closed), "closed", kind=speediff.SpeeDiffClosedError)
    sigmas = speediff.SigmaSampler(speediff.processes.EDM())
    for other in ("speed", 3, NoiseSchedule.linear(50), sigmas, TimestepSampler, create()):
        refuses(lambda other=other: create(other), "^sampler ", "TimestepSampler", kind=TYPE)


@pytest.mark.parametrize("how", ["close", "load_state_dict"])
def test_a_sampler_that_is_closed_or_reset_later_is_an_error(how: str) -> None:
    drawn_by = sampler()
    with create(drawn_by) as trainer:
        trainer.step(X, Y)
        state = drawn_by.state_dict()
        before = memory(trainer)
        drawn_by.close() if how == "close" else drawn_by.load_state_dict(state)
        refuses(lambda: trainer.step(X, Y), "^sampler ")
        assert memory(trainer) == before
        trainer.forward(X, T, Y)


def test_epsilon_with_a_learned_variance_needs_signal_at_the_last_step() -> None:
    flat = NoiseSchedule.linear(STEPS).zero_terminal_snr()
    refuses(lambda: create(TimestepSampler(flat)), "prediction", "learn_sigma", "epsilon")
    with create(TimestepSampler(flat), learn_sigma=False) as trainer:
        trainer.step(X, Y)
        refuses(lambda: trainer.generate(Y, steps=4), "prediction", "epsilon")


WRONG_GENERATIONS: list[tuple[dict[str, Any], str, type[Exception]]] = [
    *[({"steps": value}, "steps", speediff.SpeeDiffValueError) for value in (0, 1, 51, -1, 2**62)],
    *[({"eta": value}, "eta", speediff.SpeeDiffValueError) for value in (-0.1, NAN, INF)],
    *[({"cfg_scale": value}, "cfg_scale", speediff.SpeeDiffValueError) for value in (NAN, INF, -INF)],
    *[({"method": value}, "method", speediff.SpeeDiffValueError) for value in ("ddmp", "")],
    *[({"seed": value}, "seed", speediff.SpeeDiffValueError) for value in (-1, 2**64, [1, 2], [1, 2, 3, -1])],
    *[({"n": value}, "^n ", speediff.SpeeDiffValueError) for value in (3, -1)],
    *[({"labels": Y + 4}, r"^y\[3\]", speediff.SpeeDiffValueError)],
    *[({"labels": value}, "^labels ", TYPE) for value in ([1, 2], Y.astype(np.int32), 3)],
    *[
        ({"labels": value}, "^labels ", speediff.SpeeDiffValueError)
        for value in (Y.reshape(2, 2), np.array(3))
    ],
    *[({"steps": 2.0}, "steps", TYPE), ({"eta": "0"}, "eta", TYPE), ({"method": 1}, "method", TYPE)],
    *[({"clip": 1}, "clip", TYPE), ({"ema": None}, "ema", TYPE), ({"progress": "yes"}, "progress", TYPE)],
    *[({"seed": value}, "seed", TYPE) for value in (1.5, "a", [0.5] * 4, np.zeros((4, 2), np.int64))],
]


@pytest.mark.parametrize(("change", "part", "kind"), WRONG_GENERATIONS)
def test_a_wrong_request_for_images_is_an_error(
    change: dict[str, Any], part: str, kind: type[Exception]
) -> None:
    with create() as trainer:
        refuses(lambda: trainer.generate(**{"labels": Y, "steps": 3, **change}), part, kind=kind)


def test_no_images_may_be_asked_for() -> None:
    with create() as trainer, create(num_classes=None) as plain:
        assert trainer.generate(Y[:0], steps=3).shape == (0, *SHAPE)
        assert plain.generate(n=0, steps=3).shape == (0, *SHAPE)
        refuses(lambda: plain.generate(n=2**20 + 1, steps=3), "^n ")


def test_a_wrong_state_dict_is_an_error_and_changes_nothing() -> None:
    with create() as trainer, create(seed=1) as other:
        state, before = other.state_dict(), memory(trainer)
        name = "blocks.1.mlp.fc1.weight"
        wrong: list[tuple[Any, str, type[Exception]]] = [
            *[(value, "^state ", TYPE) for value in (None, 3, "state", list(state))],
            ({}, "missing", speediff.SpeeDiffValueError),
            ({key: value for key, value in state.items() if key != name}, name, speediff.SpeeDiffValueError),
            ({**state, "head.weight": state[name]}, "head.weight", speediff.SpeeDiffValueError),
            ({**state, 3: state[name], "a": 1}, "'3'", speediff.SpeeDiffValueError),
            ({**state, name: state[name].T}, name, TYPE),
            ({**state, name: state[name][:3]}, name, speediff.SpeeDiffValueError),
            ({**state, name: state[name].astype(np.float64)}, name, TYPE),
            ({**state, name: state[name].tolist()}, name, TYPE),
            ({**state, name: with_one(state[name], 5, NAN)}, name, speediff.SpeeDiffValueError),
            ({**state, "pos_embed": state["pos_embed"] + 1}, "pos_embed", speediff.SpeeDiffValueError),
            ({**state, "pos_embed": state["pos_embed"][0]}, "pos_embed", speediff.SpeeDiffValueError),
        ]
        for value, part, kind in wrong:
            refuses(lambda value=value: trainer.load_state_dict(value), part, kind=kind)
            assert memory(trainer) == before
        trainer.load_state_dict(state)
        assert trainer.flat_parameters.tobytes() == other.flat_parameters.tobytes()
