"""The trainer's weights and files in PyTorch's hands, and back; and how they start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from initial_values import assert_no_two_alike, assert_official_start
from reference_dit import DiT, random_weights, randomize, sincos_positions
from reference_training import assert_arrays_agree
from safetensors import safe_open
from safetensors.numpy import load_file

import speediff
from speediff import TimestepSampler

if TYPE_CHECKING:
    from pathlib import Path

    from speediff import NoiseSchedule

SIZES: dict[str, Any] = {"hidden_size": 48, "depth": 2, "num_heads": 3, "patch_size": 4, "mlp_ratio": 2.5}
OPTIONS: dict[str, dict[str, Any]] = {
    "with classes": {"num_classes": 7},
    "unconditional": {"num_classes": None},
    "no label dropout": {"num_classes": 7, "class_dropout_prob": 0.0},
    "no learned variance": {"num_classes": 7, "learn_sigma": False},
}
IMAGES: dict[str, Any] = {"input_size": 16, "in_channels": 3}


def create(linear: NoiseSchedule, name: str, **more: Any) -> speediff.Trainer:
    options = {**IMAGES, **OPTIONS[name], **more}
    return speediff.Trainer(speediff.DiT(**SIZES), TimestepSampler(linear), **options)


def create_reference(name: str) -> DiT:
    return DiT(**SIZES, **IMAGES, **OPTIONS[name])


def inputs(name: str) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(0)
    y = None if OPTIONS[name]["num_classes"] is None else np.array([0, 6, 3, 3])
    return random.normal(size=(4, 3, 16, 16)).astype(np.float32), np.array([0, 999, 400, 401]), y


def output_of(model: DiT, name: str) -> Any:
    with torch.no_grad():
        x, t, y = (None if array is None else torch.from_numpy(array) for array in inputs(name))
        return model.double()(x.double(), t, y).numpy()


def as_tensors(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(value) for key, value in state.items()}


@pytest.mark.parametrize("ema", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_state_dict_is_that_of_the_official_network(linear: NoiseSchedule, name: str, ema: bool) -> None:
    model = create_reference(name)
    with create(linear, name) as trainer:
        randomize(trainer, **{k: v for k, v in OPTIONS[name].items() if k == "class_dropout_prob"})
        state = trainer.state_dict(ema=ema)
        output = trainer.forward(*inputs(name), ema=ema)
        arrays = trainer.ema_parameters if ema else trainer.parameters
        assert all((state[key] == array).all() for key, array in arrays.items())
        assert set(state) == {*arrays, "pos_embed"}
        assert not any(np.shares_memory(state[key], array) for key, array in arrays.items())
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert {key: value.shape for key, value in state.items()} == expected
    assert all(value.dtype == np.float32 for value in state.values())
    model.load_state_dict(as_tensors(state), strict=True)
    assert_arrays_agree(output, output_of(model, name), 1e-4, "output")


@pytest.mark.parametrize("name", OPTIONS)
def test_a_trainer_takes_the_state_dict_of_the_official_network(linear: NoiseSchedule, name: str) -> None:
    model = create_reference(name)
    weights = as_tensors(random_weights(model, 3))
    model.load_state_dict({**model.state_dict(), **weights})
    state = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    with create(linear, name) as trainer:
        trainer.load_state_dict(state)
        output, back = trainer.forward(*inputs(name)), trainer.state_dict()
        assert all((trainer.parameters[key] == value.numpy()).all() for key, value in weights.items())
    assert all((back[key] == state[key]).all() for key in weights)
    assert_arrays_agree(output, output_of(model, name), 1e-4, "output")


@pytest.mark.parametrize("name", OPTIONS)
def test_a_file_is_read_by_safetensors_and_loads_into_the_official_network(
    linear: NoiseSchedule, name: str, tmp_path: Path
) -> None:
    path, model = tmp_path / "run.safetensors", create_reference(name)
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    with create(linear, name) as trainer:
        randomize(trainer, **{k: v for k, v in OPTIONS[name].items() if k == "class_dropout_prob"})
        trainer.save(str(path))
        output = trainer.forward(*inputs(name))
    with safe_open(path, "numpy") as file:
        assert {key: file.get_slice(key).get_shape() for key in file.keys() if key in shapes} == shapes  # noqa: SIM118
    tensors = load_file(path)
    model.load_state_dict(as_tensors({key: tensors[key] for key in shapes}), strict=True)
    assert_arrays_agree(output, output_of(model, name), 1e-4, "output")
    with speediff.Trainer.load(str(path)) as loaded:
        assert loaded.forward(*inputs(name)).tobytes() == output.tobytes()
        assert loaded.config == speediff.DiT(**SIZES)


# ---- The official initialization -----------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2**63 + 1])
def test_the_start_is_the_official_initialization(linear: NoiseSchedule, seed: int) -> None:
    with create(linear, "with classes", seed=seed) as trainer:
        assert_official_start(trainer.parameters)


def test_no_two_tensors_start_alike(linear: NoiseSchedule) -> None:
    with create(linear, "with classes") as trainer:
        assert_no_two_alike(trainer.parameters)
        rows = trainer.parameters["blocks.0.attn.qkv.weight"]
        assert len(np.unique(rows)) > 0.999 * rows.size


@pytest.mark.parametrize(("input_size", "patch_size"), [(16, 4), (28, 4), (6, 6), (32, 2)])
def test_positions_are_the_official_ones(linear: NoiseSchedule, input_size: int, patch_size: int) -> None:
    model = speediff.DiT(hidden_size=72, depth=1, num_heads=4, patch_size=patch_size)
    sampler = TimestepSampler(linear)
    with speediff.Trainer(model, sampler, input_size=input_size, in_channels=1, num_classes=None) as trainer:
        positions = trainer.state_dict()["pos_embed"]
    expected = sincos_positions(72, input_size // patch_size)[None]
    assert positions.shape == expected.shape
    assert np.abs(positions - expected).max() < 2e-7


@pytest.mark.parametrize("name", ["DiT-S/2", "DiT-S/8"])
def test_named_models_have_the_official_shapes(linear: NoiseSchedule, name: str) -> None:
    """And the 33 million parameters of Peebles and Xie 2023, Table 4."""
    with torch.device("meta"):
        model = DiT.named(name)
    expected = {key: tuple(p.shape) for key, p in model.named_parameters() if p.requires_grad}
    with speediff.Trainer(name, TimestepSampler(linear)) as trainer:
        assert {key: value.shape for key, value in trainer.parameters.items()} == expected
        assert round(sum(value.size for value in trainer.parameters.values()) / 1e6) == 33
