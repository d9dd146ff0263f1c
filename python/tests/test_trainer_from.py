"""Trainers from the checkpoints of others: DiT's train.py, safetensors, folders of diffusers."""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from diffusers_dit import converted, predict
from loaded_checkpoints import refuses
from pipelines import CLASSES, DECAY, EPS, RATE, Pipeline, batches, network
from safetensors.torch import save_file
from test_adoption_mdt import network as mdt

import speediff
from speediff import SpeeDiffFileError, SpeeDiffTypeError, SpeeDiffValueError
from speediff.torch import TimestepSampler, adopt, trainer_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from speediff import NoiseSchedule, Trainer

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")


def checkpoint(pipeline: Pipeline) -> dict[str, Any]:
    """What train.py of facebookresearch/DiT saves."""
    return {
        "model": pipeline.model.state_dict(),
        "ema": pipeline.ema.state_dict(),
        "opt": pipeline.optimizer.state_dict(),
        "args": argparse.Namespace(model="DiT-S/2", results_dir=Path("results").name, num_classes=CLASSES),
    }


def output(trainer: Trainer, *, ema: bool = False) -> np.ndarray:
    batch = batches(0, 1)[0]
    return trainer.forward(batch.x.numpy(), batch.t.numpy(), batch.y.numpy(), ema=ema)


def assert_predicts(trainer: Trainer, model: Any, call: Callable[..., Tensor] | None = None) -> None:
    batch = batches(0, 1)[0]
    arguments = batch.x, batch.t, batch.y
    with torch.no_grad():
        expected = model.eval()(*arguments) if call is None else call(model.eval(), *arguments)
    np.testing.assert_allclose(output(trainer), expected, rtol=1e-4, atol=1e-4)


def test_a_checkpoint_of_dit_goes_on_as_it_would_in_pytorch(linear: NoiseSchedule, tmp_path: Path) -> None:
    pipeline = Pipeline(network(), linear)
    for batch in batches(0, 3):
        pipeline.step(batch)
    torch.save(checkpoint(pipeline), tmp_path / "0000003.pt")
    with trainer_from(tmp_path / "0000003.pt", num_heads=3, ema_decay=0.9, seed=8) as trainer:
        assert trainer.global_step == trainer.sampler.step == 3
        assert trainer.learning_rate == RATE
        assert (trainer.num_classes, trainer.class_dropout_prob, trainer.seed) == (CLASSES, 0.1, 8)
        options = trainer._open_handle().options()
        assert (options.weight_decay, options.epsilon, options.ema_decay) == (DECAY, EPS, 0.9)
        assert_predicts(trainer, pipeline.model)
        batch = batches(5, 1)[0]
        arrays = {name: value.numpy() for name, value in batch.drawn.items()}
        loss = trainer.backward(batch.x.numpy(), batch.y.numpy(), **arrays)
        trainer.apply()
        assert loss == pytest.approx(pipeline.step(batch), rel=1e-5)
        for name, value in pipeline.model.named_parameters():
            if value.requires_grad:
                moments = pipeline.optimizer.state[value]
                for found, expected in (
                    (trainer.parameters, value.detach()),
                    (trainer.exp_avg, moments["exp_avg"]),
                    (trainer.exp_avg_sq, moments["exp_avg_sq"]),
                ):
                    error = np.linalg.norm(found[name] - expected.numpy())
                    assert error <= 1e-4 * max(float(expected.norm()), 1e-20), name


def test_an_average_comes_from_its_own_entry(linear: NoiseSchedule, tmp_path: Path) -> None:
    pipeline = Pipeline(network(), linear)
    pipeline.step(batches(0, 1)[0])
    path = tmp_path / "run.pt"
    torch.save(checkpoint(pipeline), path)
    with trainer_from(path, num_heads=3) as trainer:
        for name, value in pipeline.ema.named_parameters():
            if name != "pos_embed":
                np.testing.assert_array_equal(trainer.ema_parameters[name], value)
    # An average alone, as published weights are kept by some, is what is trained.
    torch.save({"ema": pipeline.ema.state_dict()}, path)
    with trainer_from(path, num_heads=3) as trainer:
        assert_predicts(trainer, pipeline.ema)
        np.testing.assert_array_equal(output(trainer), output(trainer, ema=True))
        assert trainer.global_step == 0


