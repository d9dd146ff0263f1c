"""Checkpoints of version 0.1.0 load, continue, and are saved in the present form."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import checkpoint_files as files
import numpy as np
import pytest
from tiny_trainers import memory, refuses

from speediff import SpeeDiffFileError, Trainer

FIXTURES = Path(__file__).parent / "fixtures"
sys.path.insert(0, str(FIXTURES))
import make_checkpoints  # noqa: E402

LOSSES = json.loads((FIXTURES / "checkpoint-0.1.0-losses.json").read_text())["losses"]
NETWORKS = make_checkpoints.NETWORKS


def former(name: str) -> Path:
    return FIXTURES / f"checkpoint-0.1.0-{name}.safetensors"


def three_steps(trainer: Trainer) -> list[float]:
    return [trainer.step(*make_checkpoints.batch()) for _ in range(3)]


@pytest.mark.parametrize("name", NETWORKS)
def test_it_loads_as_it_was_saved(name: str) -> None:
    header, data = files.split(former(name).read_bytes())
    with Trainer.load(former(name), threads=1) as trainer:
        assert trainer.config == NETWORKS[name]
        assert (trainer.global_step, trainer.num_classes, trainer.class_dropout_prob) == (2, 3, 0.25)
        assert (trainer.input_size, trainer.in_channels, trainer.learn_sigma) == (4, 1, True)
        kinds = {
            "": "parameters",
            "ema.": "ema_parameters",
            "exp_avg.": "exp_avg",
            "exp_avg_sq.": "exp_avg_sq",
        }
        for prefix, kind in kinds.items():
            for key, value in getattr(trainer, kind).items():
                begin, end = header[prefix + key]["data_offsets"]
                assert value.tobytes() == data[begin:end], (prefix, key)


@pytest.mark.parametrize("name", NETWORKS)
def test_its_next_steps_are_those_of_its_version(name: str) -> None:
    # To the last bit on the machine that made the fixture; others round elsewhere.
    with Trainer.load(former(name), threads=1) as trainer:
        np.testing.assert_allclose(three_steps(trainer), LOSSES[name], rtol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_again_it_continues_bit_by_bit(name: str, tmp_path: Path) -> None:
    path = tmp_path / "again.safetensors"
    with Trainer.load(former(name), threads=1) as trainer:
        trainer.save(path)
        with Trainer.load(path, threads=1) as again:
            assert three_steps(again) == three_steps(trainer)
            assert memory(again) == memory(trainer)
            assert again.config == trainer.config
    metadata = files.split(path.read_bytes())[0]["__metadata__"]
    assert metadata["speediff.version"] == "2"
    assert metadata["network.family"] == name
    assert metadata["network.class_dropout_prob"] == "0.25"
    assert not [key for key in metadata if key.startswith(("dit.", "mdt."))]


def test_an_mdt_without_its_factor_and_a_dit_without_a_shift_load(tmp_path: Path) -> None:
    for name, key, field, value in [
        ("mdt", "mdt.min_snr_gamma", "min_snr_gamma", None),
        ("dit", "dit.frequency_shift", "frequency_shift", 0),
    ]:
        header, data = files.split(former(name).read_bytes())
        del header["__metadata__"][key]
        path = tmp_path / "less.safetensors"
        path.write_bytes(files.joined(header, data))
        with Trainer.load(path, threads=1) as trainer:
            assert getattr(trainer.config, field) == value


@pytest.mark.parametrize("key", ["dit.input_size", "dit.depth", "mdt.version", "mdt.mask_ratio"])
def test_what_is_missing_is_named(key: str, tmp_path: Path) -> None:
    header, data = files.split(former("mdt").read_bytes())
    del header["__metadata__"][key]
    path = tmp_path / "less.safetensors"
    path.write_bytes(files.joined(header, data))
    refuses(lambda: Trainer.load(path), key if key != "mdt.version" else "tensor", kind=SpeeDiffFileError)
