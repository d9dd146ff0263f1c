"""The weights and files of an MDT's trainer in PyTorch's hands, and back; and how they start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from initial_values import assert_no_two_alike, assert_official_start
from mdt_trainers import MODELS, create, images
from reference_dit import sincos_positions
from reference_mdt import MDT, load, random_weights, randomize, twin
from reference_training import assert_arrays_agree
from safetensors.numpy import load_file

import speediff

if TYPE_CHECKING:
    from pathlib import Path

    from speediff import NoiseSchedule

PLACES = ("pos_embed", "decoder_pos_embed")
T = np.array([0, 999, 400])


def output_of(model: MDT, trainer: speediff.Trainer) -> np.ndarray:
    x, y = images(trainer, 3, 0)
    with torch.no_grad():
        inputs = (torch.from_numpy(array) for array in (x.astype(np.float64), T, y))
        return model.double()(*inputs).numpy()


def output(trainer: speediff.Trainer, *, ema: bool = False) -> np.ndarray:
    x, y = images(trainer, 3, 0)
    return trainer.forward(x, T, y, ema=ema)


@pytest.mark.parametrize("num_classes", [10, None])
@pytest.mark.parametrize("version", MODELS)
def test_every_parameter_is_trained_and_has_its_official_name_and_shape(
    linear: NoiseSchedule, version: int, num_classes: int | None
) -> None:
    with create(linear, version, num_classes=num_classes) as trainer:
        expected = {name: tuple(value.shape) for name, value in twin(trainer).named_parameters()}
        for arrays in (trainer.parameters, trainer.gradients, trainer.ema_parameters):
            assert {name: value.shape for name, value in arrays.items()} == expected


@pytest.mark.parametrize("ema", [False, True])
@pytest.mark.parametrize("version", MODELS)
def test_a_state_dict_is_that_of_the_official_network(linear: NoiseSchedule, version: int, ema: bool) -> None:
    with create(linear, version) as trainer:
        randomize(trainer)
        assert_arrays_agree(output(trainer, ema=ema), output_of(twin(trainer, ema=ema), trainer), 1e-4)
        arrays = trainer.ema_parameters if ema else trainer.parameters
        state = trainer.state_dict(ema=ema)
        assert all((state[name] == array).all() for name, array in arrays.items())
        assert not any(np.shares_memory(state[name], array) for name, array in arrays.items())


@pytest.mark.parametrize("indices", [False, True])
@pytest.mark.parametrize("version", MODELS)
def test_a_trainer_takes_the_state_dict_of_the_official_network(
    linear: NoiseSchedule, version: int, indices: bool
) -> None:
    """With the indices of relative positions, which PyTorch saves, or without them."""
    with create(linear, version) as trainer:
        model = twin(trainer, torch.float32)
        weights = random_weights(model, 3)
        load(model, weights)
        state = {name: value.numpy().copy() for name, value in model.state_dict().items()}
        assert set(state) > set(weights)
        trainer.load_state_dict(state if indices else weights)
        assert all((trainer.parameters[name] == value).all() for name, value in weights.items())
        assert_arrays_agree(output(trainer), output_of(model, trainer), 1e-4)


@pytest.mark.parametrize("version", MODELS)
def test_a_file_loads_into_the_official_network_and_into_a_trainer(
    linear: NoiseSchedule, version: int, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    with create(linear, version) as trainer:
        randomize(trainer)
        trainer.step(*images(trainer, 4, 1))
        trainer.save(path)
        model, tensors = twin(trainer, torch.float32), load_file(path)
        load(model, {name: tensors[name] for name in model.state_dict() if name in tensors})
        assert_arrays_agree(output(trainer), output_of(model, trainer), 1e-4)
        with speediff.Trainer.load(path) as loaded:
            assert loaded.config == trainer.config
            assert output(loaded).tobytes() == output(trainer).tobytes()
            losses = [one.step(*images(trainer, 4, 2)) for one in (trainer, loaded)]
            assert losses[0] == losses[1]
            assert loaded.flat_parameters.tobytes() == trainer.flat_parameters.tobytes()


# ---- The official initialization -----------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2**63 + 1])
@pytest.mark.parametrize("version", MODELS)
def test_the_start_is_the_official_initialization(linear: NoiseSchedule, version: int, seed: int) -> None:
    with create(linear, version, model={"hidden_size": 48, "num_heads": 3}, seed=seed) as trainer:
        random = {name: value for name, value in trainer.parameters.items() if name not in PLACES}
        assert_official_start(random)
        assert_no_two_alike(random)


@pytest.mark.parametrize(("input_size", "patch_size"), [(16, 4), (28, 4), (12, 6), (32, 2)])
@pytest.mark.parametrize("version", MODELS)
def test_the_places_of_both_halves_start_as_sines_and_cosines(
    linear: NoiseSchedule, version: int, input_size: int, patch_size: int
) -> None:
    model = {"hidden_size": 72, "num_heads": 4, "patch_size": patch_size}
    expected = sincos_positions(72, input_size // patch_size)[None]
    with create(linear, version, model=model, input_size=input_size) as trainer:
        for arrays in (trainer.parameters, trainer.ema_parameters):
            for name in PLACES:
                assert arrays[name].shape == expected.shape
                assert np.abs(arrays[name] - expected).max() < 2e-7