def test_an_optimizer_of_what_is_trained_alone_is_read_too(linear: NoiseSchedule, tmp_path: Path) -> None:
    pipeline = Pipeline(network(), linear)
    parameters = [each for each in pipeline.model.parameters() if each.requires_grad]
    pipeline.optimizer = torch.optim.AdamW(parameters, lr=RATE)
    pipeline.step(batches(0, 1)[0])
    torch.save(checkpoint(pipeline), tmp_path / "run.pt")
    with trainer_from(tmp_path / "run.pt", num_heads=3) as trainer:
        weight = pipeline.model.final_layer.linear.weight
        moments = pipeline.optimizer.state[weight]
        np.testing.assert_array_equal(trainer.exp_avg["final_layer.linear.weight"], moments["exp_avg"])


@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod.", "_orig_mod.module."])
def test_a_state_dict_alone_is_read(wrapper: str, tmp_path: Path) -> None:
    model = network()
    state = {f"{wrapper}{name}": value for name, value in model.state_dict().items()}
    torch.save(state, tmp_path / "weights.pt")
    save_file(state, tmp_path / "weights.safetensors")
    for name in ("weights.pt", "weights.safetensors"):
        with trainer_from(str(tmp_path / name), num_heads=3, class_dropout_prob=0.5) as trainer:
            assert_predicts(trainer, model)
            assert (trainer.num_classes, trainer.class_dropout_prob) == (CLASSES, 0.5)
    with trainer_from(tmp_path / "weights.pt", num_heads=3, class_dropout_prob=0) as trainer:
        assert (trainer.num_classes, trainer.class_dropout_prob) == (CLASSES + 1, 0)


def test_official_sizes_tell_their_heads(tmp_path: Path) -> None:
    model = network(hidden_size=384, depth=12, num_heads=6, patch_size=8)
    save_file(model.state_dict(), tmp_path / "s.safetensors")
    with trainer_from(tmp_path / "s.safetensors") as trainer:
        assert trainer.config == speediff.DiT.named("DiT-S/8")
        assert_predicts(trainer, model)


@pytest.mark.parametrize("safe", [True, False])
def test_a_folder_of_diffusers_is_read(safe: bool, tmp_path: Path) -> None:
    model = converted(network())
    model.save_pretrained(tmp_path, safe_serialization=safe)
    with trainer_from(tmp_path) as trainer:
        assert_predicts(trainer, model, predict)
        assert trainer.config.frequency_shift == 1
        assert (trainer.num_classes, trainer.class_dropout_prob) == (CLASSES, 0.1)


@pytest.mark.parametrize("version", [1, 2])
def test_an_mdt_is_read(version: int, tmp_path: Path) -> None:
    model = mdt(version, **({"decode_layer": 2} if version == 1 else {}))
    save_file(model.state_dict(), tmp_path / "mdt.safetensors")
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    t, y = torch.tensor([3, 500]), torch.tensor([1, 10])
    with trainer_from(tmp_path / "mdt.safetensors") as trainer, torch.no_grad():
        assert (trainer.config.version, trainer.config.decode_layer) == (version, model.decode_layer)
        expected = model(x, t, y)
        np.testing.assert_allclose(trainer.forward(x.numpy(), t.numpy(), y.numpy()), expected, atol=1e-5)


def test_what_the_tensors_of_an_mdt_do_not_tell_is_given(tmp_path: Path) -> None:
    model, path = mdt(1, decode_layer=1), tmp_path / "mdt.safetensors"
    save_file(model.state_dict(), path)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    t, y = torch.tensor([3, 500]), torch.tensor([1, 10])
    with trainer_from(path, decode_layer=1, mask_ratio=0.5) as trainer, torch.no_grad():
        assert (trainer.config.decode_layer, trainer.config.mask_ratio) == (1, 0.5)
        expected = model(x, t, y)
        np.testing.assert_allclose(trainer.forward(x.numpy(), t.numpy(), y.numpy()), expected, atol=1e-5)
    save_file(mdt(2).state_dict(), path)
    with pytest.raises(SpeeDiffValueError, match="decode_layer must be given only for an MDT of version 1"):
        trainer_from(path, decode_layer=1)
    save_file(network().state_dict(), path)
    with pytest.raises(SpeeDiffValueError, match="mask_ratio must be given only for an MDT"):
        trainer_from(path, num_heads=3, mask_ratio=0.3)


def test_a_sampler_goes_on_at_the_step_of_the_optimizer(linear: NoiseSchedule, tmp_path: Path) -> None:
    pipeline, path = Pipeline(network(), linear), tmp_path / "run.pt"
    pipeline.step(batches(0, 1)[0])
    torch.save(checkpoint(pipeline), path)
    sampler = TimestepSampler.speed(linear)
    with pytest.raises(SpeeDiffValueError, match=r"sampler\.step must be the optimizer's 1 steps, got 0"):
        trainer_from(path, sampler, num_heads=3)
    sampler.step = 1
    with trainer_from(path, sampler, num_heads=3) as trainer:
        assert trainer.sampler is sampler


def test_what_was_adopted_can_be_saved_by_the_trainer(linear: NoiseSchedule, tmp_path: Path) -> None:
    with adopt(network()) as adoption:
        adoption.trainer.save(tmp_path / "run.safetensors")
        # Each thread multiplies its own rows, and their number can change the last bit.
        threads = adoption.trainer.threads
        with speediff.Trainer.load(tmp_path / "run.safetensors", threads=threads) as trainer:
            np.testing.assert_array_equal(output(trainer), output(adoption.trainer))
    with pytest.raises(
        SpeeDiffFileError, match=r"a SpeeDiff checkpoint; load it with speediff\.Trainer\.load"
    ):
        trainer_from(tmp_path / "run.safetensors")


# ---- What cannot be read -------------------------------------------------------------------------


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    refuses(3, "path must be a string or a path, got 3", SpeeDiffTypeError)
    for name in ("none.pt", "none.safetensors"):
        refuses(tmp_path / name, f"{name} must be a (checkpoint|safetensors file)")
        (tmp_path / name).write_bytes(b"PK\x03\x04 something else")
        refuses(tmp_path / name, f"{name} must be a (checkpoint|safetensors file)")
    for value, words in (
        ([1], "hold a state dict, got a list"),
        ({}, "hold a state dict, got a dict"),
        ({"model": 3}, "hold a state dict, got a int"),
        ({"a": 3}, "hold tensors by name, got a int as 'a'"),
    ):
        torch.save(value, tmp_path / "x.pt")
        refuses(tmp_path / "x.pt", words)


def test_a_file_that_would_run_code_is_not_loaded(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "evil",)

    torch.save({"model": network().state_dict(), "args": Evil()}, tmp_path / "x.pt")
    refuses(tmp_path / "x.pt", r"must hold only tensors, .*, got .*, which is not loaded")
    assert not (tmp_path / "evil").exists()


def test_every_cut_of_a_file_is_an_error(linear: NoiseSchedule, tmp_path: Path) -> None:
    torch.save(checkpoint(Pipeline(network(depth=1), linear)), tmp_path / "whole.pt")
    save_file(network(depth=1).state_dict(), tmp_path / "whole.safetensors")
    for suffix in (".pt", ".safetensors"):
        data = (tmp_path / f"whole{suffix}").read_bytes()
        for part in (0, 1, 7, 8, 100, len(data) // 2, len(data) - 1):
            (tmp_path / f"cut{suffix}").write_bytes(data[:part])
            refuses(tmp_path / f"cut{suffix}", "must (be|hold)")


def test_tensors_that_are_not_those_of_a_network(tmp_path: Path) -> None:
    path, good = tmp_path / "x.pt", network().state_dict()

    def changed(words: str, kind: type[Exception] = SpeeDiffValueError, **changes: Any) -> None:
        state = {name: value for name, value in {**good, **changes}.items() if value is not None}
        torch.save(state, path)
        refuses(path, words, kind)

    bias = "blocks.1.mlp.fc1.bias"
    changed("only the tensors of facebookresearch/DiT's DiT, got extra", extra=torch.ones(1))
    changed("x_embedder.proj.weight with 4 dimensions, got none", **{"x_embedder.proj.weight": None})
    changed("pos_embed with 3 dimensions, got shape", pos_embed=torch.ones(16, 48))
    changed("a square number of tokens .*, got 15 tokens", pos_embed=torch.ones(1, 15, 48))
    changed("fc1.weight with 2 dimensions", **{"blocks.0.mlp.fc1.weight": torch.ones(0, 48)})
    changed(r"blocks\.1\.mlp\.fc1\.bias must have shape \(192,\), got \(3,\)", **{bias: torch.ones(3)})
    changed(r"got none or only part of blocks\.1\.mlp\.fc1\.bias", **{bias: None})
    changed("fc1.bias must be finite", **{bias: torch.full((192,), float("inf"))})
    changed(
        "must be a dense torch.float32 tensor, got torch.float64",
        SpeeDiffTypeError,
        **{bias: torch.ones(192).double()},
    )
    changed("pos_embed must have the values of the authors' code", pos_embed=good["pos_embed"] + 0.1)
    torch.save(good, path)
    refuses(
        path,
        "num_heads must be given for a network of unofficial size, got 2 blocks",
        SpeeDiffValueError,
        num_heads=None,
    )
    refuses(path, "hidden_size must be a multiple of 4 and of num_heads = 5", SpeeDiffValueError, num_heads=5)
    refuses(path, "num_heads must be an integer", SpeeDiffTypeError, num_heads="3")


def test_an_average_or_a_state_that_does_not_fit(linear: NoiseSchedule, tmp_path: Path) -> None:
    pipeline, path = Pipeline(network(), linear), tmp_path / "x.pt"
    pipeline.step(batches(0, 1)[0])

    def changed(words: str, kind: type[Exception], change: Callable[[dict[str, Any]], Any]) -> None:
        saved = copy.deepcopy(checkpoint(pipeline))
        change(saved)
        torch.save(saved, path)
        refuses(path, words, kind)

    value, file = SpeeDiffValueError, SpeeDiffFileError
    changed(
        "an average of x_embedder.proj.bias .* got none",
        value,
        lambda c: c["ema"].pop("x_embedder.proj.bias"),
    )
    changed(
        r"average of .* got shape \(2,\)",
        value,
        lambda c: c["ema"].update({"x_embedder.proj.bias": torch.ones(2)}),
    )
    changed("hold a state dict", file, lambda c: c.update(ema=3))
    changed("AdamW with one parameter group, or no optimizer", file, lambda c: c.update(opt=[]))
    changed(
        "AdamW with one parameter group, or no optimizer", file, lambda c: c["opt"].update(param_groups=[])
    )
    changed(
        "the state of an AdamW, or no optimizer",
        file,
        lambda c: c["opt"]["param_groups"][0].update(params=[0]),
    )
    changed("amsgrad = False", value, lambda c: c["opt"]["param_groups"][0].update(amsgrad=True))
    changed("exp_avg .* must have shape", value, lambda c: c["opt"]["state"][1].update(exp_avg=torch.ones(2)))


def test_folders_that_are_no_dit_of_diffusers(tmp_path: Path) -> None:
    refuses(tmp_path, "diffusers folder with a config.json, .*got: No such file")
    model = converted(network())
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())

    def changed(words: str, **changes: Any) -> None:
        kept = {name: value for name, value in {**config, **changes}.items() if value is not None}
        (tmp_path / "config.json").write_text(json.dumps(kept))
        refuses(tmp_path, words)

    changed("must hold a DiTTransformer2DModel, .*, got 'UNet2DModel'", _class_name="UNet2DModel")
    changed("must have activation_fn = 'gelu-approximate', got 'geglu'", activation_fn="geglu")
    changed("must have dropout = 0.0, got 0.1", dropout=0.1)
    changed("must have a config.json of a DiT", sample_size=None)
    changed("must have a config.json of a DiT", patch_size=0)
    (tmp_path / "config.json").write_text("{")
    refuses(tmp_path, "diffusers folder with a config.json, .*got: Expecting")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    refuses(tmp_path, "must have diffusion_pytorch_model.safetensors or .bin, .*, got no weights")
